package stores

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// doomedVariable makes the test binary start a Postgres in that folder, tell its
// process id and die by SIGKILL.
const doomedVariable = "STORES_TEST_DOOMED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(doomedVariable); dir != "" {
		runDoomed(dir)
	}
	goleak.VerifyTestMain(m)
}

func runDoomed(dir string) {
	p, err := StartPostgres(context.Background(), PostgresOptions{Dir: dir})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.proc.PID())
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// openFolder is a temporary folder that the server's user can reach when we are
// root: t.TempDir is closed to others.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stores-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func startPostgres(t *testing.T, dir string) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill(context.Background()) })
	return p
}

// query runs a statement that returns one number.
func query(t *testing.T, p *Postgres, sql string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func TestPostgresKeepsItsDataOverRuns(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	p, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	query(t, p, "CREATE TABLE notes AS SELECT 42 AS n")
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if n := query(t, startPostgres(t, dir), "SELECT n FROM notes"); n != 42 {
		t.Errorf("the next run found %d", n)
	}
}

func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	for _, durable := range []bool{true, false} {
		t.Run(fmt.Sprintf("durable %v", durable), func(t *testing.T) {
			t.Parallel()
			p, err := StartPostgres(t.Context(), PostgresOptions{Dir: openFolder(t), Durable: durable})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Kill(context.Background()) })
			fsync := query(t, p, "SELECT (current_setting('fsync') = 'on')::int")
			if (fsync == 1) != durable {
				t.Errorf("fsync is %d", fsync)
			}
			if got := query(t, p, "SELECT (current_setting('server_encoding') = 'UTF8')::int"); got != 1 {
				t.Error("the encoding is not UTF8")
			}
		})
	}
}

func TestPostgresSurvivesCrashes(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, openFolder(t))
	query(t, p, "CREATE TABLE notes (n int)")
	address := p.URL()
	for i := range 3 {
		query(t, p, fmt.Sprintf("INSERT INTO notes VALUES (%d)", i))
		ended := p.Done()
		if err := p.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-ended
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := query(t, p, "SELECT count(*) FROM notes"); n != 3 {
		t.Errorf("%d of 3 rows are left", n)
	}
	if p.URL() != address {
		t.Errorf("the URL changed from %s to %s", address, p.URL())
	}
}

func TestPostgresIsRestartedWhileItRuns(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, openFolder(t))
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	query(t, p, "SELECT 1")
}

func TestPostgresWantsItsPassword(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	p := startPostgres(t, dir)
	wrong := strings.Replace(p.URL(), p.password, "guess", 1)
	if err := connectOnce(t.Context(), wrong); !refusesPassword(err) {
		t.Errorf("a wrong password: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "password"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password file: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "password.initdb")); err == nil {
		t.Error("the password for initdb was left behind")
	}
}

func TestSecondPostgresInTheSameFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	p := startPostgres(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // do not wait for the other one to end
	err := clearStaleLock(ctx, p.data)
	if !says(err, "already runs in "+p.data+": stop it first") {
		t.Errorf("got %v", err)
	}
	query(t, p, "SELECT 1")
}

func TestStaleLockFileOfADeadServer(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	p := startPostgres(t, dir)
	lock := filepath.Join(p.data, "postmaster.pid")
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// First the id of a process that is gone, then that of another program.
	for _, pid := range []int{p.proc.PID(), os.Getpid()} {
		_, rest, _ := strings.Cut(string(text), "\n")
		if err := os.WriteFile(lock, []byte(strconv.Itoa(pid)+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.account.own(lock); err != nil {
			t.Fatal(err)
		}
		again := startPostgres(t, dir)
		query(t, again, "SELECT 1")
		if err := again.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolderOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("9.6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if !says(err, "was made by Postgres 9, but Postgres ") {
		t.Errorf("got %v", err)
	}
}

func TestFolderWithSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	if err := os.MkdirAll(filepath.Join(dir, "data", "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if !says(err, "is not empty and not a Postgres data folder") {
		t.Errorf("got %v", err)
	}
}

func TestInterruptedInitializationIsRepeated(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "half made"), 0o755); err != nil {
		t.Fatal(err)
	}
	query(t, startPostgres(t, dir), "SELECT 1")
}

func TestLostPasswordIsSaid(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	p := startPostgres(t, dir)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.passwordFile()); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if !says(err, "the password of the data folder") {
		t.Errorf("got %v", err)
	}
}

func TestFailedStartTellsTheServersOwnWords(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	p := startPostgres(t, dir)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(p.data, "postgresql.auto.conf")
	if err := os.WriteFile(settings, []byte("no_such_setting = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.account.own(settings); err != nil {
		t.Fatal(err)
	}
	err := p.Restart(t.Context())
	if !says(err, "no_such_setting") {
		t.Errorf("got %v", err)
	}
}

func TestTakenPortIsAPassingFault(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, openFolder(t))
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", loopback(p.port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := p.launch(t.Context()); !errors.Is(err, errPassing) {
		t.Errorf("got %v", err)
	}
}

func TestRootCannotPutDataWhereTheServerMayNotGo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // then the server is ourselves, and goes where we go
	}
	closed := filepath.Join(openFolder(t), "closed")
	if err := os.MkdirAll(filepath.Join(closed, "data folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "data folder")
	if err := PostgresCanUse(dir); !errors.Is(err, ErrUnreachable) {
		t.Errorf("PostgresCanUse: %v", err)
	}
	if _, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("StartPostgres: %v", err)
	}
}

func TestPostgresOfARootIsAnotherUser(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, openFolder(t))
	owner, _, err := ownerOf(p.data)
	if err != nil || owner.uid == 0 {
		t.Errorf("the data belongs to %v, %v", owner, err)
	}
	if os.Geteuid() != 0 && owner.uid != uint32(os.Geteuid()) {
		t.Errorf("the data belongs to %v", owner)
	}
}

func TestStoppedPostgresIsGone(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, openFolder(t))
	pid := p.proc.PID()
	if !postgresRuns(pid) {
		t.Error("the running server is not seen")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("process %d is still there", pid)
	}
}

func TestPostgresDiesWithItsParentAndCanBeStartedAtOnce(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	doomed := exec.Command(os.Args[0])
	doomed.Env = append(os.Environ(), doomedVariable+"="+dir)
	out, _ := doomed.Output() // it is killed
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("it said %q", out)
	}
	query(t, startPostgres(t, dir), "SELECT 1")
	if postgresRuns(pid) {
		t.Errorf("process %d outlived its parent", pid)
	}
}
