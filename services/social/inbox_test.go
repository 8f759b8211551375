package social

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

func (w *world) open(user int) socialapi.Opening {
	w.t.Helper()
	o, err := w.client.Open(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) setPositions(positions ...socialapi.UserSeq) {
	w.t.Helper()
	if err := w.client.SetPositions(w.t.Context(), socialapi.PositionsRequest{Positions: positions}); err != nil {
		w.t.Fatal(err)
	}
}

// fill puts n messages into the inbox of user.
func (w *world) fill(user, n int) {
	w.t.Helper()
	var batch []socialapi.Message
	for i := range n {
		batch = append(batch, message(user, user, fmt.Sprint(i+1)))
	}
	w.send(fmt.Sprint("fill ", user), 1, batch...)
}

func TestAUserWithoutEventsHasAnEmptyInbox(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	o := w.open(minID)
	want := socialapi.Opening{Epoch: o.Epoch, Head: 0, Oldest: 1, Position: 0, Waiting: []int{}}
	if diff := cmp.Diff(want, o); diff != "" || o.Epoch == "" {
		t.Errorf("epoch %q, opening (-want +got):\n%s", o.Epoch, diff)
	}
	if events := w.inbox(minID); len(events) != 0 {
		t.Errorf("events %v", events)
	}
}

func TestPagesAreGaplessAndStartAtTheOldestThatIsKept(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	user := w.users(1)[0]
	w.fill(user, 250)
	w.exec(`DELETE FROM events WHERE user_id = $1 AND seq <= 40`, user)
	w.exec(`UPDATE inboxes SET oldest = 41 WHERE user_id = $1`, user)
	for _, c := range []struct{ after, limit, first, last int64 }{
		{0, 10, 41, 50}, {40, 10, 41, 50}, {39, 1, 41, 41}, {41, 3, 42, 44},
		{245, 10, 246, 250}, {0, 1000, 41, 250}, {250, 10, 0, -1}, {9999, 10, 0, -1},
	} {
		page, err := w.client.Read(t.Context(), socialapi.ReadRequest{User: user, After: c.after, Limit: int(c.limit)})
		if err != nil {
			t.Fatal(err)
		}
		if page.Head != 250 || page.Oldest != 41 || len(page.Events) != int(c.last-c.first+1) {
			t.Errorf("after %d: %d events, head %d, oldest %d", c.after, len(page.Events), page.Head, page.Oldest)
		}
		for i, e := range page.Events {
			if e.Seq != c.first+int64(i) || e.Content != fmt.Sprint(e.Seq) {
				t.Errorf("after %d: event %d is %v", c.after, i, e)
			}
		}
	}
	if o := w.open(user); o.Oldest != 41 || o.Head != 250 {
		t.Errorf("opening %+v", o)
	}
}

func TestHeadsAreThoseOfTheInboxesThereAre(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	w.fill(u[0], 3)
	w.fill(u[1], 5)
	heads, err := w.client.Heads(t.Context(), []int{u[2], u[1], 1 << 40, u[0], -1})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]int64{}
	for _, h := range heads.Heads {
		got[h.User] = h.Seq
	}
	if diff := cmp.Diff(map[int]int64{u[0]: 3, u[1]: 5}, got); diff != "" || heads.Epoch != w.open(u[0]).Epoch {
		t.Errorf("epoch %q, heads (-want +got):\n%s", heads.Epoch, diff)
	}
	if none, err := w.client.Heads(t.Context(), nil); err != nil || len(none.Heads) != 0 || none.Epoch != heads.Epoch {
		t.Errorf("nobody's heads: %v %v", none, err)
	}
}

// Positions set by many at once, in any order, also of unknown users and beyond
// the head, come to the furthest that was set, or to the head.
func TestPositionsOnlyMoveForwardAndNotBeyondTheHead(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(5)
	const head = 20
	for _, user := range u[:4] {
		w.fill(user, head)
	}
	random := rand.New(rand.NewPCG(1, 2))
	want := map[int]int64{}
	for round := range 15 {
		var group errgroup.Group
		for range 4 {
			positions := randomPositions(random, u, int64(2*round))
			for _, p := range positions {
				if p.User != u[4] {
					want[p.User] = min(max(want[p.User], p.Seq), head)
				}
			}
			group.Go(func() error {
				return w.client.SetPositions(t.Context(), socialapi.PositionsRequest{Positions: positions})
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, user := range u {
			if got := w.open(user).Position; got != want[user] {
				t.Fatalf("round %d: position of %d is %d, want %d", round, user, got, want[user])
			}
		}
	}
	if want[u[0]] != head {
		t.Error("no position came as far as the head") // the test would prove nothing
	}
}

// randomPositions are up to 10 positions, several of one user among them.
func randomPositions(random *rand.Rand, users []int, furthest int64) (out []socialapi.UserSeq) {
	for range random.IntN(10) + 1 {
		out = append(out, socialapi.UserSeq{User: users[random.IntN(len(users))], Seq: random.Int64N(furthest+2) - 1})
	}
	return out
}

func TestWaitingAreTheRequestsThatWereDeliveredAndNotAnswered(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(5)
	me := u[2] // two have lower ids, two have higher ones
	for _, from := range []int{u[4], u[0], u[3], u[1]} {
		if _, err := w.client.Request(t.Context(), from, me); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what    string
		do      func()
		waiting []int
	}{
		{"none delivered", func() {}, []int{}},
		{"one delivered", func() { w.setPositions(socialapi.UserSeq{User: me, Seq: 1}) }, []int{u[4]}},
		{"all delivered", func() { w.setPositions(socialapi.UserSeq{User: me, Seq: 4}) }, []int{u[4], u[0], u[3], u[1]}},
		{"one accepted", func() { _, _ = w.client.Accept(t.Context(), me, u[0]) }, []int{u[4], u[3], u[1]}},
		{"one denied", func() { _, _ = w.client.Deny(t.Context(), me, u[4]) }, []int{u[3], u[1]}},
		{"one crossed", func() { _, _ = w.client.Request(t.Context(), me, u[1]) }, []int{u[3]}},
		{"the denied one again, not delivered", func() { _, _ = w.client.Request(t.Context(), u[4], me) }, []int{u[3]}},
		{"that delivered", func() { w.setPositions(socialapi.UserSeq{User: me, Seq: 8}) }, []int{u[3], u[4]}},
	} {
		step.do()
		if diff := cmp.Diff(step.waiting, w.open(me).Waiting); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
	}
	if got := w.open(u[3]).Waiting; len(got) != 0 {
		t.Errorf("who asked has waiting requests: %v", got)
	}
}

func TestOperatorsGiveTheLogANewEpoch(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	before := w.open(minID).Epoch
	if err := NewEpoch(t.Context(), string(w.cfg.DatabaseURL), testenv.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if after := w.open(minID).Epoch; after == before || after == "" {
		t.Errorf("epoch %q after %q", after, before)
	}
}

func TestEveryAnswerHasTheEpochOfNow(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	plain := []socialapi.Message{message(u[0], u[1], "hi")}
	nonces := []socialapi.Message{withNonce(u[0], u[1], "hi", "n"), withNonce(u[0], u[1], "hi", "n")}
	w.send("plain", 1, plain...)
	w.send("nonces", 1, nonces...)
	before := w.open(u[0]).Epoch
	epoch, err := w.srv.store.newEpoch(t.Context())
	if err != nil || epoch == before || epoch == "" {
		t.Fatalf("epoch %q after %q, %v", epoch, before, err)
	}
	for what, ask := range map[string]func() (string, error){
		"a new batch":                   func() (string, error) { return w.send("new", 1, plain...).Epoch, nil },
		"a kept result":                 func() (string, error) { return w.send("plain", 1, plain...).Epoch, nil },
		"a kept result of nonces":       func() (string, error) { return w.send("nonces", 1, nonces...).Epoch, nil },
		"a repeated nonce":              func() (string, error) { return w.send("new nonces", 1, nonces...).Epoch, nil },
		"an opening":                    func() (string, error) { return w.open(u[1]).Epoch, nil },
		"the opening of an empty inbox": func() (string, error) { return w.open(minID).Epoch, nil },
		"a page": func() (string, error) {
			page, err := w.client.Read(t.Context(), socialapi.ReadRequest{User: u[1], Limit: 1})
			return page.Epoch, err
		},
		"heads": func() (string, error) {
			heads, err := w.client.Heads(t.Context(), u)
			return heads.Epoch, err
		},
		"a change": func() (string, error) {
			change, err := w.client.Request(t.Context(), u[0], u[2])
			return change.Epoch, err
		},
		"a change of nothing": func() (string, error) {
			change, err := w.client.Request(t.Context(), u[0], u[2])
			return change.Epoch, err
		},
	} {
		if got, err := ask(); err != nil || got != epoch {
			t.Errorf("%s: epoch %q instead of %q, %v", what, got, epoch, err)
		}
	}
}

func TestPositionsOfAnotherEpochAreIgnored(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	user := w.users(1)[0]
	w.fill(user, 9)
	before := w.open(user).Epoch
	epoch, err := w.srv.store.newEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		epoch string
		want  int64
	}{{before, 0}, {epoch, 2}, {before, 2}, {"", 4}, {"none", 4}} {
		r := socialapi.PositionsRequest{Epoch: c.epoch, Positions: []socialapi.UserSeq{{User: user, Seq: int64(i + 1)}}}
		if err := w.client.SetPositions(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := w.open(user).Position; got != c.want {
			t.Errorf("position %d of epoch %q: %d is stored", i+1, c.epoch, got)
		}
	}
}
