package main

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// stream is what one user sends to another: messages numbered 1, 2, 3, ... in the
// order of sending. It finds out what became of each.
type stream struct {
	from, to *user
	template []byte // a whole frame, but for the stamp
	stampAt  int    // where in the template the content begins

	// Owned by the sender, under its mu. Answers come in order, so the next one is
	// for answered+1.
	sent     uint32
	answered uint32
	refused  []uint32 // answered with an error
	unknown  []uint32 // without an answer when the socket broke

	// Owned by the recipient's reader.
	highest    uint32
	missing    []uint32 // below highest, not come yet
	doubled    int
	disordered int
	repeated   int // doubled, but as the protocol allows after a login by pin

	acked atomic.Int64 // messages; read by whoever wants
	came  atomic.Int64
}

// answer notes the answer to the oldest send without one.
func (s *stream) answer(stored bool) {
	s.answered++
	if !stored {
		s.refused = append(s.refused, s.answered)
		return
	}
	s.acked.Add(1)
}

// broke notes that no more answers will come on this socket.
func (s *stream) broke() {
	for s.answered < s.sent {
		s.answered++
		s.unknown = append(s.unknown, s.answered)
	}
}

// arrive notes that message n came; again says that repetitions are allowed, since
// the recipient has logged in anew. It is false for one that came before.
func (s *stream) arrive(n uint32, again bool) bool {
	switch {
	case n > s.highest:
		for skipped := s.highest + 1; skipped < n; skipped++ {
			s.missing = append(s.missing, skipped)
		}
		s.highest = n
	case slices.Contains(s.missing, n):
		s.missing = slices.DeleteFunc(s.missing, func(m uint32) bool { return m == n })
		s.disordered++
	case again:
		s.repeated++
		return false
	default:
		s.doubled++
		return false
	}
	s.came.Add(1)
	return true
}

// lost counts the messages that were acknowledged and did not come. It is true only
// when nothing moves any more.
func (s *stream) lost() int {
	n := 0
	for _, m := range s.missing {
		if s.wasAcked(m) {
			n++
		}
	}
	for m := s.highest + 1; m <= s.answered; m++ {
		if s.wasAcked(m) {
			n++
		}
	}
	return n
}

// settled says that every message has its answer, and has come if it was
// acknowledged.
func (s *stream) settled() bool {
	first, second := s.from, s.to
	if first.n > second.n {
		first, second = second, first
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	return s.answered == s.sent && s.lost() == 0
}

func (s *stream) wasAcked(n uint32) bool {
	return n <= s.answered && !slices.Contains(s.refused, n) && !slices.Contains(s.unknown, n)
}

// verdict is the sum over all streams.
type verdict struct {
	Acked      int64 `json:"acked"`
	Delivered  int64 `json:"delivered"`
	Lost       int   `json:"lost"`
	Doubled    int   `json:"doubled"`
	Disordered int   `json:"disordered"`
	Repeated   int   `json:"repeated"` // after a login by pin, as the protocol allows
	Refused    int   `json:"refused"`
	Unanswered int   `json:"unanswered"`
	// Faults are frames and ends of sockets that should not have been.
	Faults []string `json:"faults,omitempty"`
}

func (v *verdict) add(s *stream) {
	v.Acked += s.acked.Load()
	v.Delivered += s.came.Load()
	v.Lost += s.lost()
	v.Doubled += s.doubled
	v.Disordered += s.disordered
	v.Repeated += s.repeated
	v.Refused += len(s.refused)
	v.Unanswered += len(s.unknown) + int(s.sent-s.answered)
}

// err says what was broken; nil if every promise was kept.
func (v *verdict) err() error {
	if v.Lost+v.Doubled+v.Disordered > 0 {
		return fmt.Errorf("%d lost, %d doubled, %d disordered of %d acknowledged messages", v.Lost, v.Doubled, v.Disordered, v.Acked)
	}
	if v.Refused > 0 || len(v.Faults) > 0 {
		return fmt.Errorf("%d messages refused, %d faults: %q", v.Refused, len(v.Faults), v.Faults)
	}
	return nil
}
