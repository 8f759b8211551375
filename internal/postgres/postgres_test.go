package postgres_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/internal/postgres"
	"pymessage/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), url, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func mustExec(t *testing.T, pool *pgxpool.Pool, statement string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestAWrongURLIsRefusedWithoutShowingItsPassword(t *testing.T) {
	t.Parallel()

	for _, url := range []string{"postgres://bob:hunter2@db:port/x", "hunter2://", "postgres://bob:hunter2@%zz"} {
		_, err := postgres.Open(t.Context(), url, 1)
		for _, err := range []error{err, postgres.CheckURL(url)} {
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "DATABASE_URL ") {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
	if err := postgres.CheckURL("postgres://bob:secret@db:5432/x?sslmode=disable"); err != nil {
		t.Error(err)
	}
}

func TestAPoolHasAsManyConnectionsAsTheServiceSays(t *testing.T) {
	t.Parallel()

	url := testenv.Postgres(t)
	for _, url := range []string{url, url + "&pool_max_conns=7", url + "&pool_min_conns=7"} {
		if c := open(t, url).Config(); c.MaxConns != 2 || c.MinConns > 2 {
			t.Errorf("%d to %d connections", c.MinConns, c.MaxConns)
		}
	}
}

func TestATransactionIsCommittedOrLeavesNothing(t *testing.T) {
	t.Parallel()

	pool := open(t, testenv.Postgres(t))
	mustExec(t, pool, `CREATE TABLE notes (n integer)`)
	add := func(n int, result error) error {
		return postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `INSERT INTO notes VALUES ($1)`, n); err != nil {
				return err
			}
			return result
		})
	}
	if err := add(1, nil); err != nil {
		t.Fatal(err)
	}
	if err := add(2, io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	var sum int
	if err := pool.QueryRow(t.Context(), `SELECT sum(n) FROM notes`).Scan(&sum); err != nil || sum != 1 {
		t.Errorf("the sum is %d, %v", sum, err)
	}
}

func TestTheMeaningOfErrorsIsTold(t *testing.T) {
	t.Parallel()

	pool := open(t, testenv.Postgres(t))
	mustExec(t, pool, `CREATE TABLE notes (n integer CONSTRAINT notes_n UNIQUE, text text)`)
	mustExec(t, pool, `INSERT INTO notes VALUES (1, '')`)
	run := func(statement string, args ...any) error {
		_, err := pool.Exec(t.Context(), statement, args...)
		return err
	}

	twice := run(`INSERT INTO notes VALUES (1, '')`)
	if !postgres.IsUniqueViolation(twice, "notes_n") || postgres.IsUniqueViolation(twice, "notes_text") || postgres.IsDataError(twice) {
		t.Errorf("twice the same: %v", twice)
	}
	for _, text := range []string{"NUL \x00", "not UTF-8 \xff"} {
		if err := run(`INSERT INTO notes VALUES (2, $1)`, text); !postgres.IsDataError(err) || postgres.IsUniqueViolation(err, "notes_n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for why, err := range map[string]error{"a defect": run(`SELEKT`), "data": run(`SELECT 1/0`), "twice": twice} {
		if err := postgres.Classify(err, "trying"); fault.KindOf(err) != fault.Internal || !strings.HasPrefix(err.Error(), "trying: ") {
			t.Errorf("%s: %v", why, err)
		}
	}
	if postgres.IsDataError(nil) || postgres.IsDataError(io.EOF) || postgres.IsUniqueViolation(io.EOF, "") {
		t.Error("sees what is not there")
	}
}

func TestWhatAnotherTryMayCureIsUnavailable(t *testing.T) {
	t.Parallel()

	pool := open(t, testenv.Postgres(t))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, givenUp := pool.Exec(cancelled, `SELECT 1`)
	_, timedOut := pool.Exec(t.Context(), `SET LOCAL statement_timeout = 1; SELECT pg_sleep(10)`)
	_, readOnly := pool.Exec(t.Context(), `SET TRANSACTION READ ONLY; CREATE TABLE notes (n integer)`)
	leftAlone := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1)`); err != nil {
			return err
		}
		_, err := pool.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1)`) // waits until Postgres has ended ours
		return err
	})
	_, cutOff := pool.Exec(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
	_, away := open(t, "postgres://nobody@127.0.0.1:1/none").Exec(t.Context(), `SELECT 1`)
	for why, err := range map[string]error{
		"given up": givenUp, "timed out": timedOut, "left alone": leftAlone, "read only": readOnly, "cut off": cutOff, "away": away,
		"broken off": io.ErrUnexpectedEOF, "deadlock": &pgconn.PgError{Code: "40P01"}, "full": &pgconn.PgError{Code: "53300"},
		"no such role yet": &pgconn.PgError{Code: "28P01"}, "no such database yet": &pgconn.PgError{Code: "3D000"},
	} {
		got := postgres.Classify(err, "trying")
		if !errors.Is(got, fault.Unavailable) || !errors.Is(got, err) || err == nil {
			t.Errorf("%s: %v becomes %v", why, err, got)
		}
	}
}

func TestFaultsAreNotClassifiedAgain(t *testing.T) {
	t.Parallel()

	taken := fault.New(fault.Conflict, "taken")
	if got := postgres.Classify(taken, "trying"); got != error(taken) {
		t.Errorf("got %v", got)
	}
	if got := postgres.Classify(nil, "trying"); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestThePoolIsMeasured(t *testing.T) {
	t.Parallel()

	pool := open(t, testenv.Postgres(t))
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(postgres.NewCollector(pool))
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	want := `
# HELP pymessage_postgres_acquires_total Times that a connection was taken from the pool.
# TYPE pymessage_postgres_acquires_total counter
pymessage_postgres_acquires_total 1
# HELP pymessage_postgres_connections Connections of the pool by state: used, idle, connecting.
# TYPE pymessage_postgres_connections gauge
pymessage_postgres_connections{state="connecting"} 0
pymessage_postgres_connections{state="idle"} 0
pymessage_postgres_connections{state="used"} 1
# HELP pymessage_postgres_connections_max How many connections the pool may have.
# TYPE pymessage_postgres_connections_max gauge
pymessage_postgres_connections_max 2
`
	err = testutil.GatherAndCompare(reg, strings.NewReader(want),
		"pymessage_postgres_acquires_total", "pymessage_postgres_connections", "pymessage_postgres_connections_max")
	if err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
