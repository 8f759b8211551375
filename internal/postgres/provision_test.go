package postgres_test

import (
	"errors"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"pymessage/internal/postgres"
	"pymessage/internal/testenv"
)

// as is how a role connects to the server of adminURL.
func as(t *testing.T, adminURL string, role postgres.Role) string {
	t.Helper()
	u, err := url.Parse(adminURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role.Name, role.Password)
	return u.String()
}

// wantRefused fails the test unless Postgres says that permission is missing.
func wantRefused(t *testing.T, pool *pgxpool.Pool, statement string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), statement)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "42501" {
		t.Errorf("%s: got %v", statement, err)
	}
}

func TestARoleHasItsSchemaAndCannotReadAnothers(t *testing.T) {
	t.Parallel()

	admin := testenv.PostgresServer(t).URL()
	roles := []postgres.Role{{Name: "accounts", Password: "it's one"}, {Name: "social", Password: `and "another"`}}
	for range 2 { // the second changes nothing
		if err := postgres.Provision(t.Context(), admin, roles...); err != nil {
			t.Fatal(err)
		}
	}
	accounts, social := open(t, as(t, admin, roles[0])), open(t, as(t, admin, roles[1]))
	for _, pool := range []*pgxpool.Pool{accounts, social} {
		mustExec(t, pool, `CREATE TABLE notes (n integer)`)
		mustExec(t, pool, `INSERT INTO notes VALUES (1)`)
		wantRefused(t, pool, `CREATE TABLE public.notes (n integer)`)
		wantRefused(t, pool, `CREATE SCHEMA more`)
		wantRefused(t, pool, `CREATE ROLE more`)
		wantRefused(t, pool, `SELECT * FROM pg_authid`)
	}
	wantRefused(t, accounts, `SELECT * FROM social.notes`)
	wantRefused(t, accounts, `CREATE TABLE social.more (n integer)`)
	wantRefused(t, accounts, `SET ROLE social`)
	wantRefused(t, social, `SELECT * FROM accounts.notes`)
	wantRefused(t, social, `DROP TABLE accounts.notes`)
}

func TestProvisioningSetsANewPassword(t *testing.T) {
	t.Parallel()

	admin := testenv.PostgresServer(t).URL()
	first, second := postgres.Role{Name: `odd "name"`, Password: "first"}, postgres.Role{Name: `odd "name"`, Password: "second"}
	for _, role := range []postgres.Role{first, second} {
		if err := postgres.Provision(t.Context(), admin, role); err != nil {
			t.Fatal(err)
		}
		mustExec(t, open(t, as(t, admin, role)), `CREATE TABLE IF NOT EXISTS notes (n integer)`)
	}
	if err := open(t, as(t, admin, first)).Ping(t.Context()); err == nil {
		t.Error("the old password is still good")
	}
}

func TestProvisioningAtOnceIsSafe(t *testing.T) {
	t.Parallel()

	admin := testenv.PostgresServer(t).URL()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := postgres.Provision(t.Context(), admin, postgres.Role{Name: "accounts", Password: "x"}, postgres.Role{Name: "social", Password: "y"})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestProvisioningWithoutAServerFails(t *testing.T) {
	t.Parallel()

	if err := postgres.Provision(t.Context(), "postgres://nobody@127.0.0.1:1/none", postgres.Role{Name: "accounts"}); err == nil {
		t.Error("no error")
	}
}
