package social

import (
	"fmt"
	"testing"
	"time"

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
