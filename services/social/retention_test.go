package social

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

// retention is MESSAGE_RETENTION where these tests prune.
const retention = time.Hour

// grow lets an hour and a minute pass for the events of user up to seq, and for what
// history knows of them.
func (w *world) grow(user int, upto int64) {
	w.t.Helper()
	for _, table := range []string{"events", "history"} {
		w.exec(`UPDATE `+table+` SET sent_at = sent_at - interval '61 minutes' WHERE user_id = $1 AND seq <= $2`, user, upto)
	}
}

// step takes the next step of pruning, whenever it would be due, and says whether the
// pass is over.
func (w *world) step(age time.Duration) (pruned int, over bool) {
	w.t.Helper()
	w.exec(`UPDATE pruning SET free_at = now()`)
	pruned, _, mine, err := w.srv.store.pruneEvents(w.t.Context(), age, time.Hour)
	if err != nil || !mine {
		w.t.Fatalf("it is our step: %v, %v", mine, err)
	}
	return pruned, w.value(`SELECT after_user FROM pruning`) == 0
}

// prune makes a whole pass.
func (w *world) prune() (pruned int) {
	w.t.Helper()
	return w.pruneOlder(retention)
}

func (w *world) pruneOlder(age time.Duration) (pruned int) {
	w.t.Helper()
	for {
		n, over := w.step(age)
		if pruned += n; over {
			return pruned
		}
	}
}

// kept are the events of a user that there still are, which must be those of the
// inbox.
func (w *world) kept(user int) (seqs []int64) {
	w.t.Helper()
	page, err := w.client.Read(w.t.Context(), socialapi.ReadRequest{User: user, Limit: socialapi.MaxPage})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, e := range page.Events {
		if e.Seq != page.Oldest+int64(i) {
			w.t.Errorf("inbox of %d, whose oldest is %d: seq %d at place %d", user, page.Oldest, e.Seq, i)
		}
		seqs = append(seqs, e.Seq)
	}
	if n := w.value(`SELECT count(*) FROM events WHERE user_id = $1`, user); n != int64(len(seqs)) || page.Oldest+n != page.Head+1 {
		w.t.Errorf("inbox of %d: %d events are stored, oldest %d, head %d, %d shown", user, n, page.Oldest, page.Head, len(seqs))
	}
	return seqs
}

func TestOnlyWhatIsOldAndDeliveredIsPrunedAndOnlyFromTheLowEnd(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	const many = 3*prunedEvents + 7
	for name, c := range map[string]struct {
		events        int
		old           []int64 // seqs
		position      int64
		oldest, twice int64 // that is kept, after one pass and after another
	}{
		"young and delivered":     {events: 9, position: 9, oldest: 1, twice: 1},
		"old and never delivered": {events: 9, old: upTo(9), oldest: 1, twice: 1},
		"old, and some delivered": {events: 9, old: upTo(9), position: 4, oldest: 5, twice: 5},
		"delivered, and some old": {events: 9, old: upTo(4), position: 9, oldest: 5, twice: 5},
		"all old and delivered":   {events: 9, old: upTo(9), position: 9, oldest: 10, twice: 10},
		"old ones after a young":  {events: 9, old: []int64{1, 2, 4, 5, 6}, position: 9, oldest: 3, twice: 3},
		"young at the low end":    {events: 9, old: []int64{2, 3}, position: 9, oldest: 1, twice: 1},
		"a long inbox":            {events: many, old: upTo(many - 3), position: many - 5, oldest: many - 4, twice: many - 4},
		"as long as a step":       {events: prunedEvents, old: upTo(prunedEvents), position: prunedEvents, oldest: prunedEvents + 1, twice: prunedEvents + 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			user := w.users(1)[0]
			w.fill(user, c.events)
			w.exec(`UPDATE events SET sent_at = now() - interval '61 minutes' WHERE user_id = $1 AND seq = ANY($2::bigint[])`, user, c.old)
			w.setPositions(socialapi.UserSeq{User: user, Seq: c.position})
			for pass, oldest := range []int64{c.oldest, c.twice} {
				before := w.value(`SELECT oldest FROM inboxes WHERE user_id = $1`, user)
				if pruned := w.prune(); int64(pruned) != oldest-before {
					t.Errorf("pass %d: %d were pruned, want %d", pass, pruned, oldest-before)
				}
				w.kept(user)
				if o := w.open(user); o.Oldest != oldest || o.Head != int64(c.events) || o.Position != c.position {
					t.Errorf("pass %d: opening %+v, want oldest %d", pass, o, oldest)
				}
			}
			w.fill2(user, 2)
			if got := w.kept(user); len(got) != c.events+3-int(c.oldest) {
				t.Errorf("then came two more: there are %v", got)
			}
		})
	}
}

func upTo(n int64) (seqs []int64) {
	for seq := range n {
		seqs = append(seqs, seq+1)
	}
	return seqs
}

// fill2 puts n more messages into an inbox that was filled.
func (w *world) fill2(user, n int) {
	w.t.Helper()
	var batch []socialapi.Message
	for range n {
		batch = append(batch, message(user, user, "more"))
	}
	w.send(fmt.Sprint("more ", user), 1, batch...)
}

func TestAPassComesToEveryInboxAndToNoneTwice(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	users := w.users(2*prunedInboxes + 3)
	var positions []socialapi.UserSeq
	for i, user := range users {
		w.fill(user, 5)
		positions = append(positions, socialapi.UserSeq{User: user, Seq: int64(i%2) * 5})
	}
	w.setPositions(positions...)
	w.exec(`UPDATE events SET sent_at = now() - interval '61 minutes'`)
	steps, pruned := 0, 0
	for over := false; !over; steps++ {
		var n int
		n, over = w.step(retention)
		pruned += n
	}
	if delivered := len(users) / 2 * 5; pruned != delivered || steps != 4 {
		t.Errorf("%d of %d were pruned in %d steps", pruned, delivered, steps)
	}
}

func TestWhatGrowsOldDuringAPassIsLeftToTheNextOne(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	users := w.users(prunedInboxes + 1)
	var positions []socialapi.UserSeq
	for _, user := range users {
		w.fill(user, 1)
		positions = append(positions, socialapi.UserSeq{User: user, Seq: 1})
	}
	w.setPositions(positions...)
	w.exec(`UPDATE events SET sent_at = now() - interval '59 minutes'`)
	if n, over := w.step(retention); n != 0 || over {
		t.Fatalf("%d were pruned that are young, over: %v", n, over)
	}
	w.exec(`UPDATE events SET sent_at = (SELECT began_at FROM pruning) - interval '60 minutes'`)
	for _, want := range []int{0, len(users)} {
		if n := w.prune(); n != want {
			t.Errorf("%d were pruned, want %d", n, want)
		}
	}
}

func TestAStepIsOnePodsAndNotBeforeItsTime(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	user := w.users(1)[0]
	w.fill(user, 9)
	w.setPositions(socialapi.UserSeq{User: user, Seq: 9})
	w.grow(user, 9)
	try := func() (pruned int, mine bool) {
		pruned, _, mine, err := w.srv.store.pruneEvents(t.Context(), retention, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return pruned, mine
	}
	tx, err := w.pool.Begin(t.Context()) // as somebody who deletes an account does
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), apartSQL); err != nil {
		t.Fatal(err)
	}
	if n, mine := try(); n != 0 || mine {
		t.Errorf("%d were pruned beside a deletion, ours: %v", n, mine)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE pruning SET free_at = now() + interval '1 minute'`)
	if n, mine := try(); n != 0 || mine {
		t.Errorf("%d were pruned before it was time, ours: %v", n, mine)
	}
	w.exec(`UPDATE pruning SET free_at = now()`)
	if n, mine := try(); n != 9 || !mine {
		t.Errorf("%d were pruned, ours: %v", n, mine)
	}
}

func TestStepsArePacedAndPassesBeginNowAndThen(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.fill(w.users(1)[0], 1)
	for i, least := range []time.Duration{0, 59 * time.Minute} { // between steps, and after the pass
		w.exec(`UPDATE pruning SET free_at = now()`)
		began := time.Now()
		_, rest, mine, err := w.srv.store.pruneEvents(t.Context(), retention, time.Hour)
		if most := max(pruneRest*time.Since(began), least+time.Minute); err != nil || !mine || rest <= least || rest > most {
			t.Errorf("step %d: rest of %v, want %v to %v (%v, %v)", i, rest, least, most, mine, err)
		}
	}
}

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

// Pods prune beside sends, reads, positions, questions for history and deletions:
// nothing is pruned twice or too early, no page has a hole, and nobody waits in a circle.
func TestPruningBesideEverythingElse(t *testing.T) {
	t.Parallel()

	w := newWorldAt(t, testenv.Postgres(t)+"&application_name="+t.Name())
	before := w.deadlocks()
	pods := []*world{w, w.otherPod(), w.otherPod()}
	tr := newTraffic(w, 12, 30)
	stay := tr.users
	gone := w.users(3)
	for i, user := range gone {
		w.send(fmt.Sprint("gone ", i), 1, message(user, stay[i], "secret"), message(stay[i], user, "secret"))
	}
	sent, enough := make(chan struct{}), make(chan struct{})
	tr.until = enough // was pruned meanwhile
	var work, pruning errgroup.Group
	tr.startLanes(t.Context(), &work)
	for i, user := range stay {
		pod := pods[i%len(pods)]
		pruning.Go(func() error { return pod.follow(t.Context(), user, stay[(i+1)%len(stay)], sent) })
	}
	hasEnough := sync.OnceFunc(func() { close(enough) })
	for _, pod := range pods {
		pruning.Go(func() error { return pod.pruneUntil(t.Context(), sent, hasEnough) })
	}
	for _, user := range gone {
		w.delete(user, false)
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	close(sent)
	if err := pruning.Wait(); err != nil {
		t.Fatal(err)
	}
	var counted, pruned int64
	for _, pod := range pods {
		counted += int64(testutil.ToFloat64(pod.srv.metrics.eventsPruned))
	}
	for _, user := range stay {
		w.kept(user)
		o := w.open(user)
		if pruned += o.Oldest - 1; o.Oldest-1 > o.Position {
			t.Errorf("%d events of %d were pruned, and %d delivered", o.Oldest-1, user, o.Position)
		}
	}
	if counted != pruned || pruned == 0 {
		t.Errorf("%d were counted as pruned, and %d are missing", counted, pruned)
	}
	w.exec(`UPDATE pruning SET after_user = 0`) // the last pass was not finished
	for _, user := range gone {
		w.delete(user, true)
		w.wantNowhere(fmt.Sprint(user), "secret")
	}
	w.checkNoDeadlocks(before, pods)
}

// follow reads an inbox, confirms what it got, and asks for history, until the inbox has
// nothing more and done is closed.
func (w *world) follow(ctx context.Context, user, peer int, done <-chan struct{}) error {
	for after := int64(0); ; {
		over := false
		select {
		case <-done:
			over = true
		default:
		}
		page, err := w.client.Read(ctx, socialapi.ReadRequest{User: user, After: after, Limit: 100})
		if err != nil {
			return err
		}
		for i, e := range page.Events {
			if e.Seq != after+int64(i)+1 { // what is not delivered is there
				return fmt.Errorf("inbox of %d after %d: seq %d, oldest %d", user, after, e.Seq, page.Oldest)
			}
		}
		after += int64(len(page.Events))
		if over && after == page.Head {
			return nil
		}
		at := []socialapi.UserSeq{{User: user, Seq: after}}
		if err := w.client.SetPositions(ctx, socialapi.PositionsRequest{Positions: at}); err != nil {
			return err
		}
		if _, err := w.client.History(ctx, socialapi.HistoryRequest{User: user, Peer: peer, Limit: 10}); err != nil {
			return err
		}
	}
}

// pruneUntil prunes what is delivered, however young, without a rest, until done is
// closed. It tells when it has pruned something in many steps.
func (w *world) pruneUntil(ctx context.Context, done <-chan struct{}, enough func()) error {
	defer enough()
	for steps := 0; ; {
		select {
		case <-done:
			return nil
		default:
		}
		if _, err := w.pool.Exec(ctx, `UPDATE pruning SET free_at = '-infinity' WHERE only_row IN (
			SELECT only_row FROM pruning FOR UPDATE SKIP LOCKED)`); err != nil {
			return err
		}
		pruned, _, _, err := w.srv.store.pruneEvents(ctx, 0, 0)
		w.srv.metrics.eventsPruned.Add(float64(pruned))
		if err != nil {
			return err
		}
		if pruned > 0 {
			steps++
		}
		if steps == 20 {
			enough()
		}
	}
}
