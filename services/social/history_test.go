package social

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

// page asks for history that must be there.
func (w *world) page(r socialapi.HistoryRequest) socialapi.History {
	w.t.Helper()
	page, err := w.client.History(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

// history is a whole conversation as user sees it, read in pages of limit.
func (w *world) history(user, peer, limit int) (all []socialapi.HistoryMessage) {
	w.t.Helper()
	r := socialapi.HistoryRequest{User: user, Peer: peer, Limit: limit}
	for {
		page := w.page(r)
		if page.More && len(page.Messages) != limit || len(page.Messages) > limit {
			w.t.Fatalf("a page of %d has %d messages and more: %v", limit, len(page.Messages), page.More)
		}
		all = append(slices.Clone(page.Messages), all...)
		if !page.More {
			return all
		}
		r.BeforeUser, r.BeforeSeq = page.Messages[0].Recipient, page.Messages[0].Seq
	}
}

func contentsOf(messages []socialapi.HistoryMessage) (out []string) {
	for _, m := range messages {
		out = append(out, m.Content)
	}
	return out
}

// conversation lets several users write to each other in batches, and gives what each
// two of them said, in order.
func (w *world) conversation(users []int, batches int) map[[2]int][]string {
	w.t.Helper()
	random := rand.New(rand.NewPCG(8, 1))
	said := map[[2]int][]string{}
	for number := range batches {
		var batch []socialapi.Message
		byRecipient := map[int][][2]string{} // within a batch those to one recipient come together, lower ids first
		for i := range random.IntN(10) + 1 {
			from, to := users[random.IntN(len(users))], users[random.IntN(len(users))]
			m := message(from, to, fmt.Sprintf("%d.%d", number, i))
			batch = append(batch, m)
			byRecipient[to] = append(byRecipient[to], [2]string{fmt.Sprint(from), m.Content})
		}
		for _, to := range slices.Sorted(slices.Values(users)) {
			for _, m := range byRecipient[to] {
				var from int
				_, _ = fmt.Sscan(m[0], &from)
				key := [2]int{min(from, to), max(from, to)}
				said[key] = append(said[key], m[1])
			}
		}
		w.send("lane", int64(number+1), batch...)
	}
	return said
}

func TestHistoryIsWhatBothSaidHoweverItIsPaged(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	said := w.conversation(u, 40)
	for _, a := range u {
		for _, b := range u {
			for _, limit := range []int{1, 7, 200} {
				got := w.history(a, b, limit)
				if diff := cmp.Diff(said[[2]int{min(a, b), max(a, b)}], contentsOf(got)); diff != "" {
					t.Errorf("%d asks about %d in pages of %d (-said +got):\n%s", a, b, limit, diff)
				}
			}
		}
	}
}

func TestHistoryKnowsWhatWasStoredAMomentAgo(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	for i := range 5 {
		w.send("lane", int64(i+1), message(u[0], u[1], fmt.Sprint(i)))
		if got := w.history(u[i%2], u[1-i%2], 200); len(got) != i+1 || got[i].Content != fmt.Sprint(i) {
			t.Fatalf("after %d messages: %v", i+1, got)
		}
	}
}

func TestHistoryIsFilledInChunksByManyAtOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	for i := range 10 {
		var batch []socialapi.Message
		for j := range 100 {
			batch = append(batch, message(u[0], u[1], fmt.Sprint(i, j)))
		}
		w.send("lane", int64(i+1), batch...)
	}
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			for {
				if done, err := w.srv.store.fillHistory(t.Context(), u[1], 30); err != nil || done {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := w.value(`SELECT count(*) FROM history`); n != 1000 {
		t.Errorf("%d of 1000 messages are in the history", n)
	}
	if got := w.history(u[0], u[1], 200); len(got) != 1000 {
		t.Errorf("%d of 1000 messages are shown", len(got))
	}
}

func TestWhatIsPrunedOrATombstoneIsNotInTheHistory(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.send("lane", 1, message(u[0], u[1], "old"), message(u[0], u[1], "deleted"), message(u[0], u[1], "new"))
	w.history(u[0], u[1], 10) // filled before
	w.exec(`DELETE FROM events WHERE user_id = $1 AND seq = 1`, u[1])
	w.exec(`UPDATE inboxes SET oldest = 2 WHERE user_id = $1`, u[1])
	w.exec(`UPDATE events SET kind = $2, content = '', peer = 0 WHERE user_id = $1 AND seq = 2`, u[1], kindNumber(bell.KindTombstone))
	if got := contentsOf(w.history(u[0], u[1], 1)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %v", got)
	}
	w.exec(`TRUNCATE history, history_filled`)
	if got := contentsOf(w.history(u[1], u[0], 1)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("filled anew: %v", got)
	}
}

func TestAPageEndsOnlyBeforeAnEventThatOneMayKnow(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	me, peer, other := u[0], u[1], u[2]
	w.send("lane", 1, message(me, peer, "1"))
	w.send("lane", 2, message(other, peer, "secret"), message(other, me, "2"))
	ask := func(user int, seq int64) error {
		_, err := w.client.History(t.Context(), socialapi.HistoryRequest{User: me, Peer: peer, BeforeUser: user, BeforeSeq: seq, Limit: 1})
		return err
	}
	for _, allowed := range []struct {
		user int
		seq  int64
	}{{peer, 1}, {me, 1}} {
		if err := ask(allowed.user, allowed.seq); err != nil {
			t.Errorf("before %v: %v", allowed, err)
		}
	}
	for _, hidden := range []struct {
		user int
		seq  int64
	}{{peer, 2}, {peer, 3}, {me, 2}, {other, 1}} {
		if err := ask(hidden.user, hidden.seq); !errors.Is(err, fault.NotFound) {
			t.Errorf("before %v: %v", hidden, err)
		}
	}
}

func TestStatesAreThoseOfTheRecipient(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	me, peer := u[0], u[1]
	w.send("lane", 1, message(me, peer, "read"))
	w.send("lane", 2, message(me, peer, "delivered"))
	w.send("lane", 3, message(me, peer, "stored"))
	w.send("lane", 4, message(peer, me, "theirs"))
	mark := func(seq int64, moved bool, at int64) {
		t.Helper()
		got, err := w.client.MarkRead(t.Context(), socialapi.ReadMark{Reader: peer, Peer: me, Seq: seq})
		if want := (socialapi.Marked{Seq: at, Moved: moved, Tell: true}); err != nil || got != want {
			t.Errorf("read up to %d: %+v, %v", seq, got, err)
		}
	}
	mark(1, true, 1)
	w.setPositions(socialapi.UserSeq{User: peer, Seq: 2})
	var states []socialapi.State
	for _, m := range w.history(me, peer, 10) {
		states = append(states, m.State)
	}
	if want := []socialapi.State{socialapi.StateRead, socialapi.StateDelivered, socialapi.StateStored, socialapi.StateStored}; !slices.Equal(states, want) {
		t.Errorf("states %v", states)
	}
	mark(3, true, 3)
	mark(2, false, 3) // never back
	for name, bad := range map[string]socialapi.ReadMark{
		"beyond the head":   {Reader: peer, Peer: me, Seq: 4},
		"of who wrote none": {Reader: peer, Peer: maxID, Seq: 1},
	} {
		if _, err := w.client.MarkRead(t.Context(), bad); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.client.Block(t.Context(), peer, me); err != nil {
		t.Fatal(err)
	}
	if got, err := w.client.MarkRead(t.Context(), socialapi.ReadMark{Reader: peer, Peer: me, Seq: 4}); err != nil || got.Tell || !got.Moved {
		t.Errorf("of who is blocked: %+v, %v", got, err)
	}
}

func TestContactsAreWhoWroteToWhomAndOnlyThey(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(4)
	if _, err := w.client.Block(t.Context(), u[2], u[0]); err != nil {
		t.Fatal(err)
	}
	batch := []socialapi.Message{
		message(u[0], u[1], "hi"), message(u[0], u[1], "ho"), message(u[0], u[2], "blocked"), message(u[1], maxID, "nobody"),
		withNonce(u[0], u[3], "hi", "n"),
	}
	w.send("lane", 1, batch...)
	w.checkContacts()
	w.send("lane", 2, batch...)
	w.checkContacts()
	w.start() // another pod, which remembers nothing
	w.send("other", 1, append(batch, message(u[3], u[0], "new"), withNonce(u[0], u[1], "other", "n"))...)
	w.checkContacts()
	if n := w.value(`SELECT count(*) FROM contacts`); n != 3 {
		t.Errorf("%d contacts", n)
	}
}

// checkContacts compares the contacts with the messages that are stored.
func (w *world) checkContacts() {
	w.t.Helper()
	wrong := w.value(`
		SELECT count(*)
		FROM (SELECT sender, recipient FROM contacts) AS c
		FULL JOIN (SELECT DISTINCT peer AS sender, user_id AS recipient FROM events WHERE kind = 1) AS e USING (sender, recipient)
		WHERE c IS NULL OR e IS NULL`)
	if wrong != 0 {
		w.t.Errorf("%d contacts are wrong or missing", wrong)
	}
}
