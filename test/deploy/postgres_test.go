package deploy_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pymessage/internal/postgres"
	"pymessage/internal/stores"
	"pymessage/internal/testenv"
)

// Passwords that do harm where they are not quoted.
const (
	accountsPassword = `it's "the" \ $HOME $(id) :accounts`
	socialPassword   = `'; DROP ROLE social; --`
)

// noPrivilege is Postgres' code for what a role may not do.
const noPrivilege = "42501"

var initScript = filepath.Join(root, "deploy", "postgres", "init.sh")

// runInit runs init.sh as the image of Postgres does, on a server of ours.
func runInit(t *testing.T, server *stores.Postgres, variables ...string) error {
	t.Helper()
	programs, err := stores.FindPostgres()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	path, err := filepath.Abs(initScript)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append([]string{
		"PATH=" + programs + ":/usr/bin:/bin", "PGHOST=" + u.Hostname(), "PGPORT=" + u.Port(), "PGPASSWORD=" + password,
		"POSTGRES_USER=" + u.User.Username(), "POSTGRES_DB=" + strings.TrimPrefix(u.Path, "/"),
	}, variables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func passwords(accounts, social string) []string {
	return []string{"ACCOUNTS_DB_PASSWORD=" + accounts, "SOCIAL_DB_PASSWORD=" + social}
}

func connect(t *testing.T, server *stores.Postgres, role, password string) (*pgx.Conn, error) {
	t.Helper()
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	conn, err := pgx.Connect(t.Context(), u.String())
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
	}
	return conn, err
}

func mustConnect(t *testing.T, server *stores.Postgres, role, password string) *pgx.Conn {
	t.Helper()
	conn, err := connect(t, server, role, password)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestRolesOfTheServicesAreKeptApart(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	if err := runInit(t, server, passwords(accountsPassword, socialPassword)...); err != nil {
		t.Fatal(err)
	}
	accounts := mustConnect(t, server, "accounts", accountsPassword)
	social := mustConnect(t, server, "social", socialPassword)
	run(t, accounts, "CREATE TABLE users (id int)")
	run(t, social, "CREATE TABLE inbox (id int)")
	forbidden(t, accounts, "social", "inbox")
	forbidden(t, social, "accounts", "users")
	var where string
	if err := social.QueryRow(t.Context(), "SELECT schemaname FROM pg_tables WHERE tablename = 'inbox'").Scan(&where); err != nil || where != "social" {
		t.Errorf("the table of social is in schema %q: %v", where, err)
	}
}

// forbidden checks that a role can do nothing with the schema and table of the
// other, nor in the schema where both could meet, nor become the other.
func forbidden(t *testing.T, conn *pgx.Conn, other, table string) {
	t.Helper()
	for _, s := range []string{
		"SELECT * FROM " + other + "." + table,
		"INSERT INTO " + other + "." + table + " VALUES (1)",
		"CREATE TABLE " + other + ".x (id int)",
		"DROP SCHEMA " + other + " CASCADE",
		"SET ROLE " + other,
		"SET ROLE postgres",
		"CREATE TABLE public.x (id int)",
		"CREATE ROLE x",
	} {
		var refused *pgconn.PgError
		if _, err := conn.Exec(t.Context(), s); !errors.As(err, &refused) || refused.Code != noPrivilege {
			t.Errorf("%s as %s: %v; want permission denied", s, conn.Config().User, err)
		}
	}
}

func TestInitMayRunAgain(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	if err := runInit(t, server, passwords("first", socialPassword)...); err != nil {
		t.Fatal(err)
	}
	run(t, mustConnect(t, server, "accounts", "first"), "CREATE TABLE users AS SELECT 42 AS id")
	before := state(t, server)
	if err := runInit(t, server, passwords("second", socialPassword)...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, state(t, server)); diff != "" {
		t.Errorf("the second run changed:\n%s", diff)
	}
	if _, err := connect(t, server, "accounts", "first"); err == nil {
		t.Error("the old password is still right")
	}
	var id int
	if err := mustConnect(t, server, "accounts", "second").QueryRow(t.Context(), "SELECT id FROM users").Scan(&id); err != nil || id != 42 {
		t.Errorf("what was stored before: %d, %v", id, err)
	}
}

func TestInitLeavesWhatTheProgramsOwnProvisioningLeaves(t *testing.T) {
	t.Parallel()
	byScript, byProgram := testenv.PostgresServer(t), testenv.PostgresServer(t)
	if err := runInit(t, byScript, passwords(accountsPassword, socialPassword)...); err != nil {
		t.Fatal(err)
	}
	err := postgres.Provision(t.Context(), byProgram.URL(),
		postgres.Role{Name: "accounts", Password: accountsPassword}, postgres.Role{Name: "social", Password: socialPassword})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state(t, byProgram), state(t, byScript)); diff != "" {
		t.Errorf("differences (- Provision, + init.sh):\n%s", diff)
	}
}

// state is all that provisioning touches, but the passwords.
func state(t *testing.T, server *stores.Postgres) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `
		SELECT 'role ' || rolname || ' ' || to_jsonb(r) - 'oid' - 'rolpassword' FROM pg_roles r WHERE rolname !~ '^pg_'
		UNION ALL
		SELECT 'member ' || m.roleid::regrole || ' ' || m.member::regrole || ' ' || m.admin_option
		FROM pg_auth_members m WHERE m.roleid::regrole::text !~ '^pg_'
		UNION ALL
		SELECT 'schema ' || nspname || ' ' || nspowner::regrole || ' ' || coalesce(nspacl::text, '')
		FROM pg_namespace WHERE nspname !~ '^pg_'
		UNION ALL
		SELECT 'database ' || datname || ' ' || coalesce(datacl::text, '') FROM pg_database
		UNION ALL
		SELECT 'default ' || coalesce(d.defaclrole::regrole::text, '') || ' ' || d.defaclacl::text FROM pg_default_acl d
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestInitRefusesToRunWithoutPasswords(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	for _, name := range []string{"ACCOUNTS_DB_PASSWORD", "SOCIAL_DB_PASSWORD"} {
		variables := passwords("one", "two")
		for i, v := range variables {
			if strings.HasPrefix(v, name) {
				variables[i] = name + "="
			}
		}
		if err := runInit(t, server, variables...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v; want an error that names it", name, err)
		}
	}
	if lines := state(t, server); strings.Contains(strings.Join(lines, "\n"), "role accounts") {
		t.Error("a refused run made roles")
	}
}

func TestInitIsAProgram(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(initScript)
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("init.sh cannot be run, so that Postgres would read it into its own shell: %v", err)
	}
}
