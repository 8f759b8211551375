//go:build chaos

package chaos

import (
	"fmt"
	"slices"
	"time"
)

// What the server promises about time.
const (
	// confirmTime is from the receipt of an event to its confirmation in the store.
	confirmTime = 2 * time.Second
	// noticeTime is how long a user may take to notice the end of a socket, or a
	// gateway to have its subscriptions back.
	noticeTime = 2 * time.Second
	// storeTail is how long after a fault of the store a position may still be on
	// its way: a request that hangs is given up after 5 s.
	storeTail = 5 * time.Second
)

// Rule is a promise that can be broken.
type Rule string

// The rules.
const (
	RuleLost          Rule = "an acknowledged message was lost"
	RuleUndelivered   Rule = "a stored message was not delivered"
	RuleStoredTwice   Rule = "a message was stored twice"
	RuleRefusedStored Rule = "a refused message was stored"
	RulePhantom       Rule = "a message that nobody sent"
	RuleSeqs          Rule = "the seqs of an inbox have a gap"
	RuleGap           Rule = "a message was passed over"
	RuleOrder         Rule = "messages came out of order"
	RuleRepeated      Rule = "a confirmed message was repeated to version 1"
	RuleDuplicate     Rule = "a message came twice to version 2"
	RuleWrongPlace    Rule = "an answer or event names a place where something else is stored"
	RuleRealTime      Rule = "a message is stored before one that was acknowledged before it was sent"
	RuleStray         Rule = "a frame that nobody asked for"
	RuleRefused       Rule = "a message to a connected user was refused"
	RuleSkipped       Rule = "version 2 could not get an event"
)

// Violation is a broken promise.
type Violation struct {
	Rule Rule
	What string
}

func (v Violation) String() string { return string(v.Rule) + ": " + v.What }

// Counts are what a run amounts to.
type Counts struct {
	Acknowledged, Refused, Failed, Unanswered int
	Delivered, Stored, Sockets                int
	Repeated                                  int // to version 1, as it may be
	Excused                                   int // refusals of connected users within fault windows
	LongestGap                                time.Duration
	LongestGapAt                              Instant
	Faults                                    map[Kind]int
}

// check is one examination of a history.
type check struct {
	History
	slack      time.Duration
	violations []Violation
	counts     Counts

	sent     map[string]*Send
	places   map[int]map[string][]int64 // of contents, by recipient: their seqs
	receipts map[int][]Receipt          // by user
	sockets  map[int][]*Socket          // by user, in order
}

// Check finds what is wrong in a history. slack is what a busy machine adds to the
// times that are promised.
func Check(h History, slack time.Duration) ([]Violation, Counts) {
	c := &check{
		History: h, slack: slack, sent: map[string]*Send{}, places: map[int]map[string][]int64{},
		receipts: map[int][]Receipt{}, sockets: map[int][]*Socket{},
	}
	c.index()
	c.countAll()
	c.checkInboxes()
	c.checkSends()
	c.checkRefusals()
	for user, version := range c.sortedUsers() {
		c.checkDelivered(user)
		if version == 1 {
			c.checkSockets(user)
		} else {
			c.checkSeqs(user)
		}
		c.checkRealTime(user)
	}
	for _, s := range h.Strays {
		c.found(RuleStray, "user %d at %v: %s: %s", s.User, s.At, s.What, s.Frame)
	}
	if h.Skipped > 0 {
		c.found(RuleSkipped, "%d times", h.Skipped)
	}
	return c.violations, c.counts
}

func (c *check) found(rule Rule, format string, args ...any) {
	c.violations = append(c.violations, Violation{rule, fmt.Sprintf(format, args...)})
}

// sortedUsers gives the users and their versions, in an order that is the same each
// time.
func (c *check) sortedUsers() func(yield func(user, version int) bool) {
	return func(yield func(user, version int) bool) {
		users := make([]int, 0, len(c.Versions))
		for user := range c.Versions {
			users = append(users, user)
		}
		slices.Sort(users)
		for _, user := range users {
			if !yield(user, c.Versions[user]) {
				return
			}
		}
	}
}

func (c *check) index() {
	for _, s := range c.Sends {
		c.sent[s.Content] = s
	}
	for user, inbox := range c.Inboxes {
		c.places[user] = map[string][]int64{}
		for _, m := range inbox.Stored {
			c.places[user][m.Content] = append(c.places[user][m.Content], m.Seq)
		}
	}
	for _, r := range c.Receipts {
		c.receipts[r.User] = append(c.receipts[r.User], r)
	}
	for _, s := range c.Sockets {
		c.sockets[s.User] = append(c.sockets[s.User], s)
	}
}

func (c *check) countAll() {
	n := &c.counts
	n.Delivered, n.Sockets, n.Faults = len(c.Receipts), len(c.Sockets), map[Kind]int{}
	var acknowledged []Instant
	for _, s := range c.Sends {
		switch s.Outcome {
		case Acknowledged:
			n.Acknowledged++
			acknowledged = append(acknowledged, s.Answered)
		case Refused:
			n.Refused++
		case Failed:
			n.Failed++
		case Unanswered:
			n.Unanswered++
		}
	}
	slices.Sort(acknowledged)
	for i := 1; i < len(acknowledged); i++ {
		if gap := acknowledged[i] - acknowledged[i-1]; gap > n.LongestGap {
			n.LongestGap, n.LongestGapAt = gap, acknowledged[i-1]
		}
	}
	for _, inbox := range c.Inboxes {
		n.Stored += len(inbox.Stored)
	}
	counted := map[string]bool{} // a fault of many users has a window for each
	for _, w := range c.Windows {
		if key := fmt.Sprint(w.Kind, w.Target); !counted[key] {
			counted[key] = true
			n.Faults[w.Kind]++
		}
	}
}

// checkInboxes: what is stored was sent, once, and numbered without a gap.
func (c *check) checkInboxes() {
	for user := range c.sortedUsers() {
		inbox := c.Inboxes[user]
		if int64(len(inbox.Stored)) != inbox.Head {
			c.found(RuleSeqs, "user %d has %d events and the head %d", user, len(inbox.Stored), inbox.Head)
		}
		for i, m := range inbox.Stored {
			if i > 0 && m.Seq != inbox.Stored[i-1].Seq+1 || i == 0 && m.Seq != 1 {
				c.found(RuleSeqs, "user %d: event %d of the log has seq %d", user, i+1, m.Seq)
			}
			s := c.sent[m.Content]
			if s == nil || s.Recipient != user || s.Sender != m.Sender {
				c.found(RulePhantom, "user %d, seq %d: %.24q of %d is stored", user, m.Seq, m.Content, m.Sender)
			}
		}
		for content, seqs := range c.places[user] {
			if len(seqs) > 1 {
				c.found(RuleStoredTwice, "user %d: %.24q has the seqs %v", user, content, seqs)
			}
		}
	}
}

// checkSends: what was acknowledged is stored, what was refused is not.
func (c *check) checkSends() {
	for _, s := range c.Sends {
		seqs := c.places[s.Recipient][s.Content]
		switch {
		case s.Outcome == Acknowledged && len(seqs) == 0:
			c.found(RuleLost, "%.24q to %d, acknowledged at %v, is not in the log", s.Content, s.Recipient, s.Answered)
		case s.Outcome == Refused && len(seqs) > 0:
			c.found(RuleRefusedStored, "%.24q to %d, refused at %v, has the seq %d", s.Content, s.Recipient, s.Answered, seqs[0])
		case s.Outcome == Acknowledged && s.ID != "" && s.ID != fmt.Sprintf("%d-%d", s.Recipient, seqs[0]):
			c.found(RuleWrongPlace, "%.24q to %d has the seq %d and was acknowledged as %s", s.Content, s.Recipient, seqs[0], s.ID)
		}
	}
}

// checkDelivered: everything in the log came, whether it was acknowledged or not,
// and nothing else did.
func (c *check) checkDelivered(user int) {
	got := map[string]bool{}
	for _, r := range c.receipts[user] {
		got[r.Content] = true
		if s := c.sent[r.Content]; s == nil || s.Recipient != user || s.Sender != r.Sender {
			c.found(RulePhantom, "user %d got %.24q of %d at %v", user, r.Content, r.Sender, r.At)
		}
	}
	for _, m := range c.Inboxes[user].Stored {
		if got[m.Content] {
			continue
		}
		rule := RuleUndelivered
		if s := c.sent[m.Content]; s != nil && s.Outcome == Acknowledged {
			rule = RuleLost
		}
		c.found(rule, "%.24q to %d (version %d), seq %d, never came", m.Content, user, c.Versions[user], m.Seq)
	}
}

// checkSeqs: version 2 gets every event once, in order, as the log has it.
func (c *check) checkSeqs(user int) {
	last := int64(0)
	for _, r := range c.receipts[user] {
		switch {
		case r.Seq == last:
			c.found(RuleDuplicate, "user %d got seq %d again at %v", user, r.Seq, r.At)
		case r.Seq < last:
			c.found(RuleOrder, "user %d got seq %d after seq %d at %v", user, r.Seq, last, r.At)
		case r.Seq > last+1:
			c.found(RuleGap, "user %d got seq %d after seq %d at %v", user, r.Seq, last, r.At)
		}
		if !slices.Contains(c.places[user][r.Content], r.Seq) {
			c.found(RuleWrongPlace, "user %d got %.24q as seq %d, which it is not", user, r.Content, r.Seq)
		}
		last = max(last, r.Seq)
	}
}

// checkRealTime: within an inbox, what was sent after the acknowledgement of another
// message comes after it.
func (c *check) checkRealTime(user int) {
	var latest *Send // of those so far, by the time of sending
	for _, m := range c.Inboxes[user].Stored {
		s := c.sent[m.Content]
		if s == nil {
			continue
		}
		if latest != nil && s.Outcome == Acknowledged && s.Answered < latest.At {
			c.found(RuleRealTime, "user %d: %.24q, acknowledged at %v, comes after %.24q, sent at %v",
				user, s.Content, s.Answered, latest.Content, latest.At)
		}
		if latest == nil || s.At > latest.At {
			latest = s
		}
	}
}
