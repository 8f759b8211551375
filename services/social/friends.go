package social

import (
	"fmt"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
)

// state is the friendship between the two users of a pair, of whom the one with the
// lower id is low. The store keeps these numbers.
type state int16

const (
	stateNone      state = 0
	stateLowAsked  state = 1
	stateHighAsked state = 2
	stateFriends   state = 3
)

// side is one of the two users of a pair.
type side int

const (
	low side = iota
	high
)

func (s side) other() side { return 1 - s }

// asked is the state in which s waits for the other's answer.
func asked(s side) state {
	if s == low {
		return stateLowAsked
	}
	return stateHighAsked
}

// relation is all that is between the two users of a pair.
type relation struct {
	state  state
	blocks [2]bool // by side: it blocks the other; then the state is stateNone
}

// action is what a user does about another.
type action string

const (
	actionRequest action = "request"
	actionAccept  action = "accept"
	actionDeny    action = "deny"
	actionCancel  action = "cancel"
	actionRemove  action = "remove"
	actionBlock   action = "block"
	actionUnblock action = "unblock"
)

// actions are all of them.
var actions = []action{actionRequest, actionAccept, actionDeny, actionCancel, actionRemove, actionBlock, actionUnblock}

// notice is an event that an action puts into the inbox of one side, about the
// other.
type notice struct {
	to   side
	kind bell.Kind
}

// both is a notice to each side.
func both(kind bell.Kind) []notice { return []notice{{low, kind}, {high, kind}} }

// errBlocked is the fault of asking where there is a block. It says what is said of
// users who do not exist.
var errBlocked = fault.New(fault.NotFound, "blocked")

// transition is all there is to know about friendship and blocks: what comes of the
// side by doing act while r is between the two. Whoever follows the notices knows
// what is between them. A fault changes nothing.
func transition(r relation, by side, act action) (relation, []notice, error) {
	switch act {
	case actionRequest:
		return request(r, by)
	case actionAccept, actionDeny:
		if r.state != asked(by.other()) {
			return r, nil, fault.New(fault.NotFound, "no friend request from this user")
		}
		if act == actionAccept {
			return relation{state: stateFriends}, both(bell.KindFriendAdded), nil
		}
		return relation{}, both(bell.KindRequestClosed), nil
	case actionCancel:
		if r.state != asked(by) {
			return r, nil, fault.New(fault.NotFound, "no friend request to this user")
		}
		return relation{}, both(bell.KindRequestClosed), nil
	case actionRemove:
		if r.state != stateFriends {
			return r, nil, fault.New(fault.NotFound, "this user is not a friend")
		}
		return relation{}, both(bell.KindFriendRemoved), nil
	case actionBlock:
		return block(r, by)
	case actionUnblock:
		if !r.blocks[by] {
			return r, nil, fault.New(fault.NotFound, "this user is not blocked")
		}
		r.blocks[by] = false
		return r, []notice{{by, bell.KindUnblocked}}, nil
	}
	return r, nil, fmt.Errorf("no transition for action %q", act)
}

func request(r relation, by side) (relation, []notice, error) {
	switch {
	case r.blocks[by] || r.blocks[by.other()]: // neither may ask the other
		return r, nil, errBlocked
	case r.state == stateFriends:
		return r, nil, fault.New(fault.Conflict, "already friends")
	case r.state == asked(by): // doubled: still the one request
		return r, nil, nil
	case r.state == asked(by.other()): // crossed: both want it
		return relation{state: stateFriends}, both(bell.KindFriendAdded), nil
	}
	return relation{state: asked(by)}, []notice{{by.other(), bell.KindFriendRequest}, {by, bell.KindRequestSent}}, nil
}

// block ends what there was. The blocked learns of that, and of nothing else.
func block(r relation, by side) (relation, []notice, error) {
	if r.blocks[by] {
		return r, nil, nil
	}
	var notices []notice
	switch r.state {
	case stateFriends:
		notices = both(bell.KindFriendRemoved)
	case stateLowAsked, stateHighAsked:
		notices = both(bell.KindRequestClosed)
	}
	r.state, r.blocks[by] = stateNone, true
	return r, append(notices, notice{by, bell.KindBlocked}), nil
}

// isDone says whether r is what act of by leads to: then an act whose answer was lost
// has succeeded.
func isDone(r relation, by side, act action) bool {
	switch act {
	case actionRequest, actionAccept:
		return r.state == stateFriends
	case actionDeny, actionCancel, actionRemove:
		return r.state == stateNone
	case actionUnblock:
		return !r.blocks[by]
	}
	return false
}

// pair is two different users, as they stand in the store.
type pair struct{ low, high int }

// pairOf is the pair of two users, and the side that the first is on. Nobody is a
// pair with oneself: such a request can never succeed, and there is nothing to
// answer.
func pairOf(actor, user int, act action) (pair, side, error) {
	switch {
	case actor < user:
		return pair{actor, user}, low, nil
	case actor > user:
		return pair{user, actor}, high, nil
	case act == actionRequest || act == actionBlock:
		return pair{}, low, fault.New(fault.Invalid, "nobody can %s themselves", act)
	}
	_, _, err := transition(relation{}, low, act)
	return pair{}, low, err
}

// user is the id of the user on side s.
func (p pair) user(s side) int {
	if s == low {
		return p.low
	}
	return p.high
}
