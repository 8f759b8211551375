package chaos

import (
	"maps"
	"slices"
	"time"
)

// judge checks the history and prints what it amounts to.
func (w *world) judge(h History) {
	violations, n := Check(h)
	worked := h.Beats.between(w.target.began, w.target.ended)
	w.t.Logf("the clock counted %v of the %v in which there was traffic",
		worked.Round(time.Millisecond), (w.target.ended - w.target.began).Round(time.Millisecond))
	w.t.Logf("sends: %d acknowledged, %d refused (%d of connected users, in fault windows), %d failed, %d unanswered",
		n.Acknowledged, n.Refused, n.Excused, n.Failed, n.Unanswered)
	w.t.Logf("friend requests: %d stored, %d of them for users who were away", n.Requests, n.RequestsAway)
	w.t.Logf("%d stored, %d delivered on %d sockets (%d resumed)", n.Stored, n.Delivered, n.Sockets, n.Resumed)
	w.t.Logf("%d repeated within the allowance, the oldest after %v without a fault", n.Repeated, n.Oldest.Round(time.Millisecond))
	w.tellDeeds(n)
	w.t.Logf("%d times a slow socket went on from the store, at the gateways that live", w.stalls())
	gap, from := h.longestGap(w.target.began, w.target.ended)
	w.t.Logf("longest gap in service: %v, from %v", gap.Round(time.Millisecond), from.Round(time.Millisecond))
	for _, kind := range kinds {
		w.t.Logf("fault: %2d x %s", n.Faults[kind], kind)
		if n.Faults[kind] == 0 {
			w.t.Errorf("no fault of the kind %q", kind)
		}
	}
	if least := w.settings.rate * int(worked/time.Second) / 4; n.Acknowledged < least {
		w.t.Errorf("only %d messages were acknowledged, less than %d: this shows nothing", n.Acknowledged, least)
	}
	w.show(violations)
	if len(violations) > 0 {
		w.keep("history.json", h)
	}
}

func (w *world) show(violations []Violation) {
	shown := map[Rule]int{}
	for _, v := range violations {
		if shown[v.Rule]++; shown[v.Rule] <= maxShown {
			w.t.Error(v)
		}
	}
	for rule, n := range shown {
		if n > maxShown {
			w.t.Errorf("%s: %d in all", rule, n)
		}
	}
}

// tellDeeds prints what users of version 2 did besides sending. In the long form all of
// it has to have been done at least once, or the run shows nothing of it.
func (w *world) tellDeeds(n Counts) {
	for _, act := range slices.Sorted(maps.Keys(ways)) {
		outcomes := n.Deeds[act]
		w.t.Logf("%s: %d done, %d refused, %d failed, %d unanswered",
			act, outcomes[Acknowledged], outcomes[Refused], outcomes[Failed], outcomes[Unanswered])
		if w.settings.long && outcomes[Acknowledged] == 0 {
			w.t.Errorf("nobody succeeded to %s", act)
		}
	}
	w.t.Logf("%d of these by REST; %d changes between users, %d friends on the lists at the end", n.REST, n.Turns, n.Friends)
	w.t.Logf("%d messages of version 2 refused for a block or a deleted account, whose messages are %d tombstones", n.Blocked, n.Tombstones)
	w.t.Logf("history: %d pages, %d messages in whole conversations at the end, of own ones %v", n.Pages, n.Remembered, n.States)
	w.t.Logf("passed: %v; %d friends known to be online", n.Passed, n.Watched)
	for _, kind := range []string{"receipt", "sent", "read", "typing"} {
		if w.settings.long && n.Passed[kind] == 0 {
			w.t.Errorf("nobody was told of %q", kind)
		}
	}
	w.t.Logf("sockets of ended sessions: %d closed after %v at most without a fault, %d amid faults after %v at most",
		n.Ended, n.LongestEnd.Round(time.Millisecond), n.EndedAmid, n.LongestEndAmid.Round(time.Millisecond))
}
