// Package stores starts private Postgres and Redis servers on this machine, for
// tests and for running the whole system in one place. It finds the servers'
// programs, makes their data folders, and ends them with the process that
// started them. It is for Unix.
package stores

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	// startTimeout bounds the wait for a server that is starting: Postgres may
	// have to replay its log after a crash before it takes connections.
	startTimeout = 60 * time.Second

	// stopTimeout bounds a shutdown; a server that is not done by then is killed,
	// which loses nothing that was committed.
	stopTimeout = 20 * time.Second

	// startAttempts is how often a start is tried anew after a cause that goes
	// away: a port that somebody else took first, or the remains of a killed
	// server that the kernel has not cleared yet.
	startAttempts = 5

	// The wait between attempts to connect to a server that is starting (a new
	// Postgres needs 50 ms, one that recovers from a crash seconds) grows from
	// firstWait to longestWait.
	firstWait   = 5 * time.Millisecond
	longestWait = 250 * time.Millisecond
)

// ErrNotInstalled says that a server's programs are not on this machine.
var ErrNotInstalled = errors.New("not installed")

// writeWhole writes a file that only its owner reads, and that is never there
// half written.
func writeWhole(file, text string) error {
	next := file + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}

// MakeFolder makes dir and the folders above it that are missing: closed to
// others, but as root open for passing, since Postgres is another user then.
func MakeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MakeFolder(parent); err != nil {
			return err
		}
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Chmod(dir, mode) // whatever the umask
}

// absolute is path as the servers see it, who have other working folders.
func absolute(path string) (string, error) {
	if path == "" {
		return "", errors.New("no data folder given")
	}
	return filepath.Abs(path)
}

// errPassing marks a failed start that is worth another try.
var errPassing = errors.New("passing fault")

// insist calls start until it succeeds, or fails for good.
func insist(ctx context.Context, start func() error) error {
	var err error
	for range startAttempts {
		if err = start(); !errors.Is(err, errPassing) {
			return err
		}
		select {
		case <-time.After(longestWait):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// whileRunning is ctx until the server has ended: another program on its port
// might keep us waiting for an answer.
func whileRunning(ctx context.Context, ended <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
