package main

import (
	"strings"
	"testing"
)

// play judges a history of a stream: s sends, a and r answer the oldest send as
// stored or refused, b breaks the sender's socket, a number arrives, l is a login of
// the recipient by pin.
func play(t *testing.T, history string) verdict {
	t.Helper()
	s, again := &stream{}, false
	for _, word := range strings.Fields(history) {
		switch {
		case word == "s":
			s.sent++
		case word == "a":
			s.answer(true)
		case word == "r":
			s.answer(false)
		case word == "b":
			s.broke()
		case word == "l":
			again = true
		default:
			s.arrive(uint32(number([]byte(word))), again)
		}
	}
	var v verdict
	v.add(s)
	return v
}

func TestCheckerOfStreams(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]verdict{
		"":                                {},
		"s s a 1 a 2":                     {Acked: 2, Delivered: 2},
		"s 1 a":                           {Acked: 1, Delivered: 1},
		"s a":                             {Acked: 1, Lost: 1},
		"s s s a a a 1 3":                 {Acked: 3, Delivered: 2, Lost: 1},
		"s s s a a a 1 2":                 {Acked: 3, Delivered: 2, Lost: 1},
		"s s a a 2 1":                     {Acked: 2, Delivered: 2, Disordered: 1},
		"s a 1 1":                         {Acked: 1, Delivered: 1, Doubled: 1},
		"s s a a 1 2 1":                   {Acked: 2, Delivered: 2, Doubled: 1},
		"s s a a 1 2 l 1 2":               {Acked: 2, Delivered: 2, Repeated: 2},
		"s s s a r a 1 3":                 {Acked: 2, Delivered: 2, Refused: 1},
		"s s s a b 1":                     {Acked: 1, Delivered: 1, Unanswered: 2},
		"s s s a b 1 2 3":                 {Acked: 1, Delivered: 3, Unanswered: 2},
		"s s a b s a 1 3":                 {Acked: 2, Delivered: 2, Unanswered: 1},
		"s s":                             {Unanswered: 2},
		"s s s s a a a a 1 4 2 l 1 2 3 4": {Acked: 4, Delivered: 4, Disordered: 2, Repeated: 3},
	} {
		got := play(t, history)
		if got.Acked != want.Acked || got.Delivered != want.Delivered || got.Lost != want.Lost || got.Doubled != want.Doubled ||
			got.Disordered != want.Disordered || got.Repeated != want.Repeated || got.Refused != want.Refused ||
			got.Unanswered != want.Unanswered {
			t.Errorf("%q: got %+v, want %+v", history, got, want)
		}
		broken := want.Lost+want.Doubled+want.Disordered+want.Refused > 0
		if (got.err() != nil) != broken {
			t.Errorf("%q: error %v", history, got.err())
		}
	}
}

func TestVerdictOfFaults(t *testing.T) {
	t.Parallel()
	v := verdict{Faults: []string{"a socket ended"}}
	if err := v.err(); err == nil || !strings.Contains(err.Error(), "a socket ended") {
		t.Errorf("got %v", err)
	}
}
