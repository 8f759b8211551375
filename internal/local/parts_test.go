package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLastWords(t *testing.T) {
	t.Parallel()
	const info = `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"ready"}` + "\n"
	const failed = `{"level":"ERROR","msg":"serve failed","err":"no route"}` + "\n"
	for _, c := range []struct{ name, log, want string }{
		{"nothing", "", ""},
		{"no complaint", info, ""},
		{"an error", info + failed, "serve failed: no route"},
		{"an error that it lived through", failed + info, ""},
		{"wrong settings", "gateway: settings are wrong:\n  REDIS_URL is required\n", "gateway: settings are wrong: REDIS_URL is required"},
		{"a panic", info + "panic: out of luck\n\ngoroutine 1 [running]:\n" + strings.Repeat("frame\n", 20),
			"panic: out of luck goroutine 1 [running]: frame frame frame frame"},
	} {
		if got := lastWords([]byte(c.log)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestURLForAnotherUser(t *testing.T) {
	t.Parallel()
	got, err := as("postgres://admin:secret@db:5432/chat?sslmode=require", "social", "p@ss")
	if want := "postgres://social:p%40ss@db:5432/chat?sslmode=require"; err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if _, err := as("host=db user=admin", "social", "p"); !says(err, "POSTGRES_URL is not of the form") {
		t.Errorf("got %v", err)
	}
}

func TestDamagedSecretsAreNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, text := range []string{"", "{", `{"internal_secret":"only this one"}`} {
		file := filepath.Join(dir, "secrets.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keptSecrets(dir); !says(err, "are damaged") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDataDirThatPostgresCannotReachIsReplaced(t *testing.T) {
	t.Parallel()
	open := dataDir(t)
	if got, err := UsableDataDir(open, "/elsewhere"); got != open || err != nil {
		t.Errorf("a reachable one: %s, %v", got, err)
	}
	if os.Geteuid() != 0 {
		return // Postgres goes where we go
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := UsableDataDir(closed, open); got != open || err != nil {
		t.Errorf("an unreachable one: %s, %v", got, err)
	}
	if _, err := UsableDataDir(closed, ""); !says(err, "who may not enter") {
		t.Errorf("without another: %v", err)
	}
}

// moody is a program that fails to start some times, and dies when told.
type moody struct {
	failures int
	launched chan struct{}
	ended    chan struct{}
}

func (m *moody) launch(context.Context) error {
	if m.failures > 0 {
		m.failures--
		return errors.New("not now")
	}
	m.ended = make(chan struct{})
	m.launched <- struct{}{}
	return nil
}
func (m *moody) done() <-chan struct{}      { return m.ended }
func (m *moody) epitaph() string            { return "tired" }
func (m *moody) stop(context.Context) error { return nil }
func (m *moody) kill(context.Context) error { return nil }

func TestUnitIsRevivedHoweverOftenItTakes(t *testing.T) {
	t.Parallel()
	said := make(chan string, 10)
	m := &moody{launched: make(chan struct{}, 10)}
	u := &unit{name: "moody", run: m, report: func(s string) { said <- s }}
	if err := u.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-m.launched
	m.failures = 1
	close(m.ended)
	<-m.launched
	for _, want := range []string{"moody died (tired) and is started again", "moody could not be started again: not now"} {
		if got := <-said; got != want {
			t.Errorf("it said %q, want %q", got, want)
		}
	}
	if err := errors.Join(u.stop(t.Context()), u.stop(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestUnitThatIsBeingRevivedCanBeStopped(t *testing.T) {
	t.Parallel()
	said := make(chan string, 10)
	m := &moody{launched: make(chan struct{}, 10)}
	u := &unit{name: "moody", run: m, report: func(s string) { said <- s }}
	if err := u.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.failures = 1000
	close(m.ended)
	<-said
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := u.stop(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.launched: // the first launch
	case <-time.After(patience):
	}
	if len(m.launched) > 0 {
		t.Error("it was started after it was stopped")
	}
}
