package social

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

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
