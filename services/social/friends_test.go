package social

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
)

func TestEveryActionInEveryStateDoesWhatTheProtocolSays(t *testing.T) {
	t.Parallel()

	const mine, theirs = stateLowAsked, stateHighAsked // as low sees it
	for _, c := range []struct {
		state   state
		act     action
		next    state
		notices int
		kind    fault.Kind // "": it succeeds
	}{
		{stateNone, actionRequest, mine, 1, ""},
		{mine, actionRequest, mine, 0, ""},           // doubled
		{theirs, actionRequest, stateFriends, 0, ""}, // crossed
		{stateFriends, actionRequest, stateFriends, 0, fault.Conflict},
		{stateNone, actionAccept, stateNone, 0, fault.NotFound},
		{mine, actionAccept, mine, 0, fault.NotFound}, // nobody answers their own request
		{theirs, actionAccept, stateFriends, 0, ""},
		{stateFriends, actionAccept, stateFriends, 0, fault.NotFound},
		{stateNone, actionDeny, stateNone, 0, fault.NotFound},
		{mine, actionDeny, mine, 0, fault.NotFound},
		{theirs, actionDeny, stateNone, 0, ""},
		{stateFriends, actionDeny, stateFriends, 0, fault.NotFound}, // denying ends no friendship
	} {
		next, notices, err := transition(c.state, low, c.act)
		if next != c.next || len(notices) != c.notices {
			t.Errorf("%s in state %d: state %d, notices %v", c.act, c.state, next, notices)
		}
		if (c.kind == "") != (err == nil) || (err != nil && !errors.Is(err, c.kind)) {
			t.Errorf("%s in state %d: error %v, want %q", c.act, c.state, err, c.kind)
		}
	}
}

func TestFriendshipLooksTheSameFromBothSides(t *testing.T) {
	t.Parallel()

	mirror := map[state]state{stateNone: stateNone, stateLowAsked: stateHighAsked, stateHighAsked: stateLowAsked, stateFriends: stateFriends}
	for s, mirrored := range mirror {
		for _, act := range actions {
			next, notices, err := transition(s, low, act)
			otherNext, otherNotices, otherErr := transition(mirrored, high, act)
			if mirror[next] != otherNext || fault.KindOf(err) != fault.KindOf(otherErr) || len(notices) != len(otherNotices) {
				t.Errorf("%s in state %d: low %d %v, high %d %v", act, s, next, err, otherNext, otherErr)
			}
			for i := range notices {
				if notices[i].to != otherNotices[i].to.other() || notices[i].kind != otherNotices[i].kind {
					t.Errorf("%s in state %d: low %v, high %v", act, s, notices, otherNotices)
				}
			}
		}
	}
}

var actions = []action{actionRequest, actionAccept, actionDeny}

// history is what two users did, and what must be true of any such history.
type history struct {
	state   state
	wants   [2]bool // by side: asked, and since then neither denied nor accepted
	friends bool
	got     [2]int // friend requests in the inbox of each side
	sent    [2]int // requests of each side that were new
}

// do does one thing, and returns how the result breaks what must hold.
func (h *history) do(by side, act action) error {
	before := *h
	next, notices, err := transition(h.state, by, act)
	h.state = next
	for _, n := range notices {
		if n.kind != bell.KindFriendRequest || n.to != by.other() {
			return fmt.Errorf("unexpected notice %v", n)
		}
		h.got[n.to]++
	}
	if err != nil {
		return before.checkFault(*h, by, act, err)
	}
	switch {
	case act == actionRequest && before.wants[by]: // doubled
	case act == actionRequest && before.wants[by.other()], act == actionAccept:
		h.friends, h.wants = true, [2]bool{}
	case act == actionRequest:
		h.wants[by] = true
		h.sent[by]++
	case act == actionDeny:
		h.wants[by.other()] = false
	}
	return h.check()
}

// checkFault says whether err was due, and changed nothing.
func (h history) checkFault(after history, by side, act action, err error) error {
	due := map[action]bool{
		actionRequest: h.friends && errors.Is(err, fault.Conflict),
		actionAccept:  !h.wants[by.other()] && errors.Is(err, fault.NotFound),
		actionDeny:    !h.wants[by.other()] && errors.Is(err, fault.NotFound),
	}
	if !due[act] || after != h {
		return fmt.Errorf("fault %w is not due, or changed something", err)
	}
	return nil
}

func (h history) check() error {
	switch {
	case h.wants[low] && h.wants[high]:
		return errors.New("both wait for each other")
	case h.friends != (h.state == stateFriends), h.wants[low] != (h.state == stateLowAsked), h.wants[high] != (h.state == stateHighAsked):
		return fmt.Errorf("the state is %d", h.state)
	case h.got[low] != h.sent[high], h.got[high] != h.sent[low]:
		return errors.New("a request has not exactly one event")
	}
	return nil
}

func TestRandomHistoriesOfTwoUsersNeverBreakTheRules(t *testing.T) {
	t.Parallel()

	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		var h history
		for step := range 30 {
			by, act := side(random.IntN(2)), actions[random.IntN(len(actions))]
			if err := h.do(by, act); err != nil {
				t.Fatalf("seed %d, step %d, %s by %d: %v: %+v", seed, step, act, by, err, h)
			}
		}
	}
}

func TestNobodyIsAPairWithOneself(t *testing.T) {
	t.Parallel()

	for act, want := range map[action]fault.Kind{actionRequest: fault.Invalid, actionAccept: fault.NotFound, actionDeny: fault.NotFound} {
		if _, _, err := pairOf(minID, minID, act); !errors.Is(err, want) {
			t.Errorf("%s: %v", act, err)
		}
	}
	p, by, err := pairOf(maxID, minID, actionRequest)
	if p != (pair{minID, maxID}) || by != high || err != nil || p.user(by) != maxID || p.user(by.other()) != minID {
		t.Errorf("pair %v, side %d, %v", p, by, err)
	}
}
