package chaos

import (
	"cmp"
	"slices"
)

// message is one that is in a log, with its place.
type message struct {
	Stored
	recipient int
	send      *Send
}

// before is the order of history.
func (m message) before(other message) int {
	return cmp.Or(cmp.Compare(m.At, other.At), cmp.Compare(m.recipient, other.recipient), cmp.Compare(m.Seq, other.Seq))
}

// checkHistory: each page of history has what both wrote to each other and is stored,
// once and in order; nothing is left out that was acknowledged when it was asked for;
// and all pages of a conversation are all of it.
func (c *check) checkHistory() {
	conversations := c.conversations()
	last := map[[2]int][]Said{}
	for _, d := range c.Deeds {
		if d.Act != ActHistory || d.Outcome != Acknowledged || c.deleted[d.User] != nil {
			continue
		}
		if c.deleted[d.Peer] != nil {
			c.checkForgotten(d)
			continue
		}
		c.counts.Pages++
		all := conversations[pairOf(d.User, d.Peer)]
		c.checkPage(d, all)
		if d.Last {
			c.checkStates(d)
			last[[2]int{d.User, d.Peer}] = slices.Concat(d.Said, last[[2]int{d.User, d.Peer}])
		}
	}
	for who, said := range last {
		c.counts.Remembered += len(said)
		c.checkWhole(who[0], who[1], said, conversations[pairOf(who[0], who[1])])
	}
}

// checkForgotten: nothing is left at the end of a conversation with a deleted account.
func (c *check) checkForgotten(d *Deed) {
	for _, said := range d.Said {
		user, seq, _ := placeOf(said.ID)
		stored := c.Inboxes[user].Stored
		late := seq > 0 && int(seq) <= len(stored) && c.cameLate(stored[seq-1])
		if d.Last && !late {
			c.found(RuleGone, "history of %d still has %s of %d", d.User, said.ID, d.Peer)
		}
	}
}

// conversations are what users wrote to each other and is stored, in order.
func (c *check) conversations() map[pair][]message {
	all := map[pair][]message{}
	for user, inbox := range c.Inboxes {
		for _, m := range inbox.Stored {
			if m.Kind == kindMessage {
				p := pairOf(user, m.Sender)
				all[p] = append(all[p], message{m, user, c.sent[m.Content][user]})
			}
		}
	}
	for _, list := range all {
		slices.SortFunc(list, message.before)
	}
	return all
}

// checkPage finds each message of a page in the conversation, in the same order.
func (c *check) checkPage(d *Deed, all []message) {
	next := 0
	for i, said := range d.Said {
		user, seq, _ := placeOf(said.ID)
		at := slices.IndexFunc(all[next:], func(m message) bool {
			return m.recipient == user && m.Seq == seq && m.Sender == said.Sender && m.Content == said.Content
		})
		if at < 0 {
			c.found(RuleHistory, "that of %d with %d, asked for at %v, has %.24q as %s, which is not there or comes before", d.User, d.Peer, d.At, said.Content, said.ID)
			return
		}
		if i > 0 || !d.More && d.Before == "" {
			c.checkSkipped(d, all[next:next+at])
		}
		next += at + 1
	}
	if d.Before == "" {
		c.checkSkipped(d, all[next:])
	}
}

// checkSkipped: what a page leaves out was not acknowledged when it was asked for.
func (c *check) checkSkipped(d *Deed, skipped []message) {
	for _, m := range skipped {
		if m.send != nil && m.send.Outcome == Acknowledged && m.send.Answered < d.At {
			c.found(RuleHistory, "that of %d with %d, asked for at %v, lacks %.24q, seq %d of %d", d.User, d.Peer, d.At, m.Content, m.Seq, m.recipient)
		}
	}
}

// checkWhole: the pages that somebody read at the end are the conversation.
func (c *check) checkWhole(user, peer int, said []Said, all []message) {
	if len(said) != len(all) {
		c.found(RuleHistory, "that of %d with %d has %d messages at the end, and the logs have %d", user, peer, len(said), len(all))
		return
	}
	for i, m := range all {
		if said[i].ID != eventID(m.recipient, m.Seq) {
			c.found(RuleHistory, "that of %d with %d has %s where %s should be", user, peer, said[i].ID, eventID(m.recipient, m.Seq))
			return
		}
	}
}

// checkStates: what has been delivered or read by one's own messages was, and what the
// other has marked as read before is.
func (c *check) checkStates(d *Deed) {
	for _, said := range d.Said {
		if said.Sender != d.User {
			continue
		}
		recipient, seq, _ := placeOf(said.ID)
		switch {
		case said.State == "read" && !c.mayHaveRead(recipient, d.User, seq, d.Answered):
			c.found(RuleReceipt, "history of %d at %v says that %d has read seq %d", d.User, d.At, recipient, seq)
		case said.State == "delivered" && !c.hasGot(recipient, seq, d.Answered):
			c.found(RuleReceipt, "history of %d at %v says that %d has got seq %d", d.User, d.At, recipient, seq)
		case said.State != "read" && c.hasMarked(recipient, d.User, seq, d.At):
			c.found(RuleMark, "%d has marked seq %d of %d as read, which is %q at %v", recipient, seq, d.User, said.State, d.At)
		}
		c.counts.States[said.State]++
	}
}

// mayHaveRead says whether reader asked by then to have marked as read what peer sent,
// up to a seq at least.
func (c *check) mayHaveRead(reader, peer int, seq int64, by Instant) bool {
	return slices.ContainsFunc(c.marks[[2]int{reader, peer}], func(d *Deed) bool { return d.Seq >= seq && d.At <= by })
}

func (c *check) hasMarked(reader, peer int, seq int64, by Instant) bool {
	return slices.ContainsFunc(c.marks[[2]int{reader, peer}], func(d *Deed) bool {
		return d.Outcome == Acknowledged && d.Seq >= seq && d.Answered <= by
	})
}

// hasGot says whether everything up to a seq had come to a user by then: the newest of
// it, since nothing is passed over. Version 1 does not say which seq a message has.
func (c *check) hasGot(user int, seq int64, by Instant) bool {
	stored := c.Inboxes[user].Stored
	for i := min(int(seq), len(stored)) - 1; i >= 0; i-- {
		if stored[i].Content != "" {
			came, ok := c.came[user][stored[i].Seq]
			return ok && came <= by
		}
	}
	return true
}
