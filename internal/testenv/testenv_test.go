package testenv_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"pymessage/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func TestEachPostgresIsEmptyAndItsOwn(t *testing.T) {
	t.Parallel()
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			conn := connect(t, testenv.Postgres(t))
			if _, err := conn.Exec(t.Context(), "CREATE TABLE notes (n int)"); err != nil {
				t.Fatalf("the schema is not empty: %v", err)
			}
			var schema string
			row := conn.QueryRow(t.Context(), "SELECT table_schema FROM information_schema.tables WHERE table_name = 'notes' AND table_schema = current_schema()")
			if err := row.Scan(&schema); err != nil || !strings.HasPrefix(schema, "test_") {
				t.Errorf("the table is in schema %q: %v", schema, err)
			}
		})
	}
}

func TestSchemaIsDroppedAfterTheTest(t *testing.T) {
	t.Parallel()
	var schema string
	t.Run("user", func(t *testing.T) {
		conn := connect(t, testenv.Postgres(t))
		if err := conn.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
			t.Fatal(err)
		}
	})
	var left int
	conn := connect(t, testenv.Postgres(t))
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("schema %s is still there", schema)
	}
}

func TestPostgresServerForgetsNothingWhenKilled(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	conn := connect(t, server.URL())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE notes AS SELECT 42 AS n"); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a killed server answers")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := connect(t, server.URL()).QueryRow(t.Context(), "SELECT n FROM notes").Scan(&n); err != nil || n != 42 {
		t.Errorf("after the restart: %d, %v", n, err)
	}
}

func TestRedisPrefixesDiffer(t *testing.T) {
	t.Parallel()
	address, one := testenv.Redis(t)
	same, two := testenv.Redis(t)
	if address != same || one == two {
		t.Errorf("%s %s and %s %s: want one server and two prefixes", address, one, same, two)
	}
	if err := client(t, address).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func client(t *testing.T, address string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisServerForgetsAllWhenKilled(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	c := client(t, server.URL())
	if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answers")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), "key").Err(); err != redis.Nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestLoggerMayBeUsedAfterTheTest(t *testing.T) {
	t.Parallel()
	logged := make(chan func(), 1)
	t.Run("ended", func(t *testing.T) {
		log := testenv.Logger(t)
		log.Info("within the test")
		logged <- func() { log.Info("after the test") }
	})
	(<-logged)()
}

// given makes the test binary run one test with stores that we name.
func given(t *testing.T, test string, variables ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), variables...)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "--- FAIL") {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestGivenServersAreUsed(t *testing.T) {
	t.Parallel()
	out := given(t, "TestEachPostgresIsEmptyAndItsOwn", "TEST_POSTGRES_URL="+testenv.Postgres(t), "PATH=")
	if !strings.Contains(out, "--- PASS: TestEachPostgresIsEmptyAndItsOwn") {
		t.Error(out)
	}
	address, _ := testenv.Redis(t)
	out = given(t, "TestRedisPrefixesDiffer", "TEST_REDIS_URL="+address, "PATH=")
	if !strings.Contains(out, "--- PASS: TestRedisPrefixesDiffer") {
		t.Error(out)
	}
}

func TestGivenServerThatIsDownFailsTheTest(t *testing.T) {
	t.Parallel()
	out := given(t, "TestEachPostgresIsEmptyAndItsOwn", "TEST_POSTGRES_URL=postgres://nobody@127.0.0.1:1/none")
	if !strings.Contains(out, "--- FAIL") || strings.Contains(out, "--- SKIP") {
		t.Error(out)
	}
}
