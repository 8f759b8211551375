package chaos

import (
	"slices"
	"time"
)

// typingPause is how often somebody is told at most that another one types.
const typingPause = 3 * time.Second

// checkPassing: what is in no log may be lost, but it never claims what is not so, and
// a copy of an own send comes once to a socket.
func (c *check) checkPassing() {
	type copied struct {
		user, socket int
		id           string
	}
	copies := map[copied]bool{}
	for _, p := range c.Passings {
		c.counts.Passed[p.Kind]++
		switch p.Kind {
		case "receipt":
			c.checkReceipt(p)
		case "sent":
			c.checkCopy(p)
			key := copied{p.User, p.Socket, p.ID}
			if copies[key] {
				c.found(RuleCopy, "socket %d of %d got %s again at %v", p.Socket, p.User, p.ID, p.At)
			}
			copies[key] = true
		case "read":
			if _, seq, ok := placeOf(p.ID); !ok || !c.mayHaveRead(p.User, p.Peer, seq, p.At) {
				c.found(RulePassing, "%d was told at %v to have read %s of %d", p.User, p.At, p.ID, p.Peer)
			}
		case "typing":
			if !c.typed(p) {
				c.found(RulePassing, "%d was told at %v that %d types", p.User, p.At, p.Peer)
			}
		default:
			c.found(RuleStray, "user %d at %v: %s", p.User, p.At, p.Kind)
		}
	}
	for _, v := range c.Views {
		c.counts.Watched += len(v.Truth)
		if !slices.Equal(v.Online, v.Truth) {
			c.found(RulePresence, "socket %d of %d was told of %v, and %v are online", v.Socket, v.User, v.Online, v.Truth)
		}
	}
}

// checkReceipt: the recipient had got, or had marked as read, what a receipt says.
func (c *check) checkReceipt(p Passing) {
	recipient, seq, ok := placeOf(p.ID)
	if c.deleted[recipient] != nil {
		return // its log is gone
	}
	switch {
	case !ok || recipient != p.Peer:
		c.found(RuleReceipt, "%d was told of %s at %v", p.User, p.ID, p.At)
	case p.State == "delivered" && !c.hasGot(recipient, seq, p.At):
		c.found(RuleReceipt, "%d was told at %v that %s was delivered", p.User, p.At, p.ID)
	case p.State == "read" && !c.mayHaveRead(recipient, p.User, seq, p.At):
		c.found(RuleReceipt, "%d was told at %v that %s was read", p.User, p.At, p.ID)
	}
}

// checkCopy: a copy is of what the user sent and is stored.
func (c *check) checkCopy(p Passing) {
	if c.deleted[p.User] != nil || c.deleted[p.Peer] != nil {
		return // what was stored is gone
	}
	user, seq, ok := placeOf(p.ID)
	if stored := c.Inboxes[p.Peer].Stored; ok && user == p.Peer && seq > 0 && int(seq) <= len(stored) {
		m := stored[seq-1]
		if m.Kind == kindMessage && m.Sender == p.User && m.Content == p.Content {
			return
		}
	}
	c.found(RuleCopy, "%d was told at %v of %.24q to %d as %s, which is not stored", p.User, p.At, p.Content, p.Peer, p.ID)
}

// typed says whether somebody had just asked to have this told.
func (c *check) typed(p Passing) bool {
	return slices.ContainsFunc(c.Deeds, func(d *Deed) bool {
		return d.Act == ActTyping && d.User == p.Peer && d.Peer == p.User && d.At <= p.At && p.At <= d.At+ghostTime
	})
}
