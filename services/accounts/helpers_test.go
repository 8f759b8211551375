package accounts

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/internal/stores"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// home is where the people of the tests log in from.
const home = "192.0.2.1"

// testConfig has stores of the test's own and hashes that cost nothing.
func testConfig(t testing.TB) Config {
	t.Helper()
	redisURL, prefix := testenv.Redis(t)
	return withDefaults(t, Config{
		DatabaseURL: service.Secret(testenv.Postgres(t)),
		Redis:       bell.Redis{RedisURL: service.Secret(redisURL), RedisPrefix: prefix},
	})
}

// withDefaults fills the settings that a test does not care for.
func withDefaults(t testing.TB, cfg Config) Config {
	t.Helper()
	cfg.InternalSecret = "the secret of the internal ports"
	cfg.PinPepper = "pepper-of-the-tests"
	cfg.DatabaseConns = 4
	cfg.Argon2MemoryKiB, cfg.Argon2Time = 32, 1
	cfg.Argon2Workers, cfg.Argon2Queue = 2, 64
	cfg.PinRemembered = time.Minute
	cfg.LoginWindow = 5 * time.Minute
	cfg.LoginFailuresPerAccount, cfg.LoginFailuresPerAddress = 10, 100
	cfg.LoginFailuresOverall, cfg.CreationsPerAddress = 10000, 1000
	cfg.SocialURL = "http://127.0.0.1:1" // nobody is there
	cfg.SessionLifetime, cfg.MaxSessionsPerAccount = time.Hour, 100
	return cfg
}

// migrate makes the schema of cfg.
func migrate(t testing.TB, cfg Config) Config {
	t.Helper()
	if err := Migrate(t.Context(), string(cfg.DatabaseURL), testenv.Logger(t)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// start opens a server whose schema is there.
func start(t testing.TB, cfg Config) *server {
	t.Helper()
	return startLogging(t, cfg, testenv.Logger(t))
}

func startLogging(t testing.TB, cfg Config, log *slog.Logger) *server {
	t.Helper()
	s, err := open(t.Context(), cfg, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	t.Cleanup(s.ringer.Start(t.Context()))
	s.throttle.timeout = 20 * time.Second // a slow machine is not a slow Redis
	return s
}

// startWithRedis opens a server with a Redis of its own, to be broken.
func startWithRedis(t *testing.T, change func(*Config)) (*server, *stores.Redis, *testenv.LogBook) {
	t.Helper()
	cfg := testConfig(t)
	redis := testenv.RedisServer(t)
	cfg.RedisURL = service.Secret(redis.URL())
	change(&cfg)
	book, log := testenv.NewLogBook()
	return startLogging(t, migrate(t, cfg), log), redis, book
}

func newcomer(name, pin string) accountsapi.Credentials {
	return accountsapi.Credentials{Username: name, Pin: pin, Address: home}
}

// register makes an account, which must succeed and begin no session.
func register(t testing.TB, s *server, name, pin string) accountsapi.User {
	t.Helper()
	made, err := s.create(t.Context(), newcomer(name, pin))
	if err != nil || made != withoutSession(made.User) {
		t.Fatalf("creating %s: %+v, %v", name, made, err)
	}
	return made.User
}

// withoutSession is the answer to a login of u that asked for no session.
func withoutSession(u accountsapi.User) accountsapi.Session { return accountsapi.Session{User: u} }

// wantFault fails the test unless err is a fault of this kind.
func wantFault(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("got %v, want a fault of kind %s", err, kind)
	}
}
