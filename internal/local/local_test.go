package local

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// dataDir is a temporary folder where Postgres may go when we are root: t.TempDir
// is closed to others.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "local-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

// reports is what a deployment said.
type reports struct {
	mu    sync.Mutex
	lines []string
	news  chan struct{}
}

func (r *reports) add(line string) {
	r.mu.Lock()
	r.lines = append(r.lines, line)
	r.mu.Unlock()
	r.news <- struct{}{}
}

func options(t *testing.T) (Options, *reports) {
	t.Helper()
	said := &reports{news: make(chan struct{}, 100)}
	return Options{
		BinDir:     fakeServices(t),
		DataDir:    dataDir(t),
		ListenAddr: "127.0.0.1:0",
		Gateways:   2,
		Environ:    []string{fakeVariable + "=1", "GORACE=atexit_sleep_ms=0"},
		Report:     said.add,
	}, said
}

func start(t *testing.T, o Options) *Deployment {
	t.Helper()
	d, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return d
}

func says(err error, words string) bool { return err != nil && strings.Contains(err.Error(), words) }

// environ is what a service says it was started with.
func environ(t *testing.T, d *Deployment, name string) map[string]string {
	t.Helper()
	s, ok := d.Service(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	_, body := get(t, s.PublicURL+"/environ")
	var lines []string
	if err := json.Unmarshal([]byte(body), &lines); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		env[key] = value
	}
	return env
}

func TestDeploymentServesAndFindsItself(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	o.Env = map[string][]string{"gateway": {"EXTRA=all"}, "gateway-2": {"EXTRA=second"}}
	d := start(t, o)
	if _, body := get(t, d.URL()+"/"); !strings.HasPrefix(body, "gateway / from ") {
		t.Errorf("the door says %q", body)
	}
	if _, body := get(t, d.URL()+"/get_user"); !strings.HasPrefix(body, "accounts /get_user from ") {
		t.Errorf("the door says %q", body)
	}
	accounts, social := environ(t, d, "accounts"), environ(t, d, "social")
	one, two := environ(t, d, "gateway-1"), environ(t, d, "gateway-2")
	if one["ACCOUNTS_URL"] != "http://"+accounts["INTERNAL_ADDR"] || one["SOCIAL_URL"] != "http://"+social["INTERNAL_ADDR"] ||
		social["ACCOUNTS_URL"] != one["ACCOUNTS_URL"] {
		t.Errorf("they look for each other elsewhere: %v %v %v", accounts, social, one)
	}
	if one["EXTRA"] != "all" || two["EXTRA"] != "second" || accounts["EXTRA"] != "" {
		t.Errorf("extra settings: %q %q %q", one["EXTRA"], two["EXTRA"], accounts["EXTRA"])
	}
	half := strconv.Itoa(max(1, runtime.NumCPU()/2))
	if one["GOMAXPROCS"] != half || social["GOMAXPROCS"] != half || accounts["GOMAXPROCS"] != "" {
		t.Errorf("processors: %q %q %q", one["GOMAXPROCS"], social["GOMAXPROCS"], accounts["GOMAXPROCS"])
	}
	if one["INTERNAL_SECRET"] != d.InternalSecret() || one["PIN_PEPPER"] != "" || one["DATABASE_URL"] != "" {
		t.Errorf("the gateway knows too much or too little: %v", one)
	}
	if one["TRUSTED_PROXIES"] != "127.0.0.1/32,::1/128" || one["DRAIN_PAUSE"] != "0s" || len(accounts["PIN_PEPPER"]) < 16 {
		t.Errorf("settings: %v %v", one, accounts)
	}
}

func TestEachServiceHasItsOwnRole(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	d := start(t, o)
	for _, name := range []string{"accounts", "social"} {
		conn, err := pgx.Connect(t.Context(), environ(t, d, name)["DATABASE_URL"])
		if err != nil {
			t.Fatal(err)
		}
		var role, schema string
		if err := conn.QueryRow(t.Context(), "SELECT current_user, current_schema()").Scan(&role, &schema); err != nil {
			t.Fatal(err)
		}
		if role != name || schema != name {
			t.Errorf("%s is the role %s in the schema %s", name, role, schema)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestKilledServiceStaysDownUntilItIsStarted(t *testing.T) {
	t.Parallel()
	o, said := options(t)
	d := start(t, o)
	before, _ := d.Service("gateway-1")
	pid := before.PID()
	if err := d.Kill(t.Context(), "gateway-1"); err != nil {
		t.Fatal(err)
	}
	if isReady(t.Context(), before.OpsURL) {
		t.Error("a killed gateway answers")
	}
	if _, body := get(t, d.URL()+"/"); !strings.HasPrefix(body, "gateway /") {
		t.Errorf("without it the door says %q", body)
	}
	if err := d.Start(t.Context(), "gateway-1"); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(t.Context(), "gateway-1"); err != nil {
		t.Fatal(err)
	}
	if after, _ := d.Service("gateway-1"); after.PID() == pid || after.PublicURL != before.PublicURL {
		t.Errorf("before %v, after %v", before, after)
	}
	if len(said.lines) > 0 {
		t.Errorf("it reported %q", said.lines)
	}
}

func TestTerminatedServiceEndsInGoodOrder(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	d := start(t, o)
	if err := d.Terminate(t.Context(), "social"); err != nil {
		t.Fatal(err)
	}
	s, _ := d.Service("social")
	log, err := os.ReadFile(s.LogFile)
	if err != nil || !strings.HasSuffix(string(log), `"serve finished"}`+"\n") {
		t.Errorf("the log is %q, %v", log, err)
	}
	if err := d.Terminate(t.Context(), "social"); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestServiceThatDiesIsReportedAndStartedAgain(t *testing.T) {
	t.Parallel()
	o, said := options(t)
	d := start(t, o)
	s, _ := d.Service("accounts")
	pid := s.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-said.news
	eventually(t, func() bool { return s.PID() != pid && isReady(t.Context(), s.OpsURL) })
	want := "accounts died (signal: killed; its log is " + s.LogFile + ") and is started again"
	if !slices.Equal(said.lines, []string{want}) {
		t.Errorf("it said %q", said.lines)
	}
}

func TestStoresAreKilledAndStartedLikeServices(t *testing.T) {
	t.Parallel()
	o, said := options(t)
	d := start(t, o)
	for _, name := range []string{"postgres", "redis"} {
		if err := d.Kill(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pgx.Connect(t.Context(), d.PostgresURL()); err == nil {
		t.Error("a killed Postgres answers")
	}
	for _, name := range []string{"postgres", "redis"} {
		if err := d.Start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := d.Ready(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	// Behind the deployment's back it is an accident.
	if err := d.Redis().Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-said.news
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimSuffix(d.RedisURL()[strings.LastIndex(d.RedisURL(), "@")+1:], "/0"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func TestNextRunFindsTheSameDataAndSecrets(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	first, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	secret, pepper := first.InternalSecret(), environ(t, first, "accounts")["PIN_PEPPER"]
	execute(t, first.PostgresURL(), "CREATE TABLE accounts.kept AS SELECT 1")
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := start(t, o)
	if second.InternalSecret() != secret || environ(t, second, "accounts")["PIN_PEPPER"] != pepper {
		t.Error("the secrets are others")
	}
	execute(t, second.PostgresURL(), "DROP TABLE accounts.kept")
	info, err := os.Stat(filepath.Join(o.DataDir, "secrets.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secrets: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(o.DataDir, "logs", "gateway-2.old.log")); err != nil {
		t.Errorf("the first run's log: %v", err)
	}
}

func execute(t *testing.T, address, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestGivenStoresAreUsedAndLeftRunning(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	owner := start(t, o)
	guest, _ := options(t)
	guest.PostgresURL, guest.RedisURL = owner.PostgresURL(), owner.RedisURL()
	d, err := Start(t.Context(), guest)
	if err != nil {
		t.Fatal(err)
	}
	if d.Postgres() != nil || d.Redis() != nil || environ(t, d, "gateway-1")["REDIS_URL"] != owner.RedisURL() {
		t.Error("it started stores of its own")
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, owner.PostgresURL(), "SELECT 1")
}

func TestStopEndsOpenSockets(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	d, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, strings.TrimPrefix(d.URL(), "http://"))
	say(t, conn, "hello")
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the socket outlived the deployment")
	}
	if _, err := http.DefaultTransport.RoundTrip(request(t, d.URL())); err == nil {
		t.Error("the door is still open")
	}
}

func request(t *testing.T, address string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	return req
}

func TestUnknownProgram(t *testing.T) {
	t.Parallel()
	d := &Deployment{}
	for _, err := range []error{d.Kill(t.Context(), "nobody"), d.Start(t.Context(), "nobody"), d.Ready(t.Context(), "nobody")} {
		if !says(err, "there is no program nobody") {
			t.Errorf("got %v", err)
		}
	}
}
