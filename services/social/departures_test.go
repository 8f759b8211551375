package social

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

// delete lets the service delete what it has of a user.
func (w *world) delete(user int, final bool) {
	w.t.Helper()
	r := socialapi.DeleteRequest{User: user, Final: final}
	for {
		out, err := w.client.Delete(w.t.Context(), r)
		if err != nil {
			w.t.Fatal(err)
		}
		if out.Done {
			return
		}
		r.After = out.After
	}
}

// leave deletes the account of a user, and all that there is of it here.
func (w *world) leave(user int) {
	w.t.Helper()
	w.accounts.remove(user)
	w.delete(user, false)
	w.delete(user, true)
}

// must does something that a user does about another.
func (w *world) must(actor, user int, act action) {
	w.t.Helper()
	if _, err := w.do(w.t.Context(), actor, user, act); err != nil {
		w.t.Fatalf("%s of %d: %v", act, actor, err)
	}
}

func (w *world) befriend(a, b int) {
	w.t.Helper()
	w.must(a, b, actionRequest)
	w.must(b, a, actionAccept)
}

func kindsOf(events []bell.Event) (kinds []bell.Kind) {
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// remains are the columns that may still have the id of a deleted account, as
// docs/rest.md says.
var remains = map[string]string{
	"inboxes.user_id":  "head < 0",                         // the number stays, so that nothing is ever stored for it
	"events.peer":      "kind NOT IN (1, 9)",               // of others: that there was a friendship or a request
	"nonces.recipient": "sent_at > now() - '1d'::interval", // of others, until they are pruned
	"lanes.firsts":     "true",                             // of others, until the next batch
}

// wantNowhere looks for texts in every column of every table.
func (w *world) wantNowhere(texts ...string) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `
		SELECT table_name, column_name
		FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name <> 'goose_db_version'`)
	if err != nil {
		w.t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c [2]string, err error) {
		return c, row.Scan(&c[0], &c[1])
	})
	if err != nil || len(columns) < 20 {
		w.t.Fatal(columns, err)
	}
	for _, c := range columns {
		may := "false"
		if rule, ok := remains[c[0]+"."+c[1]]; ok {
			may = rule
		}
		var found []string
		err := w.pool.QueryRow(w.t.Context(), `
			SELECT coalesce(array_agg(t::text), '{}')
			FROM `+c[0]+` t
			WHERE NOT (`+may+`) AND EXISTS (SELECT FROM unnest($1::text[]) AS text WHERE strpos(t.`+c[1]+`::text, text) > 0)`,
			texts).Scan(&found)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(found) > 0 {
			w.t.Errorf("%s.%s still has %v", c[0], c[1], found)
		}
	}
}

func TestNothingIsLeftOfADeletedUserButWhatTheRuleNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.users(7)
	gone, friend, asked, asker, blocker, blocked, stranger := u[0], u[1], u[2], u[3], u[4], u[5], u[6]
	w.befriend(gone, friend)
	w.must(gone, asked, actionRequest)
	w.must(asker, gone, actionRequest)
	w.must(blocker, gone, actionBlock)
	w.must(gone, blocked, actionBlock)
	w.send("lane", 1,
		message(gone, friend, "secret 1"), message(friend, gone, "secret 2"), message(stranger, friend, "stays"),
		message(gone, friend, "secret 3"), message(gone, stranger, "secret 4"), message(gone, gone, "secret 5"),
		socialapi.Message{Sender: gone, Recipient: friend, Content: "secret 6", Nonce: "secret nonce"},
		socialapi.Message{Sender: friend, Recipient: gone, Content: "secret 7", Nonce: "mine"})
	w.setPositions(socialapi.UserSeq{User: gone, Seq: 2}, socialapi.UserSeq{User: friend, Seq: 2})
	w.history(gone, friend, 10)
	w.history(friend, gone, 10)
	for reader, peer := range map[int]int{gone: friend, friend: gone} {
		if _, err := w.client.MarkRead(t.Context(), socialapi.ReadMark{Reader: reader, Peer: peer, Seq: 3}); err != nil {
			t.Fatal(err)
		}
	}
	heads := map[int]int{}
	for _, user := range u[1:] {
		heads[user] = len(w.inbox(user))
	}

	w.leave(gone)

	for user, told := range map[int][]bell.Kind{
		friend: {bell.KindFriendRemoved}, asked: {bell.KindRequestClosed}, asker: {bell.KindRequestClosed},
		blocker: {bell.KindUnblocked}, blocked: nil, stranger: nil,
	} {
		inbox := w.inbox(user) // which checks that there are no gaps
		if got := kindsOf(inbox[heads[user]:]); !slices.Equal(got, told) {
			t.Errorf("%d was told %v, want %v", user, got, told)
		}
		w.checkSnapshot(user, inbox)
	}
	want := []bell.Event{{Seq: 3, Kind: bell.KindTombstone}, {Seq: 4, Kind: bell.KindMessage, Peer: stranger, Content: "stays"},
		{Seq: 5, Kind: bell.KindTombstone}, {Seq: 6, Kind: bell.KindTombstone}}
	got := w.inbox(friend)[2:6]
	for i := range got {
		got[i].SentAt = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if page := w.history(friend, gone, 10); len(page) != 0 {
		t.Errorf("the history still has %v", page)
	}
	if page := w.history(friend, stranger, 10); len(page) != 1 {
		t.Errorf("the history of others has %v", page)
	}
	if o := w.open(gone); o.Head != 0 || o.Oldest != 1 || o.Position != 0 || len(o.Waiting) != 0 {
		t.Errorf("its inbox is %+v", o)
	}
	if heads, err := w.client.Heads(t.Context(), u); err != nil || len(heads.Heads) != len(u)-1 {
		t.Errorf("heads %v, %v", heads, err)
	}
	w.wantNowhere(strconv.Itoa(gone), "secret")
}

// A pod remembers that the user exists, and has asked accounts before.
func TestNothingIsStoredForADeletedUserOnAnyPod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.otherPod()
	u := w.users(2)
	gone, alice := u[0], u[1]
	for i, pod := range []*world{w, other} {
		wantResults(t, pod.send(fmt.Sprint("lane", i), 1, message(alice, gone, "hi")), seq(int64(i+1)))
	}
	w.leave(gone)
	for i, pod := range []*world{w, other, w.otherPod()} {
		out := pod.send(fmt.Sprint("lane", i), 2, message(alice, gone, "hi"), message(alice, alice, "neighbour"),
			socialapi.Message{Sender: alice, Recipient: gone, Content: "hi", Nonce: fmt.Sprint("nonce", i)})
		wantResults(t, out, refused(socialapi.RefusedUnknown), seq(int64(i+1)), refused(socialapi.RefusedUnknown))
		for _, act := range actions {
			_, err := pod.do(t.Context(), alice, gone, act)
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s of somebody who is gone: %v", act, err)
			}
			_, err = pod.do(t.Context(), gone, alice, act)
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s by somebody who is gone: %v", act, err)
			}
		}
		pod.setPositions(socialapi.UserSeq{User: gone, Seq: 1})
	}
	w.accounts.setBroken(true)
	out := w.otherPod().send("late", 1, message(alice, gone, "hi")) // nobody can be asked
	wantResults(t, out, refused(socialapi.RefusedUnavailable))
	if n := w.value(`SELECT count(*) FROM nonces`); n != 0 {
		t.Errorf("%d nonces are left", n)
	}
	w.wantNowhere(strconv.Itoa(gone))
}

// What was under way while the account was deleted is found by the last look.
func TestWhatComesLateIsFoundByTheFinalLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.users(3)
	gone, alice, bob := u[0], u[1], u[2]
	w.send("lane", 1, message(gone, alice, "secret"))
	w.delete(gone, false)
	w.send("lane", 2, message(gone, alice, "secret late"), message(gone, bob, "secret late"))
	w.exec(`INSERT INTO pairs (low, high, low_blocks) VALUES ($1, $2, now())`, min(gone, bob), max(gone, bob))
	w.exec(`INSERT INTO positions VALUES ($1, 3)`, gone)
	w.delete(gone, true)
	if got := kindsOf(w.inbox(alice)); !slices.Equal(got, []bell.Kind{bell.KindTombstone, bell.KindTombstone}) {
		t.Errorf("alice has %v", got)
	}
	w.wantNowhere(strconv.Itoa(gone), "secret")
}

// Who is asked twice to delete somebody deletes one pair, and finds the next one
// gone: the ring for the first one is of the log all the same.
func TestADeletionThatAnotherOvertakesRingsWithTheEpochOfTheLog(t *testing.T) {
	t.Parallel()
	w := newWorldAt(t, testenv.Postgres(t)+"&application_name=overtaken")
	u := w.users(3)
	gone, first, second := u[0], u[1], u[2]
	w.befriend(gone, first)
	w.befriend(gone, second)
	const pairOf = `FROM pairs WHERE low = least($1::int, $2::int) AND high = greatest($1::int, $2::int)`
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT 1 `+pairOf+` FOR UPDATE`, gone, second); err != nil {
		t.Fatal(err)
	}
	var change socialapi.Change
	left := make(chan error)
	go func() {
		var err error
		change, _, err = w.srv.store.leave(t.Context(), gone, 10)
		left <- err
	}()
	w.awaitWaiting(left)
	if _, err := tx.Exec(t.Context(), `DELETE `+pairOf, gone, second); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tx.Commit(t.Context()), <-left); err != nil {
		t.Fatal(err)
	}
	if want := w.open(first).Epoch; change.Epoch != want || len(change.Rings) != 1 || change.Rings[0].User != first {
		t.Errorf("it is %+v, want a ring for %d of epoch %s", change, first, want)
	}
}

func TestARefusalForABlockOrADeletedAccountIsNotLoggedAsAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.users(3)
	alice, blocker, gone := u[0], u[1], u[2]
	w.must(blocker, alice, actionBlock)
	w.delete(gone, true)
	var log bytes.Buffer
	w.srv.store.log = slog.New(slog.NewTextHandler(&log, nil))
	for _, user := range []int{blocker, gone} {
		_, err := w.srv.store.change(t.Context(), change{actor: alice, user: user, act: actionRequest}, 10)
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("asking %d: %v", user, err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

func TestALongDeletionGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone := w.users(1)[0]
	others := w.users(250)
	var batch []socialapi.Message
	for _, user := range others {
		batch = append(batch, message(gone, user, "secret"), message(user, gone, "secret"))
	}
	w.send("lane", 1, batch...)
	for i, user := range others {
		w.exec(`INSERT INTO pairs (low, high, state) VALUES ($1, $2, $3)`, min(gone, user), max(gone, user), i%4)
	}
	steps := 0
	for r := (socialapi.DeleteRequest{User: gone}); ; steps++ {
		out, err := w.srv.deleteUser(t.Context(), r, time.Now().Add(-time.Second)) // no time at all
		if err != nil {
			t.Fatal(err)
		}
		if out.Done {
			break
		}
		if out.After == 0 { // parts before the messages need time
			w.delete(gone, false)
			out.After = 1
		}
		if out.After <= r.After {
			t.Fatalf("after %d it goes on after %d", r.After, out.After)
		}
		r.After = out.After
	}
	if steps < len(others)/2 {
		t.Errorf("it took %d requests", steps)
	}
	w.delete(gone, true)
	for _, user := range others {
		w.inbox(user)
	}
	w.wantNowhere(strconv.Itoa(gone), "secret")
}

// Deletions meet traffic between the same users: no deadlock, no gap, nothing left.
func TestDeletionsUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorldAt(t, testenv.Postgres(t)+"&application_name="+t.Name())
	before := w.deadlocks()
	pods := []*world{w, w.otherPod()}
	u := w.users(12)
	gone, stay := u[:4], u[4:]
	ctx, stop := context.WithCancel(t.Context())
	var traffic errgroup.Group
	for lane := range 4 {
		pod := pods[lane%2]
		traffic.Go(func() error {
			for n := int64(1); ctx.Err() == nil; n++ {
				var batch []socialapi.Message
				for i := range 20 {
					batch = append(batch, message(u[(lane+i)%12], u[(i*5+int(n))%12], "secret"))
				}
				if _, err := pod.client.Send(t.Context(), socialapi.Batch{Lane: fmt.Sprint("lane", lane), Number: n, Messages: batch}); err != nil {
					return err
				}
				_, err := pod.do(t.Context(), u[(lane*3+int(n))%12], u[(lane+2*int(n))%12], actions[int(n)%len(actions)])
				if k := fault.KindOf(err); err != nil && k != fault.NotFound && k != fault.Conflict && k != fault.Invalid {
					return err
				}
			}
			return nil
		})
	}
	for i, user := range gone {
		w.send(fmt.Sprint("other lane ", i), 1, message(user, stay[0], "secret"))
		w.accounts.remove(user)
		w.delete(user, false)
	}
	stop()
	if err := traffic.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, user := range gone {
		w.delete(user, true)
		w.wantNowhere(strconv.Itoa(user))
	}
	w.checkNoDeadlocks(before, pods)
	for _, user := range stay {
		w.checkSnapshot(user, w.inbox(user))
	}
}
