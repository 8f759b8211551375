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
	RuleLost           Rule = "an acknowledged message was lost"
	RuleUndelivered    Rule = "a stored message was not delivered"
	RuleStoredTwice    Rule = "a message was stored twice"
	RuleRefusedStored  Rule = "a refused message was stored"
	RulePhantom        Rule = "a message that nobody sent"
	RuleNotStored      Rule = "a message came that is not stored"
	RuleSeqs           Rule = "the seqs of an inbox have a gap"
	RuleGap            Rule = "a message was passed over"
	RuleOrder          Rule = "messages came out of order"
	RuleDuplicate      Rule = "a message came twice on one socket"
	RuleRepeated       Rule = "a confirmed message was repeated"
	RuleBehind         Rule = "an open socket was left behind"
	RuleWaiting        Rule = "a waiting friend request did not come at a login"
	RuleWrongPlace     Rule = "an answer or event names a place where something else is stored"
	RuleRealTime       Rule = "a message is stored before one that was acknowledged before it was sent"
	RuleStray          Rule = "a frame that nobody asked for"
	RuleRefused        Rule = "a message to a connected user was refused"
	RuleThroughBlock   Rule = "a message came through a block"
	RuleStory          Rule = "the logs of two users tell different stories"
	RuleUnexplained    Rule = "a change between users that neither asked for"
	RuleNotDone        Rule = "what was answered as done was not"
	RuleWronglyRefused Rule = "what could be done was refused"
	RuleList           Rule = "a list was not what it could be then"
	RuleSnapshot       Rule = "a list is not what the events told"
	RuleHalf           Rule = "half a friendship"
	RuleHistory        Rule = "history is not what was said"
	RuleReceipt        Rule = "a receipt claims what was not delivered or read"
	RuleMark           Rule = "a read mark was lost"
	RuleCopy           Rule = "a copy came twice, or of what is not stored"
	RulePassing        Rule = "somebody was told of what nobody did"
	RulePresence       Rule = "presence is not what is so"
	RuleOutlived       Rule = "a socket outlived its session"
	RuleGone           Rule = "a deleted account is still there"
)

// Rules are all of them.
var Rules = []Rule{
	RuleLost, RuleUndelivered, RuleStoredTwice, RuleRefusedStored, RulePhantom, RuleNotStored, RuleSeqs, RuleGap,
	RuleOrder, RuleDuplicate, RuleRepeated, RuleBehind, RuleWaiting, RuleWrongPlace, RuleRealTime, RuleStray, RuleRefused,
	RuleThroughBlock, RuleStory, RuleUnexplained, RuleNotDone, RuleWronglyRefused, RuleList, RuleSnapshot, RuleHalf,
	RuleHistory, RuleReceipt, RuleMark, RuleCopy, RulePassing, RulePresence, RuleOutlived, RuleGone,
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
	Faults                                    map[Kind]int

	Blocked           int // refusals of version 2, because of a block or a deleted account
	Deeds             map[Act]map[Outcome]int
	REST              int            // deeds that were asked for by REST
	Turns             int            // changes between two users
	Friends           int            // on all lists at the end
	Pages, Remembered int            // of history, and the messages of whole conversations at the end
	States            map[string]int // of own messages, then
	Passed            map[string]int
	Watched           int // friends of whom sockets knew at the end that they are online
	Tombstones        int
	Ended, EndedAmid  int // sockets of ended sessions: those of calm times, and amid faults
	LongestEnd        time.Duration
	LongestEndAmid    time.Duration
}

func (n *Counts) deed(d *Deed) {
	if n.Deeds[d.Act] == nil {
		n.Deeds[d.Act] = map[Outcome]int{}
	}
	n.Deeds[d.Act][d.Outcome]++
	if d.REST {
		n.REST++
	}
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
	came     map[int]map[int64]Instant  // when a seq came first, by user
	deleted  map[int]*Deed              // by the user whose account it deleted
	marks    map[[2]int][]*Deed         // of what was read, by reader and sender
	stories  map[pair]*story
}

// Check finds what is wrong in a history.
func Check(h History) ([]Violation, Counts) {
	c := &check{
		History: h, sent: map[string]map[int]*Send{}, places: map[int]map[string][]int64{},
		receipts: map[int][]Receipt{}, sockets: map[int][]*Socket{}, came: map[int]map[int64]Instant{},
		deleted: map[int]*Deed{}, marks: map[[2]int][]*Deed{},
		counts: Counts{Deeds: map[Act]map[Outcome]int{}, States: map[string]int{}, Passed: map[string]int{}},
	}
	c.index()
	c.countAll()
	c.checkFriends()
	c.checkSends()
	c.checkRefusals()
	c.checkHistory()
	c.checkPassing()
	c.checkEndings()
	c.checkGone()
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

// users are all users who are left, in an order that is the same each time.
func (c *check) users() (users []int) {
	for user := range c.Versions {
		if c.deleted[user] == nil {
			users = append(users, user)
		}
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
	for _, d := range c.Deeds {
		switch {
		case d.Act == ActDelete && d.Outcome == Acknowledged:
			c.deleted[d.User] = d
		case d.Act == ActMark:
			who := [2]int{d.User, d.Peer}
			c.marks[who] = append(c.marks[who], d)
		}
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
		c.noteCame(r)
	}
	for _, s := range c.Sockets {
		c.sockets[s.User] = append(c.sockets[s.User], s)
	}
}

// noteCame notes when an event came first. Version 1 does not say which one it is.
func (c *check) noteCame(r Receipt) {
	if c.came[r.User] == nil {
		c.came[r.User] = map[int64]Instant{}
	}
	seqs := []int64{r.Seq}
	if r.Seq == 0 {
		seqs = c.places[r.User][r.Content]
	}
	for _, seq := range seqs {
		if _, ok := c.came[r.User][seq]; !ok {
			c.came[r.User][seq] = r.At
		}
	}
}

// isSend says whether an event comes of a Send; others come of deeds.
func isSend(kind string, sender int, content string) bool {
	return kind == kindMessage || content == requestOf(sender)
}

func (c *check) countAll() {
	n := &c.counts
	n.Delivered, n.Sockets, n.Faults = len(c.Receipts), len(c.Sockets), map[Kind]int{}
	for _, s := range c.Sends {
		switch s.Outcome {
		case Acknowledged:
			n.Acknowledged++
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
		if s := c.sent[m.Content][user]; isSend(m.Kind, m.Sender, m.Content) && (s == nil || s.Sender != m.Sender) {
			c.found(RulePhantom, "user %d, seq %d: %.24q of %d is stored", user, m.Seq, m.Content, m.Sender)
		}
	}
	for content, seqs := range c.places[user] {
		if len(seqs) > 1 {
			c.found(RuleStoredTwice, "user %d: %.24q has the seqs %v", user, content, seqs)
		}
	}
}

// checkSends: what was acknowledged is stored, what was refused is not. Nothing is
// known of what a deleted account has sent or got.
func (c *check) checkSends() {
	for _, s := range c.Sends {
		if c.deleted[s.Sender] != nil || c.deleted[s.Recipient] != nil {
			continue
		}
		seqs := c.places[s.Recipient][s.Content]
		switch {
		case s.Outcome == Acknowledged && len(seqs) == 0:
			c.found(RuleLost, "%.24q to %d, acknowledged at %v, is not in the log", s.Content, s.Recipient, s.Answered)
		case s.Outcome == Refused && len(seqs) > 0:
			c.found(RuleRefusedStored, "%.24q to %d, refused at %v, has the seq %d", s.Content, s.Recipient, s.Answered, seqs[0])
		case s.Outcome == Acknowledged && s.ID != "" && s.ID != eventID(s.Recipient, seqs[0]):
			c.found(RuleWrongPlace, "%.24q to %d has the seq %d and was acknowledged as %s", s.Content, s.Recipient, seqs[0], s.ID)
		}
		if s.Outcome == Acknowledged && !c.story(s.Sender, s.Recipient).possible(s.At, s.Answered, isOpen) {
			c.found(RuleThroughBlock, "%.24q of %d to %d, sent at %v", s.Content, s.Sender, s.Recipient, s.At)
		}
	}
}

// isOpen says whether users may write to each other.
func isOpen(r relation) bool { return !r.blocked() }

// checkDelivered: everything in the log came, whether it was acknowledged or not,
// and nothing else did.
func (c *check) checkDelivered(user int) {
	got := map[string]bool{}
	for _, r := range c.receipts[user] {
		got[r.Content] = true
		s := c.sent[r.Content][user]
		if isSend(r.Kind, r.Sender, r.Content) && (s == nil || s.Sender != r.Sender) {
			c.found(RulePhantom, "user %d got %.24q of %d at %v", user, r.Content, r.Sender, r.At)
		} else if len(c.places[user][r.Content]) == 0 && c.deleted[r.Sender] == nil {
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
