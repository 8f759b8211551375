package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/stores"
)

// dropLockTimeout keeps a test that left a transaction open from hanging its own
// cleanup.
const dropLockTimeout = "5s"

// Postgres returns the URL of an empty schema of the test's own: what the test
// creates without naming a schema goes there. The schema is dropped after the test.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := shared.postgres.get(sharedPostgres)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return schema(t, server)
}

// PostgresServer starts a server for this test alone, which may be killed and
// started again.
func PostgresServer(t testing.TB) *stores.Postgres {
	t.Helper()
	dir, err := serverFolder("postgres-")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	server, err := stores.StartPostgres(t.Context(), stores.PostgresOptions{Dir: dir})
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() { check(t, server.Kill(context.WithoutCancel(t.Context()))) })
	return server
}

// sharedPostgres is the given server, or a new one for the whole process.
func sharedPostgres() (string, error) {
	if given := os.Getenv("TEST_POSTGRES_URL"); given != "" {
		return given, nil
	}
	dir, err := serverFolder("postgres-")
	if err != nil {
		return "", err
	}
	server, err := stores.StartPostgres(context.Background(), stores.PostgresOptions{Dir: dir})
	if err != nil {
		return "", err
	}
	atEnd(server.Kill) // nothing in it is worth a checkpoint
	return server.URL(), nil
}

// schema makes a schema and returns the URL that leads into it.
func schema(t testing.TB, server string) string {
	t.Helper()
	name := pgx.Identifier{"test_" + strings.ToLower(rand.Text())}.Sanitize()
	if err := execute(t.Context(), server, "CREATE SCHEMA "+name); err != nil {
		t.Fatalf("testenv: make a schema: %v", err)
	}
	t.Cleanup(func() {
		check(t, execute(context.WithoutCancel(t.Context()), server,
			"SET lock_timeout = '"+dropLockTimeout+"'", "DROP SCHEMA "+name+" CASCADE"))
	})
	address, err := withParameter(server, "search_path", strings.Trim(name, `"`))
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return address
}

func execute(ctx context.Context, server string, statements ...string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// withParameter adds a query parameter to a URL; Postgres takes an unknown one as
// a setting of the session.
func withParameter(address, name, value string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the Postgres URL: %w", err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// serverFolder makes a new folder for a server.
func serverFolder(prefix string) (string, error) {
	parent, err := sharedFolder()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // Postgres may be another user
}

// check reports a failed cleanup.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("testenv: clean up: %v", err)
	}
}
