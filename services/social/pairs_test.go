package social

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

func (w *world) friends(user int) []int {
	w.t.Helper()
	friends, err := w.client.Friends(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return friends
}

func TestARequestIsAnEventOnceAndAFriendshipForBoth(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	bob, alice := u[0], u[1]
	first, err := w.client.Request(t.Context(), alice, bob)
	if err != nil {
		t.Fatal(err)
	}
	event := bell.Event{Seq: 1, Kind: bell.KindFriendRequest, Peer: alice, SentAt: first.Rings[0].Event.SentAt}
	sent := bell.Event{Seq: 1, Kind: bell.KindRequestSent, Peer: bob, SentAt: event.SentAt}
	want := socialapi.Change{Epoch: w.open(bob).Epoch, Rings: []socialapi.Ring{{User: bob, Event: event}, {User: alice, Event: sent}}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("change (-want +got):\n%s", diff)
	}
	if doubled, err := w.client.Request(t.Context(), alice, bob); err != nil || len(doubled.Rings) != 0 {
		t.Errorf("doubled: %v %v", doubled, err)
	}
	if diff := cmp.Diff([]bell.Event{event}, w.inbox(bob)); diff != "" {
		t.Errorf("inbox (-want +got):\n%s", diff)
	}
	if _, err := w.client.Accept(t.Context(), alice, bob); !errors.Is(err, fault.NotFound) {
		t.Errorf("accepting one's own request: %v", err)
	}
	if _, err := w.client.Accept(t.Context(), bob, alice); err != nil {
		t.Error(err)
	}
	if !slices.Equal(w.friends(bob), []int{alice}) || !slices.Equal(w.friends(alice), []int{bob}) {
		t.Errorf("friends of bob %v, of alice %v", w.friends(bob), w.friends(alice))
	}
	if _, err := w.client.Request(t.Context(), alice, bob); !errors.Is(err, fault.Conflict) {
		t.Errorf("asking a friend: %v", err)
	}
}

func TestADeniedRequestMayBeSentAgainAndIsANewEvent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	for round := range 3 {
		if _, err := w.client.Request(t.Context(), u[0], u[1]); err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.Deny(t.Context(), u[1], u[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.Deny(t.Context(), u[1], u[0]); !errors.Is(err, fault.NotFound) {
			t.Errorf("denied twice: %v", err)
		}
		if got := len(w.inbox(u[1])); got != 2*(round+1) { // asked and closed
			t.Errorf("round %d: %d events", round, got)
		}
	}
	if len(w.friends(u[0])) != 0 {
		t.Error("denying made friends")
	}
}

func TestRequestsThatCrossMakeFriends(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	for range 10 {
		u := w.users(2)
		var group errgroup.Group
		group.Go(func() error { _, err := w.client.Request(t.Context(), u[0], u[1]); return err })
		group.Go(func() error { _, err := w.client.Request(t.Context(), u[1], u[0]); return err })
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.friends(u[0]), u[1:]) || !slices.Equal(w.friends(u[1]), u[:1]) {
			t.Errorf("friends %v and %v", w.friends(u[0]), w.friends(u[1]))
		}
		for _, user := range u {
			inbox := w.inbox(user)
			w.checkSnapshot(user, inbox)
			if len(inbox) != 2 || inbox[1].Kind != bell.KindFriendAdded {
				t.Errorf("events of one request that was answered by another: %v", inbox)
			}
		}
	}
}

func TestARequestIsAnsweredOnceHoweverManyAnswersComeAtOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	for range 20 {
		if _, err := w.client.Request(t.Context(), u[0], u[1]); err != nil {
			t.Fatal(err)
		}
		var answered atomic.Int64
		var group errgroup.Group
		for range 4 {
			group.Go(func() error {
				_, err := w.client.Deny(t.Context(), u[1], u[0])
				if err == nil {
					answered.Add(1)
				}
				if errors.Is(err, fault.NotFound) {
					return nil
				}
				return err
			})
		}
		if err := group.Wait(); err != nil || answered.Load() != 1 {
			t.Fatalf("answered %d times, %v", answered.Load(), err)
		}
	}
}

func TestFriendsAreInTheOrderOfBecomingFriends(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(6)
	me, others := u[3], []int{u[5], u[0], u[4], u[2], u[1]}
	for _, other := range u {
		if other != me {
			if _, err := w.client.Request(t.Context(), other, me); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, other := range others {
		if _, err := w.client.Accept(t.Context(), me, other); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(others, w.friends(me)); diff != "" {
		t.Errorf("friends (-want +got):\n%s", diff)
	}
}

func TestNoMoreThanTheMostRequestsWaitForOneUser(t *testing.T) {
	t.Parallel()

	const most = 5
	w := newWorld(t, func(c *Config) { c.MaxPendingRequests = most })
	u := w.users(21)
	me, others := u[10], slices.Delete(slices.Clone(u), 10, 11)
	var accepted, refusals atomic.Int64
	var group errgroup.Group
	for _, other := range others {
		group.Go(func() error {
			_, err := w.client.Request(t.Context(), other, me)
			switch {
			case err == nil:
				accepted.Add(1)
			case errors.Is(err, fault.TooMany):
				refusals.Add(1)
			default:
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if accepted.Load() != most || refusals.Load() != int64(len(others)-most) || len(w.inbox(me)) != most {
		t.Errorf("%d requests, %d refusals, %d events", accepted.Load(), refusals.Load(), len(w.inbox(me)))
	}
	if n := w.value(`SELECT count(*) FROM pairs`); n != most {
		t.Errorf("%d pairs are left of %d requests", n, most)
	}
	asked := w.inbox(me)[0].Peer
	if _, err := w.client.Request(t.Context(), asked, me); err != nil {
		t.Errorf("doubling one that waits: %v", err)
	}
	if _, err := w.client.Deny(t.Context(), me, asked); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Request(t.Context(), asked, me); err != nil {
		t.Errorf("after one was answered: %v", err)
	}
}

// tally counts the events that the answers told of.
type tally struct{ events atomic.Int64 }

func TestFriendshipIsNeverHalfWhoeverDoesWhatAtOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(4)
	var sum tally
	var group errgroup.Group
	for worker := range 8 {
		random := rand.New(rand.NewPCG(3, uint64(worker)))
		group.Go(func() error {
			for range 60 {
				actor, user := twoOf(random, u)
				if err := w.act(t.Context(), &sum, actor, user, actions[random.IntN(len(actions))]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.checkFriendships(u, &sum)
	if sum.events.Load() < 6 {
		t.Errorf("only %d requests came through", sum.events.Load()) // the test would prove little
	}
}

func twoOf(random *rand.Rand, users []int) (int, int) {
	i := random.IntN(len(users))
	j := (i + 1 + random.IntN(len(users)-1)) % len(users)
	return users[i], users[j]
}

// do has actor do something about user.
func (w *world) do(ctx context.Context, actor, user int, act action) (socialapi.Change, error) {
	return map[action]func(context.Context, int, int) (socialapi.Change, error){
		actionRequest: w.client.Request, actionAccept: w.client.Accept, actionDeny: w.client.Deny, actionCancel: w.client.Cancel,
		actionRemove: w.client.Remove, actionBlock: w.client.Block, actionUnblock: w.client.Unblock,
	}[act](ctx, actor, user)
}

// act does one thing; only the faults that it may have are none.
func (w *world) act(ctx context.Context, sum *tally, actor, user int, act action) error {
	change, err := w.do(ctx, actor, user, act)
	sum.events.Add(int64(len(change.Rings)))
	for _, r := range change.Rings {
		if r.User+r.Event.Peer != actor+user || r.User != actor && r.User != user {
			return fmt.Errorf("%s of %d about %d rings %v", act, actor, user, r)
		}
	}
	if err != nil && !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Conflict) {
		return err
	}
	return nil
}

// checkFriendships compares the lists, the rows and the inboxes of users.
func (w *world) checkFriendships(users []int, sum *tally) {
	w.t.Helper()
	events := 0
	for _, a := range users {
		inbox := w.inbox(a)
		w.checkSnapshot(a, inbox)
		changes := slices.DeleteFunc(slices.Clone(inbox), func(e bell.Event) bool { return e.Kind == bell.KindMessage })
		events += len(changes)
		w.setPositions(socialapi.UserSeq{User: a, Seq: int64(len(inbox))})
		waiting := w.open(a).Waiting
		mine := w.snapshot(a)
		for _, b := range users {
			if a == b {
				continue
			}
			theirs := w.snapshot(b)
			if mine.Friends[b] != theirs.Friends[a] || mine.Incoming[b] != theirs.Outgoing[a] {
				w.t.Errorf("half a friendship or request of %d and %d", a, b)
			}
			if between := mine.Friends[b] || mine.Incoming[b] > 0; between && (mine.Blocked[b] || theirs.Blocked[a] || mine.Friends[b] && mine.Incoming[b] > 0) {
				w.t.Errorf("%d has %+v, %d has %+v", a, mine, b, theirs)
			}
			if asks := w.requestSeq(a, b); slices.Contains(waiting, b) != (asks > 0) || asks > 0 && asks != newestOf(changes, b) {
				w.t.Errorf("the request of %d to %d has seq %d; its newest event has %d", b, a, asks, newestOf(changes, b))
			}
		}
	}
	if events != int(sum.events.Load()) {
		w.t.Errorf("%d events in the inboxes, %d were told of", events, sum.events.Load())
	}
}

// newestOf is the seq of the newest event about peer, 0 if there is none.
func newestOf(events []bell.Event, peer int) (seq int64) {
	for _, e := range events {
		if e.Peer == peer {
			seq = e.Seq
		}
	}
	return seq
}

// requestSeq is the seq of the request of from that waits for the answer of user.
func (w *world) requestSeq(user, from int) int64 {
	w.t.Helper()
	return w.value(`SELECT coalesce(max(request_seq), 0) FROM pairs
		WHERE low = $1 AND high = $2 AND state = CASE WHEN $1 = $3::integer THEN 2 ELSE 1 END`,
		min(user, from), max(user, from), user)
}

func TestAChangeWhoseAnswerIsLostHasSucceededAllTheSame(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	var lose atomic.Bool
	w.client = w.serve(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		if lose.CompareAndSwap(true, false) {
			w.handler.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		w.handler.ServeHTTP(answer, r)
	}))
	u := w.users(2)
	a, b := u[0], u[1]
	for _, step := range []struct {
		actor, user int
		act         action
	}{
		{a, b, actionRequest}, {b, a, actionAccept}, {a, b, actionRemove}, {a, b, actionRequest}, {a, b, actionCancel},
		{a, b, actionRequest}, {b, a, actionDeny}, {a, b, actionBlock}, {a, b, actionUnblock}, {a, b, actionRequest}, {b, a, actionRequest},
	} {
		lose.Store(true)
		if _, err := w.do(t.Context(), step.actor, step.user, step.act); err != nil || lose.Load() {
			t.Errorf("%s of %d: %v", step.act, step.actor, err)
		}
	}
	if _, err := w.do(t.Context(), a, b, actionDeny); !errors.Is(err, fault.NotFound) {
		t.Errorf("what was not asked before: %v", err)
	}
	if !w.snapshot(a).Friends[b] || !w.snapshot(b).Friends[a] {
		t.Error("they are no friends")
	}
}
