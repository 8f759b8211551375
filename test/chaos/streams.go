package chaos

import (
	"slices"
	"time"
)

// reading is what a user has got, on all sockets.
type reading struct {
	*check
	user    int
	reach   int64               // newest seq that came, on whatever socket
	past    map[int64][]Receipt // what came, by seq
	streams map[int]*stream     // by the socket's number
}

// stream is what came on one socket.
type stream struct {
	*Socket
	begun   bool            // it is known where it is
	last    int64           // newest seq, once it has begun
	noticed map[string]bool // friend requests that came before it began
}

// checkStreams: what comes on each socket follows the log without a gap. A socket
// that resumed goes on exactly where its device was. Any other begins no later than
// after what the user's sockets have got, and no earlier than what they had not
// confirmed. Version 1 has no seqs: they are found by the contents.
func (c *check) checkStreams(user int) {
	r := &reading{check: c, user: user, past: map[int64][]Receipt{}, streams: map[int]*stream{}}
	for _, got := range c.receipts[user] {
		r.take(r.stream(got.Socket), got)
	}
	for _, s := range c.sockets[user] {
		if s.Hidden || s.Until > 0 && s.Until < c.End {
			continue
		}
		next := r.nextAfter(r.stream(s.Number).last)
		if r.stream(s.Number).begun && next <= c.Inboxes[user].Head {
			r.found(RuleBehind, "user %d, socket %d, never got seq %d", user, s.Number, next)
		}
	}
}

// stream is what there is so far on a socket. That of a Client is one for all its
// sockets, from the first event on.
func (r *reading) stream(number int) *stream {
	if s := r.streams[number]; s != nil {
		return s
	}
	s := &stream{Socket: &Socket{User: r.user, Resumed: true}, noticed: map[string]bool{}}
	if i := slices.IndexFunc(r.sockets[r.user], func(s *Socket) bool { return s.Number == number && !s.Hidden }); i >= 0 {
		s.Socket = r.sockets[r.user][i]
	}
	s.begun, s.last = s.Resumed, s.After
	r.streams[number] = s
	return s
}

// nextAfter is the seq of the next event in the log that the user sees; beyond the head
// if there is none.
func (r *reading) nextAfter(seq int64) int64 {
	for _, m := range r.Inboxes[r.user].Stored[min(seq, int64(len(r.Inboxes[r.user].Stored))):] {
		if m.Content != "" && m.Seq > seq {
			return m.Seq
		}
	}
	return r.Inboxes[r.user].Head + 1
}

func (r *reading) take(s *stream, got Receipt) {
	want := r.nextAfter(r.reach)
	if s.begun {
		want = r.nextAfter(s.last)
	}
	seq := r.place(got, want)
	switch {
	case seq == 0 && got.Seq > 0 && r.deleted[got.Sender] != nil && got.Seq < want:
		// It is erased since then, and may have come or not.
		if s.begun && got.Seq <= s.last {
			r.found(RuleOrder, "user %d, socket %d, got seq %d after seq %d at %v", r.user, s.Number, got.Seq, s.last, got.At)
		}
		if s.begun {
			s.last = got.Seq
		}
		return
	case seq == 0: // not in the log: another rule
		return
	case r.Versions[r.user] == 1 && !s.begun && seq <= r.reach && got.Content == requestOf(got.Sender):
		s.noticed[got.Content] = true // it waits, and so comes at every login
		return
	case seq > want:
		r.found(RuleGap, "user %d, socket %d, got seq %d at %v, where at most seq %d could come", r.user, s.Number, seq, got.At, want)
	case s.begun && seq == s.last:
		r.found(RuleDuplicate, "user %d, socket %d, got seq %d again at %v", r.user, s.Number, seq, got.At)
	case s.begun && seq < want:
		r.found(RuleOrder, "user %d, socket %d, got seq %d after seq %d at %v", r.user, s.Number, seq, s.last, got.At)
	case seq <= r.reach && !s.Resumed:
		r.checkRepeated(s, got, seq)
	}
	if !s.begun {
		r.checkWaiting(s, seq)
	}
	s.begun, s.last = true, max(s.last, seq)
	r.reach = max(r.reach, seq)
	r.past[seq] = append(r.past[seq], got)
}

// place is where something is stored: in version 2 where it says, in version 1,
// where it is stored more than once, preferably where it was wanted. 0 is nowhere.
func (r *reading) place(got Receipt, want int64) int64 {
	seqs := r.places[r.user][got.Content]
	switch {
	case len(seqs) == 0:
		return 0
	case r.Versions[r.user] == 2:
		if !slices.Contains(seqs, got.Seq) {
			r.found(RuleWrongPlace, "user %d got %.24q as seq %d, which it is not", r.user, got.Content, got.Seq)
		}
		return got.Seq
	case slices.Contains(seqs, want):
		return want
	}
	return seqs[0]
}

// checkRepeated: an event may come again if there was no time to confirm it.
func (r *reading) checkRepeated(s *stream, again Receipt, seq int64) {
	repeated := false
	for _, first := range r.past[seq] {
		until := s.Asked
		if before := r.stream(first.Socket); before.Until > 0 {
			until = min(until, before.Until)
		}
		if first.At > s.Asked {
			continue // both sockets were there
		}
		repeated = true
		quiet := r.longestQuiet(first.At, until, r.user, confirming)
		r.counts.Oldest = max(r.counts.Oldest, quiet)
		if quiet > confirmTime+tripTime {
			r.found(RuleRepeated, "user %d got seq %d at %v and again at %v, with %v of quiet between", r.user, seq, first.At, again.At, quiet)
			return
		}
	}
	if repeated {
		r.counts.Repeated++
	}
}

// checkWaiting: a socket of version 1 that begins with seq was told before of all
// friend requests that wait and are older.
func (r *reading) checkWaiting(s *stream, seq int64) {
	if r.Versions[r.user] != 1 {
		return
	}
	for _, m := range r.Inboxes[r.user].Stored {
		if m.Seq < seq && m.Content == requestOf(m.Sender) && !s.noticed[m.Content] && r.deleted[m.Sender] == nil {
			r.found(RuleWaiting, "user %d, socket %d, begins with seq %d, without the request of seq %d", r.user, s.Number, seq, m.Seq)
		}
	}
}

// checkRefusals: version 1 is refused only who is not connected, outside the times
// in which that could not be known; version 2 nobody. Whom one of the two blocks is
// refused, and whose account is deleted: it may also have blocked before, which only its
// own log told.
func (c *check) checkRefusals() {
	for _, s := range c.Sends {
		switch {
		case s.Outcome != Refused:
		case c.deleted[s.Recipient] != nil, c.deleted[s.Sender] != nil,
			c.story(s.Sender, s.Recipient).possible(s.At, s.Answered, relation.blocked):
			c.counts.Blocked++
		case c.Versions[s.Sender] == 2:
			c.found(RuleRefused, "%.24q of version 2 to %d at %v", s.Content, s.Recipient, s.Answered)
		case !c.connected(s.Recipient, s.At, c.Beats.after(s.Answered, noticeTime)):
		case c.disturbed(s.At, s.Answered, s.Recipient, presence):
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

// disturbance says whether a kind of fault excuses something, and for how long
// after it is over.
type disturbance func(Kind) (tail time.Duration, disturbs bool)

// confirming is disturbed by what keeps pongs or positions from where they go.
func confirming(k Kind) (time.Duration, bool) {
	switch k {
	case KillSocial, PauseSocial, KillPostgres, LoseAnswers, PauseGateway:
		return storeTail, true
	case CutServers, FreezeReaders, FreezeAndCut:
		return noticeTime, true
	}
	return 0, false
}

// presence is disturbed by what makes the gateways forget who is where.
func presence(k Kind) (time.Duration, bool) {
	switch k {
	case KillRedis, PauseRedis, CutSubscribers, PauseGateway, CutServers, FreezeReaders, FreezeAndCut:
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
		to := w.To
		if to == 0 {
			to = c.End
		}
		out = append(out, Window{From: w.From, To: c.Beats.after(to, tail)})
	}
	slices.SortFunc(out, func(a, b Window) int { return int(a.From - b.From) })
	return out
}

// disturbed says whether a disturbance touches a time.
func (c *check) disturbed(from, to Instant, user int, d disturbance) bool {
	return slices.ContainsFunc(c.disturbances(user, d), func(w Window) bool { return w.From <= to && w.To >= from })
}

// longestQuiet is the longest time from one instant to another in which nothing
// disturbed, in beats.
func (c *check) longestQuiet(from, to Instant, user int, d disturbance) (longest time.Duration) {
	for _, w := range c.disturbances(user, d) {
		if w.From >= to {
			break
		}
		longest = max(longest, c.quiet(from, w.From))
		from = max(from, w.To)
	}
	return max(longest, c.quiet(from, to))
}

func (c *check) quiet(from, to Instant) time.Duration {
	if to <= from {
		return 0
	}
	return c.Beats.between(from, to)
}
