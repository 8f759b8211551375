package social

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
)

// relations are all that can be between two users.
var relations = map[string]relation{
	"nothing":        {},
	"low asked":      {state: stateLowAsked},
	"high asked":     {state: stateHighAsked},
	"friends":        {state: stateFriends},
	"low blocks":     {blocks: [2]bool{true, false}},
	"high blocks":    {blocks: [2]bool{false, true}},
	"both block":     {blocks: [2]bool{true, true}},
	"what cannot be": {state: 9},
}

func isRelation(r relation) bool {
	for name, known := range relations {
		if r == known && name != "what cannot be" {
			return true
		}
	}
	return false
}

func TestEveryActionInEveryRelationDoesWhatTheProtocolSays(t *testing.T) {
	t.Parallel()

	const conflict, notFound = fault.Conflict, fault.NotFound
	blocked := fault.Kind("blocked")
	// What comes of it when low does it: a relation, or a fault.
	want := map[string]map[action]any{
		"nothing": {actionRequest: "low asked", actionAccept: notFound, actionDeny: notFound, actionCancel: notFound,
			actionRemove: notFound, actionBlock: "low blocks", actionUnblock: notFound},
		"low asked": {actionRequest: "low asked", actionAccept: notFound, actionDeny: notFound, actionCancel: "nothing",
			actionRemove: notFound, actionBlock: "low blocks", actionUnblock: notFound},
		"high asked": {actionRequest: "friends", actionAccept: "friends", actionDeny: "nothing", actionCancel: notFound,
			actionRemove: notFound, actionBlock: "low blocks", actionUnblock: notFound},
		"friends": {actionRequest: conflict, actionAccept: notFound, actionDeny: notFound, actionCancel: notFound,
			actionRemove: "nothing", actionBlock: "low blocks", actionUnblock: notFound},
		"low blocks": {actionRequest: blocked, actionAccept: notFound, actionDeny: notFound, actionCancel: notFound,
			actionRemove: notFound, actionBlock: "low blocks", actionUnblock: "nothing"},
		"high blocks": {actionRequest: blocked, actionAccept: notFound, actionDeny: notFound, actionCancel: notFound,
			actionRemove: notFound, actionBlock: "both block", actionUnblock: notFound},
		"both block": {actionRequest: blocked, actionAccept: notFound, actionDeny: notFound, actionCancel: notFound,
			actionRemove: notFound, actionBlock: "both block", actionUnblock: "high blocks"},
	}
	for from, acts := range want {
		for _, act := range actions {
			next, _, err := transition(relations[from], low, act)
			switch due := acts[act].(type) {
			case string:
				if err != nil || next != relations[due] {
					t.Errorf("%s, then %s: %+v, %v", from, act, next, err)
				}
			case fault.Kind:
				if isDue := errors.Is(err, due) || due == blocked && errors.Is(err, errBlocked); !isDue || next != relations[from] {
					t.Errorf("%s, then %s: %+v, %v", from, act, next, err)
				}
			default:
				t.Errorf("%s, then %s: the test says nothing", from, act)
			}
		}
	}
}

func TestARelationLooksTheSameFromBothSides(t *testing.T) {
	t.Parallel()

	for name, r := range relations {
		for _, act := range actions {
			next, notices, err := transition(r, low, act)
			otherNext, otherNotices, otherErr := transition(mirrored(r), high, act)
			if mirrored(next) != otherNext || fault.KindOf(err) != fault.KindOf(otherErr) {
				t.Errorf("%s, then %s: low %+v %v, high %+v %v", name, act, next, err, otherNext, otherErr)
			}
			for _, side := range []side{low, high} {
				if diff := cmp.Diff(kindsTo(notices, side), kindsTo(otherNotices, side.other())); diff != "" {
					t.Errorf("%s, then %s: what low's act tells, and high's:\n%s", name, act, diff)
				}
			}
		}
	}
}

// mirrored exchanges low and high.
func mirrored(r relation) relation {
	switch r.state {
	case stateLowAsked:
		r.state = stateHighAsked
	case stateHighAsked:
		r.state = stateLowAsked
	}
	r.blocks[low], r.blocks[high] = r.blocks[high], r.blocks[low]
	return r
}

func kindsTo(notices []notice, to side) (kinds []bell.Kind) {
	for _, n := range notices {
		if n.to == to {
			kinds = append(kinds, n.kind)
		}
	}
	return kinds
}

// view is what a user can know of another.
type view struct{ friend, incoming, outgoing, blocked bool }

func viewOf(r relation, of side) view {
	return view{
		friend: r.state == stateFriends, incoming: r.state == asked(of.other()),
		outgoing: r.state == asked(of), blocked: r.blocks[of],
	}
}

// follow is what a client makes of an event; an error, if it makes no sense.
func (v view) follow(kind bell.Kind) (view, error) {
	was := v
	switch kind {
	case bell.KindFriendRequest:
		v.incoming = true
	case bell.KindRequestSent:
		v.outgoing = true
	case bell.KindFriendAdded:
		v.friend, v.incoming, v.outgoing = true, false, false
	case bell.KindFriendRemoved:
		v.friend = false
	case bell.KindRequestClosed:
		v.incoming, v.outgoing = false, false
	case bell.KindBlocked:
		v.blocked = true
	case bell.KindUnblocked:
		v.blocked = false
	}
	if v == was {
		return v, fmt.Errorf("%s says nothing new to %+v", kind, was)
	}
	return v, nil
}

func TestWhoFollowsTheEventsKnowsWhatIs(t *testing.T) {
	t.Parallel()

	for name, r := range relations {
		if !isRelation(r) {
			continue
		}
		for _, by := range []side{low, high} {
			for _, act := range actions {
				next, notices, err := transition(r, by, act)
				if err != nil && (next != r || notices != nil) || !isRelation(next) {
					t.Errorf("%s, then %s: %+v, %v, %v", name, act, next, notices, err)
				}
				for _, side := range []side{low, high} {
					seen := viewOf(r, side)
					for _, kind := range kindsTo(notices, side) {
						if seen, err = seen.follow(kind); err != nil {
							t.Errorf("%s, then %s by %d: %v", name, act, by, err)
						}
					}
					if seen != viewOf(next, side) {
						t.Errorf("%s, then %s by %d: side %d believes %+v, and it is %+v", name, act, by, side, seen, next)
					}
				}
			}
		}
	}
}

func TestTheBlockedLearnsNothingOfABlock(t *testing.T) {
	t.Parallel()

	for name, r := range relations {
		for _, act := range []action{actionBlock, actionUnblock} {
			_, notices, _ := transition(r, low, act)
			for _, kind := range kindsTo(notices, high) {
				if kind == bell.KindBlocked || kind == bell.KindUnblocked {
					t.Errorf("%s, then %s: high gets %s", name, act, kind)
				}
			}
		}
	}
}

func TestWhatWasDoneIsDone(t *testing.T) {
	t.Parallel()

	for name, r := range relations {
		for _, act := range actions {
			next, notices, err := transition(r, low, act)
			if err != nil || len(notices) == 0 {
				continue
			}
			_, _, again := transition(next, low, act)
			if again != nil && !isDone(next, low, act) {
				t.Errorf("%s, then %s: %+v does not count as done", name, act, next)
			}
		}
	}
}

func TestNobodyIsAPairWithOneself(t *testing.T) {
	t.Parallel()

	for _, act := range actions {
		want := fault.NotFound
		if act == actionRequest || act == actionBlock {
			want = fault.Invalid
		}
		if _, _, err := pairOf(minID, minID, act); !errors.Is(err, want) {
			t.Errorf("%s: %v", act, err)
		}
	}
	p, by, err := pairOf(maxID, minID, actionRequest)
	if p != (pair{minID, maxID}) || by != high || err != nil || p.user(by) != maxID || p.user(by.other()) != minID {
		t.Errorf("pair %v, side %d, %v", p, by, err)
	}
}
