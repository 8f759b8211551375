package social

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/postgres"
	"pymessage/internal/service"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

const testSecret = "a secret of the tests"

func TestMain(m *testing.M) { testenv.Main(m) }

// world is a social service with a store of its own, asked by HTTP.
type world struct {
	t        testing.TB
	cfg      Config
	pool     *pgxpool.Pool
	accounts *fakeAccounts
	srv      *server
	handler  http.Handler
	client   *socialapi.Client
}

// newWorld starts a service on an empty schema. change may change its settings.
func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	return newWorldAt(t, testenv.Postgres(t), change...)
}

func newWorldAt(t testing.TB, url string, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, accounts: newFakeAccounts(t)}
	redisURL, prefix := testenv.Redis(t)
	w.cfg = Config{
		Redis:       bell.Redis{RedisURL: service.Secret(redisURL), RedisPrefix: prefix},
		DatabaseURL: service.Secret(url), DatabaseConns: 12, AccountsURL: w.accounts.url,
		MessagePolicy: policyAnyone, MaxPendingRequests: 1000, NonceRetention: 168 * time.Hour,
	}
	for _, f := range change {
		f(&w.cfg)
	}
	if err := Migrate(t.Context(), string(w.cfg.DatabaseURL), testenv.Logger(t)); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

// start runs a service on the world's database; called again, it is another pod
// that remembers nothing.
func (w *world) start() {
	w.t.Helper()
	pool, err := postgres.Open(w.t.Context(), string(w.cfg.DatabaseURL), w.cfg.DatabaseConns)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	accounts := accountsapi.NewClient(w.cfg.AccountsURL, testSecret)
	w.t.Cleanup(accounts.Close)
	registry := prometheus.NewRegistry()
	w.pool = pool
	log := testenv.Logger(w.t)
	ringer, closeRinger, err := w.cfg.Redis.OpenRinger(log, registry)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = closeRinger() })
	w.t.Cleanup(ringer.Start(w.t.Context()))
	w.srv = newServer(w.cfg, newStore(pool, w.cfg.MessagePolicy, newMetrics(registry), log), accounts, ringer, log)
	w.handler = w.srv.internalHandler(testSecret, service.MeasureHTTP(registry))
	w.client = w.serve(w.handler)
}

// serve makes a client of h.
func (w *world) serve(h http.Handler) *socialapi.Client {
	srv := httptest.NewServer(h)
	client := socialapi.NewClient(srv.URL, testSecret)
	w.t.Cleanup(srv.Close)
	w.t.Cleanup(client.Close)
	return client
}

// users makes n accounts, of which social has not heard.
func (w *world) users(n int) []int { return w.accounts.create(n) }

// send sends a batch that must be answered.
func (w *world) send(lane string, number int64, messages ...socialapi.Message) socialapi.BatchResult {
	w.t.Helper()
	out, err := w.client.Send(w.t.Context(), socialapi.Batch{Lane: lane, Number: number, Messages: messages})
	if err != nil {
		w.t.Fatalf("batch %d of lane %s: %v", number, lane, err)
	}
	if len(out.Results) != len(messages) {
		w.t.Fatalf("%d messages have %d results", len(messages), len(out.Results))
	}
	return out
}

// store stores a batch past the checks in front of the store.
func (w *world) store(b socialapi.Batch, refused []socialapi.Refusal) (out socialapi.BatchResult, repeated bool, err error) {
	s := &sending{batch: b, refused: refused}
	w.srv.merger.send(s)
	return s.result, s.repeated, s.err
}

// inbox reads a whole inbox in small pages, and checks what holds for each.
func (w *world) inbox(user int) []bell.Event {
	w.t.Helper()
	var all []bell.Event
	for {
		after := int64(len(all))
		page, err := w.client.Read(w.t.Context(), socialapi.ReadRequest{User: user, After: after, Limit: 100})
		if err != nil {
			w.t.Fatal(err)
		}
		for i, e := range page.Events {
			if e.Seq != after+int64(i)+1 {
				w.t.Fatalf("inbox of %d: seq %d where %d belongs", user, e.Seq, after+int64(i)+1)
			}
		}
		all = append(all, page.Events...)
		if len(page.Events) < 100 {
			if page.Head != int64(len(all)) {
				w.t.Fatalf("inbox of %d: %d events and head %d", user, len(all), page.Head)
			}
			return all
		}
	}
}

func (w *world) contents(user int) []string {
	w.t.Helper()
	var out []string
	for _, e := range w.inbox(user) {
		out = append(out, e.Content)
	}
	return out
}

// exec changes the database behind the service's back.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}

// value asks the database for one number.
func (w *world) value(sql string, args ...any) (n int64) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// fakeAccounts answers lookups as accounts does.
type fakeAccounts struct {
	url string

	mu     sync.Mutex // guards all below
	ids    map[int]bool
	next   int
	broken bool
	asked  []int
}

func newFakeAccounts(t testing.TB) *fakeAccounts {
	a := &fakeAccounts{ids: map[int]bool{}, next: minID + 1000}
	mux := http.NewServeMux()
	mux.Handle("POST "+accountsapi.PathLookup,
		httpjson.RequireSecret(testSecret)(httpjson.Endpoint(testenv.Logger(t), a.lookup)))
	mux.Handle("POST "+accountsapi.PathResume,
		httpjson.RequireSecret(testSecret)(httpjson.Endpoint(testenv.Logger(t), a.resume)))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

// resume takes "token of ID" for a token, of users that there are.
func (a *fakeAccounts) resume(_ *http.Request, in accountsapi.Token) (out accountsapi.Session, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken {
		panic(http.ErrAbortHandler)
	}
	if _, err := fmt.Sscanf(in.Token, "token of %d", &out.ID); err != nil || !a.ids[out.ID] || in.Address != "127.0.0.1" {
		return accountsapi.Session{}, fault.New(fault.Unauthorized, "session is over")
	}
	return out, nil
}

func (a *fakeAccounts) lookup(_ *http.Request, in accountsapi.LookupRequest) (out accountsapi.LookupResponse, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken {
		panic(http.ErrAbortHandler)
	}
	a.asked = append(a.asked, in.IDs...)
	for _, id := range in.IDs {
		if a.ids[id] {
			out.Users = append(out.Users, accountsapi.User{ID: id, Username: "somebody"})
		}
	}
	return out, nil
}

func (a *fakeAccounts) create(n int) []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []int
	for range n {
		a.next++
		a.ids[a.next] = true
		out = append(out, a.next)
	}
	return out
}

// remove deletes an account.
func (a *fakeAccounts) remove(user int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ids, user)
}

// setBroken breaks off every answer, or stops doing so.
func (a *fakeAccounts) setBroken(broken bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = broken
}

// timesAsked is how often it was asked for user.
func (a *fakeAccounts) timesAsked(user int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(a.asked), func(id int) bool { return id != user }))
}
