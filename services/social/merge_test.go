package social

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

// shelf stands in for the store: each transaction waits until it is let go.
type shelf struct {
	merger
	began chan []string // the lanes of a transaction that has begun
	going chan struct{} // lets one end

	callers sync.WaitGroup
}

func newShelf() *shelf {
	s := &shelf{began: make(chan []string, 100), going: make(chan struct{})}
	s.merger.store = func(_ context.Context, group []*sending) {
		var lanes []string
		for _, each := range group {
			lanes = append(lanes, each.batch.Lane)
		}
		s.began <- lanes
		<-s.going
		for _, each := range group {
			each.repeated = true // a mark: it was here
		}
	}
	return s
}

// bring sends batches of one size in this order, and waits until each of them waits.
func (s *shelf) bring(messages int, lanes ...string) {
	for _, lane := range lanes {
		s.callers.Go(func() {
			sent := &sending{batch: socialapi.Batch{Lane: lane, Messages: make([]socialapi.Message, messages)}}
			if s.send(sent); !sent.repeated {
				panic("a batch came back that was not stored")
			}
		})
		synctest.Wait()
	}
}

// want checks which transactions have begun since the last look.
func (s *shelf) want(t *testing.T, want ...[]string) {
	t.Helper()
	synctest.Wait()
	var got [][]string
	for len(s.began) > 0 {
		got = append(got, <-s.began)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("transactions (-want +got):\n%s", diff)
	}
}

// end lets everything end that is under way or begins, and checks that nothing is left.
func (s *shelf) end(t *testing.T) {
	t.Helper()
	close(s.going)
	s.callers.Wait()
	if s.storing != 0 || s.messages != 0 || len(s.waiting) != 0 {
		t.Errorf("left: %d turns, %d messages, %d batches", s.storing, s.messages, len(s.waiting))
	}
}

func TestBatchesThatComeWhileTwoAreStoredShareTheNextTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.bring(1, "a", "z")
		s.want(t, []string{"a"}, []string{"z"}) // at once
		s.bring(1, "b", "c", "d")
		s.want(t)
		s.going <- struct{}{}
		s.want(t, []string{"b", "c", "d"})
		s.bring(1, "e", "b", "b", "f") // the second b repeats the first
		s.going <- struct{}{}
		s.want(t, []string{"e", "b", "f"})
		s.going <- struct{}{}
		s.want(t, []string{"b"})
		s.end(t)
	})
}

func TestManyMessagesDoNotWaitForTheTransactionsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.bring(mergeShare-1, "a", "z", "b")
		s.want(t, []string{"a"}, []string{"z"})
		s.bring(1, "c")
		s.want(t, []string{"b", "c"})
		for i := range mergesAtOnce { // three are under way
			s.bring(mergeShare, fmt.Sprint(i))
		}
		s.want(t, []string{"0"})
		s.going <- struct{}{}
		s.want(t, []string{"1", "2", "3"})
		s.end(t)
	})
}

func TestATransactionTakesNoMoreThanItsMessagesUnlessOneBatchHasMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		for i := range mergesAtOnce {
			s.bring(mergeShare, fmt.Sprint(i))
		}
		s.want(t, []string{"0"}, []string{"1"}, []string{"2"}, []string{"3"})
		s.bring(mergedMessages/2, "a", "b", "c")
		s.bring(mergedMessages+1, "d")
		for _, next := range [][]string{{"a", "b"}, {"c"}, {"d"}} {
			s.going <- struct{}{}
			s.want(t, next)
		}
		s.end(t)
	})
}

func TestTransactionsThatHangHoldUpOthersForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.bring(1, "hangs", "hangs too", "b", "c")
		s.want(t, []string{"hangs"}, []string{"hangs too"})
		if got := <-s.began; !slices.Equal(got, []string{"b", "c"}) { // the clock of this test goes on when all wait
			t.Errorf("then %v", got)
		}
		s.end(t)
	})
}

func TestWhoHasATurnIsNotGivenAnother(t *testing.T) {
	t.Parallel()

	m := &merger{store: func(context.Context, []*sending) {}}
	entryOf := func(lane string, messages int) *entry {
		return &entry{sending: &sending{batch: socialapi.Batch{Lane: lane, Messages: make([]socialapi.Message, messages)}}, wake: make(chan bool, 1)}
	}
	first, second := entryOf("first", 1), entryOf("second", mergeShare)
	if !m.enter(first) || len(m.take(first)) != 1 || !m.enter(second) {
		t.Fatal("not both have a turn")
	}
	m.handOn() // the first is done before the second has begun
	if !m.storeNext(second) || m.storing != 0 || len(second.wake) != 0 {
		t.Errorf("%d turns are left, %d wakes", m.storing, len(second.wake))
	}
}

func TestTurnsThatBeginTogetherDoNotTakeEachOthersBatches(t *testing.T) {
	t.Parallel()

	m := &merger{}
	entries := map[string]*entry{}
	for i, lane := range []string{"a", "b", "c", "d"} {
		e := &entry{sending: sendingOf(lane, 1, socialapi.Message{}), wake: make(chan bool, 1)}
		entries[lane] = e
		if began := m.enter(e); began != (i < mergesFree) {
			t.Fatalf("%s: began is %v", lane, began)
		}
		if i < mergesFree {
			m.take(e)
		}
	}
	m.handOn()
	m.handOn() // c and d have turns now
	for _, lane := range []string{"c", "d"} {
		if group := m.take(entries[lane]); len(group) != 1 || group[0] != entries[lane] {
			t.Errorf("%s takes %d batches", lane, len(group))
		}
	}
}

func TestAStoreThatPanicsLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.bring(1, "a", "z")
		s.merger.store = func(context.Context, []*sending) { panic("as the test wants") }
		var other error
		s.callers.Go(func() {
			defer func() { _ = recover() }() // as net/http does
			s.send(sendingOf("b", 1, socialapi.Message{}))
		})
		time.Sleep(mergeWait / 2) // by the clock of this test: b begins first
		s.callers.Go(func() {
			c := sendingOf("c", 1, socialapi.Message{})
			s.send(c)
			other = c.err
		})
		time.Sleep(mergeWait) // b has waited for long enough, and takes c along
		s.end(t)
		if !errors.Is(other, fault.Unavailable) {
			t.Errorf("who shared the transaction got %v", other)
		}
	})
}

func TestAnInboxThatIsBrokenFailsNoNeighbour(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	w.send("lane", 1, message(u[0], u[1], "one"), message(u[0], u[1], "two"), message(u[0], u[2], "one"))
	w.exec(`UPDATE inboxes SET head = 1 WHERE user_id = $1`, u[1]) // as no restore should leave it
	broken := sendingOf("broken", 1, message(u[0], u[1], "into the void"))
	before := sendingOf("before", 1, message(u[0], u[2], "two"))
	after := sendingOf("after", 1, message(u[0], u[2], "three"))
	w.srv.store.send(t.Context(), []*sending{before, broken, after})
	if broken.err == nil || errors.Is(broken.err, fault.Unavailable) {
		t.Errorf("the broken one: %v", broken.err)
	}
	if before.err != nil || after.err != nil {
		t.Fatalf("its neighbours: %v, %v", before.err, after.err)
	}
	wantResults(t, before.result, seq(2))
	wantResults(t, after.result, seq(3))
}

func TestBatchesOfOneTransactionEachGetTheirOwnAnswer(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	for _, nonces := range []bool{false, true} {
		t.Run(fmt.Sprint("nonces ", nonces), func(t *testing.T) {
			lane := func(name string) string { return fmt.Sprint(name, nonces) }
			kept := w.send(lane("kept"), 5, message(u[0], u[1], "before"))
			plain := sendingOf(lane("plain"), 1, message(u[0], u[1], "one"), message(u[0], u[2], "two"))
			if nonces {
				plain.batch.Messages[0].Nonce = "nonce"
			}
			again := sendingOf(lane("kept"), 5, message(u[0], u[1], "before"))
			older := sendingOf(lane("older"), 1, message(u[0], u[1], "late"))
			w.send(lane("older"), 2, message(u[0], u[1], "later"))
			bad := sendingOf(lane("bad"), 1, message(u[0], u[1], "a NUL: \x00"), message(u[0], u[1], "three"))
			before := w.heads(u[1], u[2])

			for _, other := range []*sending{again, older, bad} {
				w.srv.store.send(t.Context(), []*sending{other, plain}) // the second time plain is a repetition as well
			}

			if diff := cmp.Diff(kept, again.result); diff != "" || !again.repeated || again.err != nil {
				t.Errorf("a repetition: %v, (-want +got):\n%s", again.err, diff)
			}
			if !errors.Is(older.err, fault.Conflict) {
				t.Errorf("an older batch: %v", older.err)
			}
			if bad.err != nil || plain.err != nil {
				t.Fatalf("bad data: %v; its neighbour: %v", bad.err, plain.err)
			}
			wantResults(t, plain.result, seq(before[u[1]]+1), seq(before[u[2]]+1))
			wantResults(t, bad.result, refused(socialapi.RefusedInvalid), seq(before[u[1]]+2))
			w.checkNonces()
		})
	}
}

func sendingOf(lane string, number int64, messages ...socialapi.Message) *sending {
	return &sending{
		batch:   socialapi.Batch{Lane: lane, Number: number, Messages: messages},
		refused: make([]socialapi.Refusal, len(messages)),
	}
}

// heads are the newest seqs of users.
func (w *world) heads(users ...int) map[int]int64 {
	w.t.Helper()
	heads, err := w.client.Heads(w.t.Context(), users)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[int]int64{}
	for _, h := range heads.Heads {
		out[h.User] = h.Seq
	}
	return out
}
