package social

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

// A nonce that another transaction has claimed is waited for: it may come to be
// stored, or not.
func TestASendWaitsForWhatBecomesOfItsNonce(t *testing.T) {
	t.Parallel()

	for _, committed := range []bool{true, false} {
		w := newWorldAt(t, testenv.Postgres(t)+"&application_name=nonce"+fmt.Sprint(committed))
		u := w.users(2)
		tx, err := w.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `INSERT INTO nonces (sender, nonce, recipient, seq, connected, sent_at)
			VALUES ($1, 'n', $2, 77, true, '2001-02-03 04:05:06.789999Z')`, u[0], u[0]); err != nil {
			t.Fatal(err)
		}
		b := socialapi.Batch{Lane: "lane", Number: 1, Messages: []socialapi.Message{withNonce(u[0], u[1], "hi", "n")}}
		var out socialapi.BatchResult
		sent := make(chan error)
		go func() {
			var err error
			out, err = w.client.Send(t.Context(), b)
			sent <- err
		}()
		w.awaitWaiting(sent)
		end, want := tx.Rollback, seq(1)
		if committed {
			end = tx.Commit
			want = socialapi.Result{Seq: 77, First: &socialapi.First{Recipient: u[0], SentAt: 981173106789, Connected: true}}
		}
		if err := errors.Join(end(t.Context()), <-sent); err != nil {
			t.Fatal(err)
		}
		wantResults(t, out, want)
	}
}

// awaitWaiting returns when a transaction of w waits for a lock; done must not
// have come before.
func (w *world) awaitWaiting(done <-chan error) {
	w.t.Helper()
	for w.value(`SELECT count(*) FROM pg_stat_activity
		WHERE application_name = current_setting('application_name') AND wait_event_type = 'Lock'`) == 0 {
		select {
		case err := <-done:
			w.t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
}

func TestFiftySendsOfANonceAtOnceAreOneMessageAndFiftyEqualAnswers(t *testing.T) {
	t.Parallel()

	w := newWorldAt(t, testenv.Postgres(t)+"&application_name=fiftySends", func(c *Config) { c.DatabaseConns = 25 })
	pods := []*world{w, w.otherPod()}
	before := w.deadlocks()
	u := w.users(2)
	const rounds, sends = 30, 50
	for round := range rounds {
		nonce := fmt.Sprint("nonce ", round)
		told := make([]answer, sends)
		var group errgroup.Group
		for i := range sends {
			b := socialapi.Batch{Lane: fmt.Sprint("lane ", i), Number: int64(round + 1)}
			b.Messages = []socialapi.Message{withNonce(u[0], u[1], fmt.Sprint("from lane ", i), nonce)}
			b.Messages[0].Connected = i%2 == 0
			group.Go(func() error {
				out, err := pods[i%len(pods)].client.Send(t.Context(), b)
				if err == nil {
					told[i] = answers(b.Messages, out)[0]
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, a := range told {
			if a != told[0] || a.ID != fmt.Sprintf("%d-%d", u[1], round+1) {
				t.Fatalf("round %d: answers %v and %v", round, told[0], a)
			}
		}
	}
	if got := len(w.inbox(u[1])); got != rounds {
		t.Errorf("%d nonces became %d messages", rounds, got)
	}
	w.checkNonces()
	w.checkNoDeadlocks(before, pods)
}

func (w *world) checkNoDeadlocks(before int64, pods []*world) {
	w.t.Helper()
	for _, pod := range pods {
		pod.pool.Reset()
		if n := testutil.ToFloat64(pod.srv.metrics.storeUndone); n != 0 {
			w.t.Errorf("%v transactions had to be begun anew", n)
		}
	}
	if after := w.deadlocks(); after != before {
		w.t.Errorf("%d deadlocks", after-before)
	}
}

// Lanes of two pods that send the same few nonces in any order, some of them
// refused, give one nonce one answer.
func TestLanesThatShareNoncesAgreeAndNeverDeadlock(t *testing.T) {
	t.Parallel()

	w := newWorldAt(t, testenv.Postgres(t)+"&application_name=sharedNonces", func(c *Config) {
		c.DatabaseConns, c.MessagePolicy = 12, policyFriends
	})
	pods := []*world{w, w.otherPod()}
	before := w.deadlocks()
	u := w.users(6)
	w.befriendNeighbours(u)
	const lanes, batches = 12, 20
	told := make([]map[string]answer, lanes)
	var group errgroup.Group
	for lane := range lanes {
		group.Go(func() (err error) {
			told[lane], err = pods[lane%2].sendSharedNonces(u, lane, batches)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	all := map[string]answer{}
	for _, of := range told {
		for nonce, a := range of {
			if other, ok := all[nonce]; ok && other != a {
				t.Errorf("nonce %s got %v and %v", nonce, other, a)
			}
			all[nonce] = a
		}
	}
	events := 0
	for _, user := range u {
		events += len(w.inbox(user))
	}
	if kept := w.value(`SELECT count(*) FROM nonces`); events != len(all) || kept != int64(events) || events < batches {
		t.Errorf("%d nonces were stored, %d kept, %d events", len(all), kept, events)
	}
	w.checkNonces()
	w.checkNoDeadlocks(before, pods)
}

// sendSharedNonces sends batches as one of several lanes, and gives what was
// stored or repeated by sender and nonce. Which friend a message goes to is up to
// the lane, and some go to strangers.
func (w *world) sendSharedNonces(users []int, lane, batches int) (map[string]answer, error) {
	random := rand.New(rand.NewPCG(6, uint64(lane)))
	told := map[string]answer{}
	for number := range batches {
		b := socialapi.Batch{Lane: fmt.Sprint("lane ", lane), Number: int64(number + 1)}
		for range 40 {
			from, to := twoOf(random, users)
			b.Messages = append(b.Messages, withNonce(from, to, "hi", fmt.Sprint(number/2*5+random.IntN(10))))
		}
		out, err := w.client.Send(w.t.Context(), b)
		if err != nil {
			return nil, err
		}
		for i, a := range answers(b.Messages, out) {
			key := fmt.Sprint(b.Messages[i].Sender, " ", b.Messages[i].Nonce)
			if other, ok := told[key]; ok && a.Refused == "" && other != a {
				return nil, fmt.Errorf("nonce %s got %v and %v", key, other, a)
			}
			if a.Refused == "" {
				told[key] = a
			}
		}
	}
	return told, nil
}
