package stores

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	dataFolder = "data"

	// orphanGrace is how long a server may take to end whose parent has just been
	// killed; it has been told so by the kernel, and is quick.
	orphanGrace = 5 * time.Second
)

// cluster is a Postgres data folder with what belongs to it.
type cluster struct {
	programs
	dir      string // ours: password, log
	data     string // the server's, inside dir
	password string
	account  *account // who runs the server; nil is ourselves
}

// openCluster opens the cluster in dir, and makes it when there is none.
func openCluster(ctx context.Context, dir string, durable bool) (*cluster, error) {
	dir, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	if err := MakeFolder(dir); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	c := &cluster{dir: dir, data: filepath.Join(dir, dataFolder)}
	if c.account, err = serverAccount(c.data); err != nil {
		return nil, err
	}
	made, err := c.madeBy()
	if err != nil {
		return nil, err
	}
	if c.programs, err = choose(installedPostgres(), made, c.data); err != nil {
		return nil, err
	}
	if err := c.account.reach(dir, c.path("postgres")); err != nil {
		return nil, err
	}
	if made != 0 {
		return c, c.reopen()
	}
	return c, c.initialize(ctx, durable)
}

// reopen prepares a cluster that an earlier run made. The folder may belong to
// root by now, who has copied it.
func (c *cluster) reopen() error {
	kept, err := os.ReadFile(c.passwordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the password of the data folder %s is lost (there is no %s): "+
			"move the folder away to begin with an empty one", c.data, c.passwordFile())
	}
	if err != nil {
		return fmt.Errorf("read the database password: %w", err)
	}
	c.password = strings.TrimSpace(string(kept))
	return c.account.own(c.data)
}

func (c *cluster) passwordFile() string { return filepath.Join(c.dir, "password") }

// madeBy is the major version that the data folder belongs to, 0 if there is none.
func (c *cluster) madeBy() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.data, "PG_VERSION"))
	if err == nil {
		return majorVersion(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("look at the data folder: %w", err)
	}
	entries, err := os.ReadDir(c.data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("look at the data folder: %w", err)
	}
	if len(entries) > 0 {
		return 0, fmt.Errorf("the folder %s is not empty and not a Postgres data folder: choose another, or empty it", c.data)
	}
	return 0, nil
}

// initialize makes a new cluster beside its place and then moves it there, so that
// an interrupted run leaves nothing half made.
func (c *cluster) initialize(ctx context.Context, durable bool) error {
	c.password = rand.Text()
	if err := writeWhole(c.passwordFile(), c.password+"\n"); err != nil {
		return fmt.Errorf("keep the database password: %w", err)
	}
	next := c.data + ".new"
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("clear the remains of an interrupted start: %w", err)
	}
	if err := os.Mkdir(next, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := c.initdb(ctx, next, durable); err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	if err := os.Remove(c.data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(next, c.data)
}

func (c *cluster) initdb(ctx context.Context, dir string, durable bool) error {
	// A copy of the password that only the server's user can read.
	handedOver := c.passwordFile() + ".initdb"
	if err := writeWhole(handedOver, c.password+"\n"); err != nil {
		return fmt.Errorf("hand over the database password: %w", err)
	}
	defer os.Remove(handedOver)
	if err := errors.Join(c.account.own(dir), c.account.own(handedOver)); err != nil {
		return fmt.Errorf("give the data folder to the server's user: %w", err)
	}
	cmd := c.tool("initdb", "-D", dir, "--username="+superuser, "--pwfile="+handedOver,
		"--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-instructions")
	if !durable {
		cmd.Args = append(cmd.Args, "--no-sync")
	}
	if out, err := runQuietly(ctx, cmd); err != nil {
		return fmt.Errorf("initdb: %w; it said:\n%s", err, lastLines(out, tailLines))
	}
	return nil
}

// tool is a command of the cluster's Postgres, run as its user. The environment
// is not ours, whose PG* variables would change what it does.
func (c *cluster) tool(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(c.path(name), args...)
	cmd.Dir = c.dir // where its user may be, unlike our own working folder
	cmd.Env = []string{"PATH=" + c.programs.dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	c.account.run(cmd)
	return cmd
}

func runQuietly(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	return out.String(), err
}

// clearStaleLock refuses to start beside a server that lives, after a grace for
// one that is ending. The lock file of a dead one is left for Postgres, which also
// looks for processes that outlived it; but Postgres goes by the process id
// alone, and in a container another program soon has the same: then the file
// goes.
func clearStaleLock(ctx context.Context, data string) error {
	file := filepath.Join(data, "postmaster.pid")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a running server: %w", err)
	}
	pid := lockOwner(string(text))
	if !goneWithin(ctx, pid, orphanGrace) {
		return fmt.Errorf("a Postgres server (process %d) already runs in %s: stop it first", pid, data)
	}
	if !runs(pid) {
		return nil
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the lock file of a dead server: %w", err)
	}
	return nil
}

// lockOwner reads the process id from postmaster.pid, 0 if there is none.
func lockOwner(text string) int {
	line, _, _ := strings.Cut(text, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// goneWithin waits for the end of a Postgres with that process id.
func goneWithin(ctx context.Context, pid int, grace time.Duration) bool {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for postgresRuns(pid) {
		select {
		case <-time.After(longestWait):
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// postgresRuns says whether pid is a Postgres server. Where the system does not
// tell what a process is (no /proc), any process counts as one.
func postgresRuns(pid int) bool {
	if !runs(pid) {
		return false
	}
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		_, noProc := os.Stat("/proc/self")
		return noProc != nil
	}
	return isPostgres(string(line))
}

func runs(pid int) bool {
	return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// isPostgres reads a command line, whose arguments end with NUL. A zombie's is
// empty.
func isPostgres(commandLine string) bool {
	program, _, _ := strings.Cut(commandLine, "\x00")
	name := filepath.Base(program)
	return name == "postgres" || name == "postmaster"
}
