package social

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/bell"
	"pymessage/services/social/socialapi"
)

// snapshot is all that a user can ask for about others: who they are, and of
// requests since when they wait.
type snapshot struct {
	Friends, Blocked   map[int]bool
	Incoming, Outgoing map[int]int64
}

func newSnapshot() snapshot {
	return snapshot{Friends: map[int]bool{}, Blocked: map[int]bool{}, Incoming: map[int]int64{}, Outgoing: map[int]int64{}}
}

// snapshot asks the service.
func (w *world) snapshot(user int) snapshot {
	w.t.Helper()
	s := newSnapshot()
	for _, friend := range w.friends(user) {
		s.Friends[friend] = true
	}
	for _, peer := range w.blocked(user) {
		s.Blocked[peer] = true
	}
	all, err := w.client.FriendsOf(w.t.Context(), []int{user, maxID})
	if err != nil || len(all[user]) != len(s.Friends) || len(all) > 1 {
		w.t.Errorf("friends of %d and of nobody: %v, %v", user, all, err)
	}
	for _, friend := range all[user] {
		if are, err := w.client.AreFriends(w.t.Context(), user, friend); err != nil || !are || !s.Friends[friend] {
			w.t.Errorf("%d and %d are friends in one answer and not in another: %v", user, friend, err)
		}
	}
	requests := w.requests(user)
	for _, r := range requests.Incoming {
		s.Incoming[r.User] = r.Since
	}
	for _, r := range requests.Outgoing {
		s.Outgoing[r.User] = r.Since
	}
	return s
}

func (w *world) requests(user int) socialapi.Requests {
	w.t.Helper()
	out, err := w.client.Requests(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) blocked(user int) []int {
	w.t.Helper()
	out, err := w.client.Blocked(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// follow is what a client makes of an event.
func (s snapshot) follow(ev bell.Event) {
	switch ev.Kind {
	case bell.KindFriendRequest:
		s.Incoming[ev.Peer] = ev.SentAt
	case bell.KindRequestSent:
		s.Outgoing[ev.Peer] = ev.SentAt
	case bell.KindFriendAdded:
		s.Friends[ev.Peer] = true
		delete(s.Incoming, ev.Peer)
		delete(s.Outgoing, ev.Peer)
	case bell.KindFriendRemoved:
		delete(s.Friends, ev.Peer)
	case bell.KindRequestClosed:
		delete(s.Incoming, ev.Peer)
		delete(s.Outgoing, ev.Peer)
	case bell.KindBlocked:
		s.Blocked[ev.Peer] = true
	case bell.KindUnblocked:
		delete(s.Blocked, ev.Peer)
	}
}

// checkSnapshot compares what a user is told with what the user's events say.
func (w *world) checkSnapshot(user int, inbox []bell.Event) {
	w.t.Helper()
	followed := newSnapshot()
	for _, ev := range inbox {
		followed.follow(ev)
	}
	if diff := cmp.Diff(followed, w.snapshot(user)); diff != "" {
		w.t.Errorf("what %d is told (-by events +by asking):\n%s", user, diff)
	}
}

func TestAskingAndFollowingTheEventsComeToTheSame(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	a, b := u[0], u[1]
	for _, step := range []struct {
		actor, user int
		act         action
	}{
		{a, b, actionRequest},
		{a, b, actionCancel},
		{a, b, actionRequest},
		{b, a, actionDeny},
		{a, b, actionRequest},
		{b, a, actionAccept},
		{b, a, actionRemove},
		{b, a, actionRequest},
		{a, b, actionRequest}, // crossed
		{a, b, actionBlock},
		{b, a, actionBlock},
		{a, b, actionUnblock},
		{b, a, actionUnblock},
		{b, a, actionRequest},
		{a, b, actionBlock},
	} {
		change, err := w.do(t.Context(), step.actor, step.user, step.act)
		if err != nil {
			t.Fatalf("%s of %d: %v", step.act, step.actor, err)
		}
		told := map[int][]bell.Event{}
		for _, r := range change.Rings {
			told[r.User] = append(told[r.User], r.Event)
		}
		for _, user := range u {
			inbox := w.inbox(user)
			w.checkSnapshot(user, inbox)
			if diff := cmp.Diff(told[user], inbox[len(inbox)-len(told[user]):]); len(told[user]) > 0 && diff != "" {
				t.Errorf("%s of %d rings (-answered +stored):\n%s", step.act, step.actor, diff)
			}
		}
	}
	if got := w.snapshot(b); !maps.Equal(got.Blocked, map[int]bool{}) || len(got.Outgoing) != 0 {
		t.Errorf("the blocked sees %+v", got)
	}
	if got := w.snapshot(a); !got.Blocked[b] {
		t.Errorf("who blocks sees %+v", got)
	}
}
