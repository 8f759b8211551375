package chaos

import (
	"fmt"
	"slices"
	"time"
)

// What the server promises about time. All of it is counted in beats.
const (
	// confirmTime is from the receipt of an event to its confirmation in the store:
	// a second at most until it is asked for, a second until it is stored.
	confirmTime = 2 * time.Second
	// tripTime is what the trips between these take together.
	tripTime = 500 * time.Millisecond
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
	RuleNotStored     Rule = "a message came that is not stored"
	RuleSeqs          Rule = "the seqs of an inbox have a gap"
	RuleGap           Rule = "a message was passed over"
	RuleOrder         Rule = "messages came out of order"
	RuleDuplicate     Rule = "a message came twice on one socket"
	RuleRepeated      Rule = "a confirmed message was repeated"
	RuleBehind        Rule = "an open socket was left behind"
	RuleWaiting       Rule = "a waiting friend request did not come at a login"
	RuleWrongPlace    Rule = "an answer or event names a place where something else is stored"
	RuleRealTime      Rule = "a message is stored before one that was acknowledged before it was sent"
	RuleStray         Rule = "a frame that nobody asked for"
	RuleRefused       Rule = "a message to a connected user was refused"
)

// Rules are all of them.
var Rules = []Rule{
	RuleLost, RuleUndelivered, RuleStoredTwice, RuleRefusedStored, RulePhantom, RuleNotStored, RuleSeqs, RuleGap,
	RuleOrder, RuleDuplicate, RuleRepeated, RuleBehind, RuleWaiting, RuleWrongPlace, RuleRealTime, RuleStray, RuleRefused,
}

// Violation is a broken promise.
type Violation struct {
	Rule Rule
	What string
}

func (v Violation) String() string { return string(v.Rule) + ": " + v.What }

// Counts are what a run amounts to.
type Counts struct {
	Acknowledged, Refused, Failed, Unanswered int
	Delivered, Stored, Sockets, Resumed       int
	Requests, RequestsAway                    int           // friend requests that are stored, and those to users who were away
	Repeated                                  int           // deliveries, as they may be
	Oldest                                    time.Duration // longest undisturbed time after which something was repeated
	Excused                                   int           // refusals of connected users within fault windows
	LongestGap                                time.Duration
	LongestGapAt                              Instant
	Faults                                    map[Kind]int
}

// check is one examination of a history.
type check struct {
	History
	violations []Violation
	counts     Counts

	sent     map[string]map[int]*Send   // by content and recipient
	places   map[int]map[string][]int64 // of contents, by recipient: their seqs
	receipts map[int][]Receipt          // by user
	sockets  map[int][]*Socket          // by user, in order
}

// Check finds what is wrong in a history.
func Check(h History) ([]Violation, Counts) {
	c := &check{
		History: h, sent: map[string]map[int]*Send{}, places: map[int]map[string][]int64{},
		receipts: map[int][]Receipt{}, sockets: map[int][]*Socket{},
	}
	c.index()
	c.countAll()
	c.checkSends()
	c.checkRefusals()
	for _, user := range c.users() {
		c.checkInbox(user)
		c.checkDelivered(user)
		c.checkStreams(user)
		c.checkSendOrder(user)
		c.checkRealTime(user)
	}
	for _, s := range h.Strays {
		c.found(RuleStray, "user %d at %v: %s: %s", s.User, s.At, s.What, s.Frame)
	}
	return c.violations, c.counts
}

func (c *check) found(rule Rule, format string, args ...any) {
	c.violations = append(c.violations, Violation{rule, fmt.Sprintf(format, args...)})
}

// users are all users, in an order that is the same each time.
func (c *check) users() (users []int) {
	for user := range c.Versions {
		users = append(users, user)
	}
	slices.Sort(users)
	return users
}

func (c *check) index() {
	for _, s := range c.Sends {
		if c.sent[s.Content] == nil {
			c.sent[s.Content] = map[int]*Send{}
		}
		c.sent[s.Content][s.Recipient] = s
	}
	for user, inbox := range c.Inboxes {
		c.places[user] = map[string][]int64{}
		for _, m := range inbox.Stored {
			if m.Content != "" {
				c.places[user][m.Content] = append(c.places[user][m.Content], m.Seq)
			}
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
		if s.Content == requestOf(s.Sender) && len(c.places[s.Recipient][s.Content]) > 0 {
			n.Requests++
			if c.away(s.Recipient, s.At, s.Answered) {
				n.RequestsAway++
			}
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
	for _, s := range c.Sockets {
		if s.Resumed {
			n.Resumed++
		}
	}
	counted := map[string]bool{} // a fault of many users has a window for each
	for _, w := range c.Windows {
		if key := fmt.Sprint(w.Kind, w.Target); !counted[key] {
			counted[key] = true
			n.Faults[w.Kind]++
		}
	}
}

// away says whether a user had no socket in a time.
func (c *check) away(user int, from, to Instant) bool {
	return !slices.ContainsFunc(c.sockets[user], func(s *Socket) bool {
		return s.Asked <= to && (s.Until == 0 || s.Until >= from)
	})
}

// checkInbox: what is stored was sent, once, and numbered without a gap.
func (c *check) checkInbox(user int) {
	inbox := c.Inboxes[user]
	if int64(len(inbox.Stored)) != inbox.Head {
		c.found(RuleSeqs, "user %d has %d events and the head %d", user, len(inbox.Stored), inbox.Head)
	}
	for i, m := range inbox.Stored {
		if i > 0 && m.Seq != inbox.Stored[i-1].Seq+1 || i == 0 && m.Seq != 1 {
			c.found(RuleSeqs, "user %d: event %d of the log has seq %d", user, i+1, m.Seq)
		}
		if s := c.sent[m.Content][user]; m.Content != "" && (s == nil || s.Sender != m.Sender) {
			c.found(RulePhantom, "user %d, seq %d: %.24q of %d is stored", user, m.Seq, m.Content, m.Sender)
		}
	}
	for content, seqs := range c.places[user] {
		if len(seqs) > 1 {
			c.found(RuleStoredTwice, "user %d: %.24q has the seqs %v", user, content, seqs)
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
		if s := c.sent[r.Content][user]; s == nil || s.Sender != r.Sender {
			c.found(RulePhantom, "user %d got %.24q of %d at %v", user, r.Content, r.Sender, r.At)
		} else if len(c.places[user][r.Content]) == 0 {
			c.found(RuleNotStored, "user %d got %.24q of %d at %v", user, r.Content, r.Sender, r.At)
		}
	}
	for _, m := range c.Inboxes[user].Stored {
		if m.Content == "" || got[m.Content] {
			continue
		}
		rule := RuleUndelivered
		if s := c.sent[m.Content][user]; s != nil && s.Outcome == Acknowledged {
			rule = RuleLost
		}
		c.found(rule, "%.24q to %d (version %d), seq %d, never came", m.Content, user, c.Versions[user], m.Seq)
	}
}

// checkSendOrder: what a user sends on one socket to one recipient is stored in that
// order.
func (c *check) checkSendOrder(user int) {
	type way struct{ socket, recipient int }
	last := map[way]int64{}
	for _, s := range c.Sends {
		seqs := c.places[s.Recipient][s.Content]
		if s.Sender != user || s.Socket == 0 || len(seqs) == 0 {
			continue
		}
		w := way{s.Socket, s.Recipient}
		if seqs[0] < last[w] {
			c.found(RuleOrder, "%.24q to %d has the seq %d, and what the same socket sent before it the seq %d", s.Content, s.Recipient, seqs[0], last[w])
		}
		last[w] = max(last[w], seqs[0])
	}
}

// checkRealTime: within an inbox, what was sent after the acknowledgement of another
// message comes after it.
func (c *check) checkRealTime(user int) {
	var latest *Send // of those so far, by the time of sending
	for _, m := range c.Inboxes[user].Stored {
		s := c.sent[m.Content][user]
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
