//go:build chaos

package chaos

import (
	"cmp"
	"slices"
	"time"
)

// Version 1 has no seqs: its rules go by the places of contents in the log.

// reading is what a user of version 1 has got, from socket to socket.
type reading struct {
	*check
	user  int
	reach int64               // newest seq up to which everything came
	past  map[int64][]Receipt // what came on sockets, by seq
}

// checkSockets: each socket gets events in order without a gap, and begins no later
// than after what the sockets before it got, and no earlier than what they had not
// confirmed.
func (c *check) checkSockets(user int) {
	r := &reading{check: c, user: user, past: map[int64][]Receipt{}}
	receipts := c.receipts[user]
	for len(receipts) > 0 {
		n := slices.IndexFunc(receipts, func(got Receipt) bool { return got.Socket != receipts[0].Socket })
		if n < 0 {
			n = len(receipts)
		}
		r.checkSocket(c.socket(user, receipts[0].Socket), receipts[:n])
		receipts = receipts[n:]
	}
	c.checkSendOrder(user)
}

func (c *check) socket(user, number int) *Socket {
	for _, s := range c.sockets[user] {
		if s.Number == number {
			return s
		}
	}
	return &Socket{User: user, Number: number}
}

func (r *reading) checkSocket(s *Socket, receipts []Receipt) {
	last := int64(0)
	for i, got := range receipts {
		want := r.reach + 1
		if i > 0 {
			want = last + 1
		}
		seq := r.place(got.Content, want)
		switch {
		case seq == 0:
			continue // a phantom: another rule
		case seq > want:
			r.found(RuleGap, "user %d, socket %d, got seq %d at %v, where at most seq %d could come", r.user, s.Number, seq, got.At, want)
		case i > 0 && seq < want:
			r.found(RuleOrder, "user %d, socket %d, got seq %d after seq %d at %v", r.user, s.Number, seq, last, got.At)
		case seq <= r.reach:
			r.checkRepeated(s, got, seq)
		}
		last = seq
		r.reach = max(r.reach, seq)
		r.past[seq] = append(r.past[seq], got)
	}
}

// place is where a content is stored; where it is stored more than once, preferably
// where it was wanted.
func (r *reading) place(content string, want int64) int64 {
	seqs := r.places[r.user][content]
	switch {
	case len(seqs) == 0:
		return 0
	case slices.Contains(seqs, want):
		return want
	}
	return seqs[0]
}

// checkRepeated: an event may come again if there was no time to confirm it.
func (r *reading) checkRepeated(s *Socket, again Receipt, seq int64) {
	for _, first := range r.past[seq] {
		until := s.Asked
		if before := r.socket(r.user, first.Socket); before.Until > 0 {
			until = min(until, before.Until)
		}
		if quiet := r.longestQuiet(first.At, until, r.user, confirming); quiet > confirmTime+r.slack {
			r.found(RuleRepeated, "user %d got seq %d at %v and again at %v, with %v of quiet between", r.user, seq, first.At, again.At, quiet)
			return
		}
	}
	if len(r.past[seq]) > 0 { // otherwise it was passed over, and comes late
		r.counts.Repeated++
	}
}

// disturbance says whether a kind of fault excuses something, and for how long
// after it is over.
type disturbance func(Kind) (tail time.Duration, disturbs bool)

// confirming is disturbed by what keeps pongs or positions from where they go.
func confirming(k Kind) (time.Duration, bool) {
	switch k {
	case KillSocial, PauseSocial, KillPostgres, LoseAnswers, PauseGateway:
		return storeTail, true
	case KillGateway, CutClients, CutServers, FreezeReaders, FreezeAndCut:
		return noticeTime, true
	}
	return 0, false
}

// presence is disturbed by what makes the gateways forget who is where.
func presence(k Kind) (time.Duration, bool) {
	switch k {
	case KillRedis, PauseRedis, CutSubscribers, PauseGateway, CutServers, CutClients, FreezeReaders, FreezeAndCut:
		return noticeTime, true
	}
	return 0, false
}

// disturbances are the windows that concern a user, with their tails, by their begin.
func (c *check) disturbances(user int, d disturbance) []Window {
	var out []Window
	for _, w := range c.Windows {
		tail, disturbs := d(w.Kind)
		if !disturbs || w.User != 0 && w.User != user {
			continue
		}
		out = append(out, Window{From: w.From, To: w.end(c.End) + tail + c.slack})
	}
	slices.SortFunc(out, func(a, b Window) int { return cmp.Compare(a.From, b.From) })
	return out
}

func (w *Window) end(otherwise Instant) Instant {
	if w.To == 0 {
		return otherwise
	}
	return w.To
}

// longestQuiet is the longest time between two instants in which nothing disturbed.
func (c *check) longestQuiet(from, to Instant, user int, d disturbance) (longest time.Duration) {
	for _, w := range c.disturbances(user, d) {
		if w.From >= to {
			break
		}
		longest = max(longest, w.From-from)
		from = max(from, w.To)
	}
	return max(longest, to-from)
}

// checkSendOrder: what a user sends on one socket to one recipient is stored in that
// order.
func (c *check) checkSendOrder(user int) {
	type way struct{ socket, recipient int }
	last := map[way]int64{}
	for _, s := range c.Sends {
		if s.Sender != user || s.Socket == 0 {
			continue
		}
		seqs := c.places[s.Recipient][s.Content]
		if len(seqs) == 0 {
			continue
		}
		w := way{s.Socket, s.Recipient}
		if seqs[0] < last[w] {
			c.found(RuleOrder, "%.24q to %d has the seq %d, and what the same socket sent before it the seq %d", s.Content, s.Recipient, seqs[0], last[w])
		}
		last[w] = max(last[w], seqs[0])
	}
}

// checkRefusals: version 1 is refused only who is not connected, outside the times
// in which that could not be known; version 2 is never refused.
func (c *check) checkRefusals() {
	for _, s := range c.Sends {
		switch {
		case s.Outcome != Refused:
		case c.Versions[s.Sender] == 2:
			c.found(RuleRefused, "%.24q of version 2 to %d at %v", s.Content, s.Recipient, s.Answered)
		case !c.connected(s.Recipient, s.At, s.Answered+noticeTime+c.slack):
		case c.longestQuiet(s.At, s.Answered, s.Recipient, presence) < s.Answered-s.At:
			c.counts.Excused++
		default:
			c.found(RuleRefused, "%.24q to %d at %v", s.Content, s.Recipient, s.Answered)
		}
	}
}

// connected says whether a user had one socket all that time.
func (c *check) connected(user int, from, to Instant) bool {
	return slices.ContainsFunc(c.sockets[user], func(s *Socket) bool {
		return s.Since <= from && (s.Until == 0 || s.Until >= to)
	})
}
