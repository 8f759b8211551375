package social

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

func TestARequestWhoseEventIsPrunedStillWaits(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	me := u[1]
	w.must(u[0], me, actionRequest)
	w.must(u[2], me, actionRequest)
	w.setPositions(socialapi.UserSeq{User: me, Seq: 2})
	w.grow(me, 2)
	if n := w.prune(); n != 2 {
		t.Fatalf("%d were pruned", n)
	}
	for range 2 { // at each login
		if diff := cmp.Diff([]int{u[0], u[2]}, w.open(me).Waiting); diff != "" {
			t.Errorf("waiting (-want +got):\n%s", diff)
		}
	}
	w.must(me, u[2], actionAccept)
	w.must(me, u[0], actionDeny)
	if got := w.open(me).Waiting; len(got) != 0 || !slices.Equal(w.friends(me), []int{u[2]}) {
		t.Errorf("waiting %v, friends %v", got, w.friends(me))
	}
}

// talk lets two users write to each other in turns, and gives what was said.
func (w *world) talk(a, b, messages int) (said []string) {
	w.t.Helper()
	for i := range messages {
		said = append(said, fmt.Sprint("said ", i))
		w.send("talk", int64(i+1), message([]int{a, b}[i%2], []int{b, a}[i%2], said[i]))
	}
	return said
}

func TestBothSidesOfAConversationLoseTheSame(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	said := w.talk(u[0], u[1], 10)
	w.history(u[0], u[1], 3) // filled
	w.send("other", 1, message(u[0], u[1], "new"))
	w.setPositions(socialapi.UserSeq{User: u[1], Seq: 5}, socialapi.UserSeq{User: u[0], Seq: 2})
	w.grow(u[1], 3)
	w.grow(u[0], 3)
	if n := w.prune(); n != 3+2 {
		t.Fatalf("%d were pruned", n)
	}
	want := append(slices.Clone(said[5:]), "new") // 0, 2 and 4 went to one side, 1 and 3 to the other
	for _, refill := range []bool{false, true} {
		if refill {
			w.exec(`TRUNCATE history, history_filled`)
		}
		for i, user := range u {
			got := contentsOf(w.history(user, u[1-i], 2))
			if !slices.Equal(sorted(got), sorted(want)) {
				t.Errorf("refilled %v: %d is told %q, want %q", refill, user, got, want)
			}
		}
		if n := w.value(`SELECT count(*) FROM history h LEFT JOIN events e USING (user_id, seq) WHERE e IS NULL`); n != 0 {
			t.Errorf("refilled %v: history knows %d events that are no more", refill, n)
		}
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func TestAPageBeforeWhatWasPrunedHidesNothingThatIsKept(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	me, peer, other := u[0], u[1], u[2]
	w.send("lane", 1, message(me, peer, "to peer, never delivered"))
	w.send("lane", 2, message(peer, me, "old 1"), message(peer, me, "old 2"))
	w.send("lane", 3, message(peer, me, "young"))
	w.send("lane", 4, message(me, peer, "newest"), message(me, other, "else"))
	w.setPositions(socialapi.UserSeq{User: me, Seq: 3}, socialapi.UserSeq{User: other, Seq: 1})
	w.grow(me, 2)
	w.grow(peer, 1)
	w.grow(other, 1)
	ask := func(user, of, before int, seq int64) ([]string, error) {
		page, err := w.client.History(t.Context(), socialapi.HistoryRequest{User: user, Peer: of, BeforeUser: before, BeforeSeq: seq, Limit: 9})
		return contentsOf(page.Messages), err
	}
	want := []string{"to peer, never delivered"}
	for _, pruned := range []bool{false, true} {
		if pruned {
			if n := w.prune(); n != 3 {
				t.Fatalf("%d were pruned", n)
			}
		}
		for _, side := range [][2]int{{me, peer}, {peer, me}} {
			if got, err := ask(side[0], side[1], me, 1); err != nil || !slices.Equal(got, want) {
				t.Errorf("pruned %v: %d asks for what came before: %q, %v", pruned, side[0], got, err)
			}
		}
	}
	if got, err := ask(me, other, other, 1); err != nil || len(got) != 0 {
		t.Errorf("of a conversation of which nothing is kept: %q, %v", got, err)
	}
	w.send("lane", 5, message(other, me, "again"))
	if got, err := ask(me, other, other, 1); err != nil || !slices.Equal(got, []string{"again"}) {
		t.Errorf("of an inbox of which nothing is kept: %q, %v", got, err)
	}
	if _, err := ask(peer, other, other, 1); !errors.Is(err, fault.NotFound) {
		t.Errorf("of an inbox in which one has never written: %v", err)
	}
	if _, err := ask(me, other, other, 9); !errors.Is(err, fault.NotFound) {
		t.Errorf("of an event that never was: %v", err)
	}
}

func TestReadMarksAndNoncesOutliveTheirEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	me, peer := u[0], u[1]
	w.send("lane", 1, withNonce(peer, me, "hi", "n"), message(peer, me, "ho"))
	mark := func(seq int64) socialapi.Marked {
		t.Helper()
		out, err := w.client.MarkRead(t.Context(), socialapi.ReadMark{Reader: me, Peer: peer, Seq: seq})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	mark(1)
	w.setPositions(socialapi.UserSeq{User: me, Seq: 2})
	w.grow(me, 2)
	if n := w.prune(); n != 2 {
		t.Fatalf("%d were pruned", n)
	}
	if got := mark(2); got.Seq != 2 || !got.Moved {
		t.Errorf("marked %+v", got)
	}
	if r := w.send("lane", 2, withNonce(peer, me, "hi", "n")).Results[0]; r.Seq != 1 || r.First == nil {
		t.Errorf("the nonce sent again: %+v", r)
	}
	w.send("lane", 3, message(peer, me, "new"))
	if got := w.history(peer, me, 9); len(got) != 1 || got[0].State != socialapi.StateStored || got[0].Seq != 3 {
		t.Errorf("history %+v", got)
	}
}

func TestAnExportGoesOnWhereItWasThoughThatIsPruned(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.send("lane", 1, message(u[0], u[1], "1"), message(u[0], u[1], "2"), message(u[0], u[1], "3"))
	first, err := w.srv.store.sentTo(t.Context(), u[0], u[1], 0, 1)
	if err != nil || len(first) != 1 || first[0].Content != "1" {
		t.Fatalf("first %+v, %v", first, err)
	}
	w.setPositions(socialapi.UserSeq{User: u[1], Seq: 1})
	w.grow(u[1], 1)
	w.prune()
	rest, err := w.srv.store.sentTo(t.Context(), u[0], u[1], first[0].Seq, 9)
	if err != nil || len(rest) != 2 || rest[0].Content != "2" || rest[1].Content != "3" {
		t.Errorf("the rest %+v, %v", rest, err)
	}
}

func TestAnAccountThatIsDeletedIsNoAffairOfPruning(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.send("lane", 1, message(u[0], u[1], "1"), message(u[1], u[0], "2"), message(u[0], u[1], "3"))
	w.setPositions(socialapi.UserSeq{User: u[0], Seq: 1}, socialapi.UserSeq{User: u[1], Seq: 1})
	w.grow(u[0], 1)
	w.grow(u[1], 2)
	if err := w.srv.store.closeInbox(t.Context(), u[0]); err != nil {
		t.Fatal(err)
	}
	if n := w.prune(); n != 1 {
		t.Errorf("%d were pruned, want that of who is there", n)
	}
	w.leave(u[0])
	if got := w.inboxFrom(u[1], 1); !slices.Equal(kindsOf(got), []bell.Kind{bell.KindTombstone}) {
		t.Errorf("the other has %v", got)
	}
	w.setPositions(socialapi.UserSeq{User: u[1], Seq: 2})
	if n := w.prune(); n != 1 {
		t.Errorf("%d were pruned, want the tombstone", n)
	}
	w.wantNowhere(fmt.Sprint(u[0]))
}

// inboxFrom reads what is after a seq.
func (w *world) inboxFrom(user int, after int64) []bell.Event {
	w.t.Helper()
	page, err := w.client.Read(w.t.Context(), socialapi.ReadRequest{User: user, After: after, Limit: socialapi.MaxPage})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Events
}
