package accounts

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// ear hears what is rung on a user's channel.
type ear struct{ *redis.PubSub }

// listenTo is subscribed when it returns.
func listenTo(t *testing.T, cfg Config, user int) ear {
	t.Helper()
	client, err := bell.Connect(string(cfg.RedisURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	sub := client.Subscribe(t.Context(), bell.Channels{Prefix: cfg.RedisPrefix}.User(user))
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ear{sub}
}

// expect waits for the rings of these sessions, in any order.
func (e ear) expect(t *testing.T, sessions ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want, got := map[string]int{}, map[string]int{}
	for _, s := range sessions {
		want[s]++
		m, err := e.ReceiveMessage(ctx)
		if err != nil {
			t.Fatalf("no ring: %v", err)
		}
		env, err := bell.Decode(m.Payload)
		if err != nil || len(env.Events) > 0 {
			t.Errorf("heard %s, %v", m.Payload, err)
		}
		got[env.Session]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rings (-want +got):\n%s", diff)
	}
}

func TestAnEndRingsOnTheUsersChannelAlsoWhenRepeated(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	bob := register(t, s, "bob", "1234")
	ear := listenTo(t, cfg, bob.ID)
	phone, laptop := begin(t, s, "bob", "1234"), begin(t, s, "bob", "1234")
	end(t, s, bob.ID, phone.Session)
	ear.expect(t, phone.Session)
	end(t, s, bob.ID, phone.Session) // its row is gone; the first ring may have been lost
	end(t, s, bob.ID, laptop.Session)
	ear.expect(t, phone.Session, laptop.Session)
}

func TestTheSessionThatMakesRoomRings(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.MaxSessionsPerAccount = 1
	s := start(t, cfg)
	bob := register(t, s, "bob", "1234")
	ear := listenTo(t, cfg, bob.ID)
	first, second := begin(t, s, "bob", "1234"), begin(t, s, "bob", "1234")
	ear.expect(t, first.Session)
	begin(t, s, "bob", "1234")
	ear.expect(t, second.Session)
}

// The ringer must not stop before the requests that ring.
func TestAnEndThatIsUnderWayWhenTheServiceStopsStillRings(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.ListenAddr, cfg.InternalAddr, cfg.OpsAddr = address(t), address(t), address(t)
	bob := makeSession(t, cfg)
	ear := listenTo(t, cfg, bob.ID)

	book, log := testenv.NewLogBook()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, cfg, service.NewProcess(cfg.Common, log)) }()
	book.Await(t, `"msg":"ready"`)

	lock := lockSession(t, cfg, bob.Session)
	ended := make(chan error, 1)
	go func() {
		c := accountsapi.NewClient("http://"+cfg.InternalAddr, string(cfg.InternalSecret))
		defer c.Close()
		ended <- c.End(t.Context(), accountsapi.EndRequest{User: bob.ID, Session: bob.Session})
	}()
	lock.awaitWaiter(t)
	stop()
	awaitClosed(t, cfg.InternalAddr)
	lock.release(t)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	ear.expect(t, bob.Session)
}

// makeSession makes an account with a session.
func makeSession(t *testing.T, cfg Config) accountsapi.Session {
	t.Helper()
	made, err := start(t, cfg).create(t.Context(), wantingSession(newcomer("bob", "1234")))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// awaitClosed waits until nobody listens on addr any more.
func awaitClosed(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
	t.Fatalf("%s is still open", addr)
}

// rowLock holds the row of a session, so that who wants to delete it waits.
type rowLock struct {
	holder  pgx.Tx
	watcher *pgx.Conn
}

func lockSession(t *testing.T, cfg Config, session string) rowLock {
	t.Helper()
	return hold(t, cfg, `SELECT FROM sessions WHERE id = $1::uuid FOR UPDATE`, session)
}

// hold begins a transaction with a statement, and keeps it open.
func hold(t *testing.T, cfg Config, sql string, args ...any) rowLock {
	t.Helper()
	var conns [2]*pgx.Conn
	for i := range conns {
		conn, err := pgx.Connect(t.Context(), string(cfg.DatabaseURL))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		conns[i] = conn
	}
	tx, err := conns[0].Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
	return rowLock{tx, conns[1]}
}

// awaitWaiter returns once somebody waits for the row.
func (l rowLock) awaitWaiter(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var waiters int
		err := l.watcher.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE $1::integer = ANY (pg_blocking_pids(pid))`,
			int32(l.holder.Conn().PgConn().PID())).Scan(&waiters)
		if err != nil {
			t.Fatal(err)
		}
		if waiters > 0 {
			return
		}
	}
	t.Fatal("nobody waits for the row")
}

func (l rowLock) release(t *testing.T) {
	t.Helper()
	if err := l.holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutRedisSessionsBeginResumeAndEnd(t *testing.T) {
	t.Parallel()

	s, redis, book := startWithRedis(t, func(c *Config) { c.LoginFailuresPerAddress = 1 })
	register(t, s, "bob", "1234")
	if err := redis.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.throttle.timeout = redisTimeout
	bob := begin(t, s, "bob", "1234")
	if _, err := resume(t, s, bob.Token); err != nil {
		t.Error(err)
	}
	end(t, s, bob.ID, bob.Session)
	for range 3 {
		wantOver(t, s, bob.Token)
	}
	book.Await(t, "rings lost")
}
