package accounts

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

// fakeSocial is told of deleted accounts, and answers as the test wants.
type fakeSocial struct {
	url    string
	heard  chan socialapi.DeleteRequest // what it was told, in order
	answer func(r socialapi.DeleteRequest) (socialapi.DeleteResponse, error)
}

func newFakeSocial(t *testing.T, cfg Config) *fakeSocial {
	f := &fakeSocial{
		heard: make(chan socialapi.DeleteRequest, 1000),
		answer: func(socialapi.DeleteRequest) (socialapi.DeleteResponse, error) {
			return socialapi.DeleteResponse{Done: true}, nil
		},
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+socialapi.PathDelete, httpjson.RequireSecret(string(cfg.InternalSecret))(
		httpjson.Endpoint(testenv.Logger(t), func(_ *http.Request, r socialapi.DeleteRequest) (socialapi.DeleteResponse, error) {
			f.heard <- r
			return f.answer(r)
		})))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// hears waits for what social is told next.
func (f *fakeSocial) hears(t *testing.T, want socialapi.DeleteRequest) {
	t.Helper()
	select {
	case got := <-f.heard:
		if got != want {
			t.Errorf("social was told %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("social was never told %+v", want)
	}
}

// withSocial is a rest whose server has a neighbour.
func withSocial(t *testing.T) (*rest, *fakeSocial) {
	t.Helper()
	r := newRest(t)
	social := newFakeSocial(t, r.cfg)
	r.s.social = socialapi.NewClient(social.url, string(r.cfg.InternalSecret))
	t.Cleanup(r.s.social.Close)
	r.s.deletionGrace = 0
	return r, social
}

// work works on the outbox until the test is over.
func work(t *testing.T, s *server) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { _ = s.workOutbox(ctx) }) // ends only when it is stopped
	t.Cleanup(func() { stop(); working.Wait() })
}

// awaitEmptyOutbox asks until social knows everything.
func awaitEmptyOutbox(t *testing.T, s *server) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		n, err := s.store.departures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are still in the outbox", n)
		}
	}
}

const deletion = "/accounts/v1/me/deletion"

func pin(p string) map[string]any { return map[string]any{"pin": p} }

func TestADeletedAccountIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	r, social := withSocial(t)
	work(t, r.s)
	alice, id := r.signUp("Alice")
	phone := r.logIn("alice", "1234")
	rings := listenTo(t, r.cfg, id)
	r.WantError(401, "unauthorized", "POST", deletion, pin("1234"))
	r.as("guess").WantError(401, "unauthorized", "POST", deletion, pin("1234"))
	alice.WantError(403, "forbidden", "POST", deletion, pin("4321"))
	alice.WantError(403, "forbidden", "POST", deletion, map[string]any{})
	alice.WantError(400, "invalid", "POST", deletion, "1234")
	phone.Want(204, "POST", deletion, pin("1234"))
	rings.expectEnd(t, "*", "")
	for _, token := range []*rest{alice, phone} {
		token.WantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
		token.WantError(401, "unauthorized", "POST", deletion, pin("1234"))
	}
	r.WantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
	if got := ask(t, "GET", fmt.Sprintf("%s/get_user?id=%d", r.Base, id)); got.Status != 404 {
		t.Errorf("get_user: %+v", got)
	}
	social.hears(t, socialapi.DeleteRequest{User: id})
	social.hears(t, socialapi.DeleteRequest{User: id, Final: true})
	awaitEmptyOutbox(t, r.s)
	wantNowhere(t, r.s, map[string]string{"departed.id": ""}, "Alice", strconv.Itoa(id))

	bob, other := r.signUp("alice") // the name is free, and of somebody else
	if other == id {
		t.Error("the id was given again")
	}
	if found := bob.Want(200, "GET", "/accounts/v1/users?username=alice", nil); found["users"].([]any)[0].(map[string]any)["id"] != float64(other) {
		t.Errorf("found %v", found)
	}
}

// wantNowhere looks for texts in every column of every table of the schema; where
// names the columns that may have them.
func wantNowhere(t *testing.T, s *server, where map[string]string, texts ...string) {
	t.Helper()
	rows, err := s.store.pool.Query(t.Context(), `
		SELECT table_name, column_name
		FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c [2]string, err error) {
		return c, row.Scan(&c[0], &c[1])
	})
	if err != nil || len(columns) < 10 {
		t.Fatal(columns, err)
	}
	for _, c := range columns {
		if _, may := where[c[0]+"."+c[1]]; may {
			continue
		}
		var found []string
		err := s.store.pool.QueryRow(t.Context(), `
			SELECT coalesce(array_agg(t::text), '{}')
			FROM `+pgx.Identifier{c[0]}.Sanitize()+` t
			WHERE EXISTS (SELECT FROM unnest($1::text[]) AS text
				WHERE strpos(lower(t.`+pgx.Identifier{c[1]}.Sanitize()+`::text), lower(text)) > 0)`, texts).Scan(&found)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			t.Errorf("%s.%s still has %v", c[0], c[1], found)
		}
	}
}

func TestAnIDOfADeletedAccountIsNeverGivenAgain(t *testing.T) {
	t.Parallel()
	r, _ := withSocial(t)
	next := []int{12345678, 12345678, 12345678, 87654321}
	r.s.store.newID = func() (id int) { id, next = next[0], next[1:]; return id }
	alice, _ := r.signUp("alice")
	alice.Want(204, "POST", deletion, pin("1234"))
	if _, id := r.signUp("bob"); id != 87654321 {
		t.Errorf("bob has %d", id)
	}
}

// The insert waits for the deletion, and must not take its place.
func TestAnIDIsNotGivenAgainWhileItsAccountIsBeingDeleted(t *testing.T) {
	t.Parallel()
	r, _ := withSocial(t)
	next := []int{12345678, 12345678, 87654321}
	r.s.store.newID = func() (id int) { id, next = next[0], next[1:]; return id }
	r.signUp("alice")
	lock := hold(t, r.cfg, `
		WITH gone AS (DELETE FROM users WHERE id = 12345678 RETURNING id)
		INSERT INTO departed (id) SELECT id FROM gone`)
	made := make(chan int, 1)
	go func() {
		session, err := r.s.create(t.Context(), newcomer("bob", "1234"))
		if err != nil {
			t.Error(err)
		}
		made <- session.ID
	}()
	lock.awaitWaiter(t)
	if err := lock.holder.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := <-made; id != 87654321 {
		t.Errorf("bob has %d", id)
	}
}

func TestSocialIsToldUntilItHasDeletedEverything(t *testing.T) {
	t.Parallel()
	r, social := withSocial(t)
	tries := 0
	social.answer = func(d socialapi.DeleteRequest) (socialapi.DeleteResponse, error) {
		switch tries++; tries {
		case 1:
			return socialapi.DeleteResponse{}, fault.New(fault.Unavailable, "as the test wants")
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			return socialapi.DeleteResponse{After: 17}, nil
		}
		return socialapi.DeleteResponse{Done: true}, nil
	}
	alice, id := r.signUp("alice")
	alice.Want(204, "POST", deletion, pin("1234"))
	for try := range 2 { // as the worker does, but for the pauses
		if err := r.s.emptyOutbox(t.Context()); err != nil {
			t.Fatal(err)
		}
		social.hears(t, socialapi.DeleteRequest{User: id})
		var tries int
		var pause float64
		err := r.s.store.pool.QueryRow(t.Context(), `SELECT tries, extract(epoch FROM due_at - now()) FROM outbox`).Scan(&tries, &pause)
		if least := float64(int(1) << try); err != nil || tries != try+1 || pause < least-0.9 || pause > least {
			t.Errorf("after %d tries there is a pause of %v, %v", tries, pause, err)
		}
		execute(t, r.s, `UPDATE outbox SET due_at = now()`)
	}
	work(t, r.s)
	social.hears(t, socialapi.DeleteRequest{User: id})
	social.hears(t, socialapi.DeleteRequest{User: id, After: 17})
	social.hears(t, socialapi.DeleteRequest{User: id, Final: true})
	awaitEmptyOutbox(t, r.s)
}

func TestSeveralPodsShareTheOutbox(t *testing.T) {
	t.Parallel()
	r, social := withSocial(t)
	const accounts = 20
	want := map[socialapi.DeleteRequest]int{}
	for i := range accounts {
		user, id := r.signUp(fmt.Sprint("user", i))
		user.Want(204, "POST", deletion, pin("1234"))
		want[socialapi.DeleteRequest{User: id}] = 1
		want[socialapi.DeleteRequest{User: id, Final: true}] = 1
	}
	for range 3 {
		other := start(t, r.cfg)
		other.social, other.deletionGrace = r.s.social, 0
		work(t, other)
	}
	awaitEmptyOutbox(t, r.s)
	got := map[socialapi.DeleteRequest]int{}
	for range 2 * accounts {
		got[<-social.heard]++
	}
	if diff := cmp.Diff(want, got); diff != "" || len(social.heard) > 0 {
		t.Errorf("(-want +got):\n%s and %d more", diff, len(social.heard))
	}
}

func TestTheWorkOfAPodThatDiedIsTakenOver(t *testing.T) {
	t.Parallel()
	r, social := withSocial(t)
	alice, id := r.signUp("alice")
	alice.Want(204, "POST", deletion, pin("1234"))
	if d, ok, err := r.s.store.takeDeparture(t.Context(), time.Minute); !ok || d.user != id || err != nil {
		t.Fatal(d, ok, err)
	}
	if d, ok, err := r.s.store.takeDeparture(t.Context(), time.Minute); ok || err != nil {
		t.Fatalf("a second pod took %+v as well, %v", d, err)
	}
	execute(t, r.s, `UPDATE outbox SET due_at = now()`) // the minute is over
	work(t, r.s)
	social.hears(t, socialapi.DeleteRequest{User: id})
	social.hears(t, socialapi.DeleteRequest{User: id, Final: true})
	awaitEmptyOutbox(t, r.s)
}

func TestADeletionThatIsNotCommittedChangesNothing(t *testing.T) {
	t.Parallel()
	r, _ := withSocial(t)
	alice, id := r.signUp("alice")
	execute(t, r.s, `INSERT INTO departed (id) VALUES ($1)`, id) // a conflict within the transaction
	if status, answer := alice.Do("POST", deletion, pin("1234")); status != 500 || strings.Contains(fmt.Sprint(answer), "departed") {
		t.Errorf("%d %v", status, answer)
	}
	alice.Want(200, "GET", "/accounts/v1/me", nil)
	if n, err := r.s.store.departures(t.Context()); n != 0 || err != nil {
		t.Errorf("%d in the outbox, %v", n, err)
	}
}
