package social

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

// traffic is what several lanes send at once, and what they were answered.
type traffic struct {
	w       *world
	users   []int
	batches int             // of each lane, at least
	until   <-chan struct{} // lanes go on until it is closed, if not nil

	blocks bool // users block each other meanwhile

	// tryAgain is asked, when a batch was not answered, whether to repeat it; it
	// returns when that makes sense.
	tryAgain func(context.Context) error
	answered chan struct{} // gets something for an answer while it has room

	mu   sync.Mutex               // guards all below
	sent map[int]map[int64]string // by user and seq
}

// lane sends its batches as a gateway does: one at a time, each until answered.
func (tr *traffic) lane(ctx context.Context, which int) error {
	random := rand.New(rand.NewPCG(4, uint64(which)))
	name, next := fmt.Sprint("lane", which), 0
	for number := int64(1); number <= int64(tr.batches) || tr.goesOn(); number++ {
		b := socialapi.Batch{Lane: name, Number: number}
		for range random.IntN(40) + 1 {
			next++
			from, to := twoOf(random, tr.users)
			m := message(from, to, fmt.Sprintf("%s %08d", name, next))
			if which%2 == 0 && random.IntN(2) == 0 {
				m.Nonce = m.Content
			}
			b.Messages = append(b.Messages, m)
		}
		out, err := tr.untilAnswered(ctx, b)
		if err != nil {
			return fmt.Errorf("batch %d of lane %s: %w", number, name, err)
		}
		if err := tr.note(b, out); err != nil {
			return err
		}
	}
	return nil
}

// goesOn says whether lanes go on beyond their number of batches.
func (tr *traffic) goesOn() bool {
	if tr.until == nil {
		return false
	}
	select {
	case <-tr.until:
		return false
	default:
		return true
	}
}

func (tr *traffic) untilAnswered(ctx context.Context, b socialapi.Batch) (socialapi.BatchResult, error) {
	for {
		out, err := tr.w.client.Send(ctx, b)
		if !errors.Is(err, fault.Unavailable) {
			return out, err
		}
		if again := tr.tryAgain(ctx); again != nil {
			return out, errors.Join(err, again)
		}
	}
}

// note remembers what the answer says, and that it gives no seq twice.
func (tr *traffic) note(b socialapi.Batch, out socialapi.BatchResult) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i, r := range out.Results {
		m := b.Messages[i]
		if tr.sent[m.Recipient] == nil {
			tr.sent[m.Recipient] = map[int64]string{}
		}
		if tr.blocks && r.Refused == socialapi.RefusedUnknown {
			continue
		}
		if other, double := tr.sent[m.Recipient][r.Seq]; double || r.Seq == 0 {
			return fmt.Errorf("%q of %d got seq %d %s, as did %q", m.Content, m.Recipient, r.Seq, r.Refused, other)
		}
		tr.sent[m.Recipient][r.Seq] = m.Content
	}
	select {
	case tr.answered <- struct{}{}:
	default:
	}
	return nil
}

// check compares the inboxes with what was answered: nothing lost, nothing
// doubled, each message where the answer says, and in the order of its lane.
func (tr *traffic) check() {
	tr.w.t.Helper()
	for _, user := range tr.users {
		got := map[int64]string{}
		newest := map[string]string{} // by lane; the contents count up
		for _, e := range tr.w.inbox(user) {
			if e.Kind != bell.KindMessage {
				continue
			}
			got[e.Seq] = e.Content
			lane, _, _ := strings.Cut(e.Content, " ")
			if e.Content <= newest[lane] {
				tr.w.t.Errorf("inbox of %d: %q comes after %q", user, e.Content, newest[lane])
			}
			newest[lane] = e.Content
		}
		if diff := cmp.Diff(tr.sent[user], got); diff != "" {
			tr.w.t.Errorf("inbox of %d (-answered +stored):\n%s", user, diff)
		}
	}
	tr.w.checkNonces()
	tr.w.checkContacts()
}

func newTraffic(w *world, users, batches int) *traffic {
	return &traffic{
		w: w, users: w.users(users), batches: batches, sent: map[int]map[int64]string{},
		tryAgain: func(context.Context) error { return errors.New("not to be repeated") },
	}
}

const lanes = 8

func (tr *traffic) startLanes(ctx context.Context, group *errgroup.Group) {
	for i := range lanes {
		group.Go(func() error { return tr.lane(ctx, i) })
	}
}

func TestLanesAndFriendRequestsAtOnceLeaveNoGapAndNoDeadlock(t *testing.T) {
	t.Parallel()

	w := newWorldAt(t, testenv.Postgres(t)+"&application_name="+t.Name()[:40])
	before := w.deadlocks()
	tr := newTraffic(w, 12, 25)
	tr.blocks = true
	var sum tally
	group, ctx := errgroup.WithContext(t.Context())
	tr.startLanes(ctx, group)
	for worker := range 3 {
		random := rand.New(rand.NewPCG(5, uint64(worker)))
		group.Go(func() error { return w.meddle(ctx, random, tr.users, &sum) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	tr.check()
	w.checkFriendships(tr.users, &sum)
	if n := testutil.ToFloat64(w.srv.metrics.storeUndone); n != 0 {
		t.Errorf("%v transactions had to be begun anew", n)
	}
	if after := w.deadlocks(); after != before {
		t.Errorf("%d deadlocks", after-before)
	}
}

// meddle makes friends, blocks, and moves positions among users.
func (w *world) meddle(ctx context.Context, random *rand.Rand, users []int, sum *tally) error {
	for range 40 {
		actor, user := twoOf(random, users)
		if err := w.act(ctx, sum, actor, user, actions[random.IntN(len(actions))]); err != nil {
			return err
		}
		if err := w.client.SetPositions(ctx, socialapi.PositionsRequest{Positions: randomPositions(random, users, 5)}); err != nil {
			return err
		}
	}
	return nil
}

// deadlocks are those that Postgres has counted. A connection may keep its count
// to itself until it ends, so all are ended first.
func (w *world) deadlocks() int64 {
	w.t.Helper()
	w.pool.Reset()
	for w.value(`SELECT count(*) FROM pg_stat_activity
		WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()`) > 0 {
		if err := w.t.Context().Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.value(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
}

func TestPostgresDyingUnderTrafficNeitherLosesNorDoublesMessages(t *testing.T) {
	t.Parallel()

	postgres := testenv.PostgresServer(t)
	w := newWorldAt(t, postgres.URL())
	tr := newTraffic(w, 12, 25)
	back, broken := make(chan struct{}), atomic.Int64{}
	tr.until, tr.answered = back, make(chan struct{}, tr.batches)
	tr.tryAgain = func(ctx context.Context) error {
		broken.Add(1)
		select {
		case <-back:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	group, ctx := errgroup.WithContext(t.Context())
	tr.startLanes(ctx, group)
	for range tr.batches {
		select {
		case <-tr.answered:
		case <-ctx.Done():
			t.Fatal(group.Wait())
		}
	}
	if err := errors.Join(postgres.Kill(t.Context()), postgres.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	close(back)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	tr.check()
	if broken.Load() < lanes {
		t.Errorf("only %d batches were broken off", broken.Load())
	}
}
