package chaos

import "time"

// endTime is within which the sockets of sessions that have ended are closed.
const endTime = time.Second

// ending is disturbed by all that breaks or holds up something. What users do
// themselves, and a gateway that is drained, is no excuse.
func ending(k Kind) (time.Duration, bool) {
	switch k {
	case LogOut, CloseOne, DrainGateway:
		return 0, false
	}
	return storeTail, true
}

// checkEndings: when all sessions of a user are ended, or the account is deleted, the
// sockets of those sessions are closed in time.
func (c *check) checkEndings() {
	for _, d := range c.Deeds {
		if d.Act != ActRevoke && d.Act != ActDelete || d.Outcome != Acknowledged {
			continue
		}
		disturbed := c.disturbed(d.At, c.Beats.after(d.Answered, endTime), d.User, ending)
		for _, s := range c.sockets[d.User] {
			if s.Since > d.At || s.Until > 0 && s.Until <= d.Answered {
				continue
			}
			c.checkEnd(d, s, disturbed)
		}
	}
}

// checkEnd looks at a socket that was there when its session was ended.
func (c *check) checkEnd(d *Deed, s *Socket, disturbed bool) {
	until := s.Until
	if until == 0 {
		until = c.End
	}
	took := c.Beats.between(d.Answered, until)
	n := &c.counts
	switch {
	case s.Until == 0:
		c.found(RuleOutlived, "socket %d of %d never ended after %s at %v", s.Number, s.User, d.Act, d.Answered)
	case disturbed:
		n.EndedAmid, n.LongestEndAmid = n.EndedAmid+1, max(n.LongestEndAmid, took)
	default:
		n.Ended, n.LongestEnd = n.Ended+1, max(n.LongestEnd, took)
		if took > endTime+tripTime {
			c.found(RuleOutlived, "socket %d of %d ended %v after %s at %v", s.Number, s.User, took, d.Act, d.Answered)
		}
		if s.Code != sessionOver && s.Code != restart && s.Code != 0 {
			c.found(RuleOutlived, "socket %d of %d was closed with %d after %s", s.Number, s.User, s.Code, d.Act)
		}
	}
}

// The codes with which sockets are closed whose session has ended, and those of a
// gateway that is drained.
const (
	sessionOver = 4502
	restart     = 1012
)

// deletionGrace is when a deleted account is looked after for the last time. It is far
// shorter here than the longest that a message may be under way.
const deletionGrace = 2 * time.Second

// cameLate says whether a message of a deleted account may have been stored when that
// was looked after for the last time.
func (c *check) cameLate(m Stored) bool {
	d := c.deleted[m.Sender]
	return d != nil && m.Kind == kindMessage && m.At > d.At+deletionGrace/2
}

// checkGone: nothing is left in the logs of others of what a deleted account wrote,
// but for its place.
func (c *check) checkGone() {
	for user, inbox := range c.Inboxes {
		for _, m := range inbox.Stored {
			switch {
			case m.Kind == kindMessage && c.deleted[m.Sender] != nil && !c.cameLate(m):
				c.found(RuleGone, "seq %d of %d still is a message of %d", m.Seq, user, m.Sender)
			case m.Kind == kindTombstone:
				c.counts.Tombstones++
			}
		}
	}
	for _, s := range c.Sends {
		if c.deleted[s.Sender] == nil || c.deleted[s.Recipient] != nil || s.Outcome != Acknowledged {
			continue
		}
		recipient, seq, ok := placeOf(s.ID)
		stored := c.Inboxes[recipient].Stored
		if s.Content == requestOf(s.Sender) || !ok || seq == 0 {
			continue
		}
		if int(seq) > len(stored) || stored[seq-1].Kind != kindTombstone && !c.cameLate(stored[seq-1]) {
			c.found(RuleGone, "%s, which %d wrote, is no tombstone", s.ID, s.Sender)
		}
	}
}
