package social

import (
	"fmt"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
)

// state is what is between the two users of a pair, of whom the one with the
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

// action is what a user does about another.
type action string

const (
	actionRequest action = "request"
	actionAccept  action = "accept"
	actionDeny    action = "deny"
)

// notice is an event that an action puts into the inbox of one side, caused by
// the other.
type notice struct {
	to   side
	kind bell.Kind
}

// transition is all there is to know about friendship: what comes of the side by
// doing act while s is between the two. Notices are in the order of the sides,
// which is the order in which inboxes are locked. A fault changes nothing.
func transition(s state, by side, act action) (state, []notice, error) {
	mine, theirs := asked(by), asked(by.other())
	switch act {
	case actionRequest:
		switch s {
		case stateNone:
			return mine, []notice{{by.other(), bell.KindFriendRequest}}, nil
		case mine: // doubled: still the one request
			return mine, nil, nil
		case theirs: // crossed: both want it
			return stateFriends, nil, nil
		case stateFriends:
			return s, nil, fault.New(fault.Conflict, "already friends")
		}
	case actionAccept, actionDeny:
		switch {
		case s != theirs:
			return s, nil, fault.New(fault.NotFound, "no friend request from this user")
		case act == actionAccept:
			return stateFriends, nil, nil
		default:
			return stateNone, nil, nil
		}
	}
	return s, nil, fmt.Errorf("no transition for action %q in state %d", act, s)
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
	case act == actionRequest:
		return pair{}, low, fault.New(fault.Invalid, "nobody can be their own friend")
	}
	return pair{}, low, fault.New(fault.NotFound, "no friend request from this user")
}

// user is the id of the user on side s.
func (p pair) user(s side) int {
	if s == low {
		return p.low
	}
	return p.high
}
