package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pymessage/internal/stores"
)

const (
	folderPrefix = "pymessage-test-"

	// abandonedAfter is the age from which another process's folder may be
	// cleared if nobody holds its lock; younger ones may not have it yet.
	abandonedAfter = 10 * time.Minute
)

// folder is this process's temporary folder. Its lock is held while the process
// lives, so that the folders of killed test runs can be told from those in use.
type folder struct {
	path string
	lock *os.File
}

// sharedFolder is the folder of all servers that this process starts.
func sharedFolder() (string, error) {
	f, err := shared.folder.get(makeFolder)
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	return f.path, nil
}

// makeFolder makes it where the user who runs Postgres may go: that is another
// user when we are root, and TMPDIR may be closed to others.
func makeFolder() (*folder, error) {
	var errs []error
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		f, err := makeFolderIn(parent)
		if err == nil {
			atEnd(func(context.Context) error { return f.remove() })
			clearAbandoned(parent)
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func makeFolderIn(parent string) (*folder, error) {
	path, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, err
	}
	f := &folder{path: path}
	if f.lock, err = lock(f.lockFile(), os.O_CREATE); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	// Others may pass, but not look around.
	err = os.Chmod(path, 0o711)
	if err == nil {
		err = stores.PostgresCanUse(path)
	}
	// A missing Postgres is for those to say who need one.
	if err != nil && !errors.Is(err, stores.ErrNotInstalled) {
		return nil, errors.Join(err, f.remove())
	}
	return f, nil
}

func (f *folder) lockFile() string { return filepath.Join(f.path, "lock") }

func (f *folder) remove() error {
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// lock takes a file's lock, which the kernel gives back when this process ends.
func lock(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// clearAbandoned removes what killed test runs left behind.
func clearAbandoned(parent string) {
	paths, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*")) // fails only for a malformed pattern
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || time.Since(info.ModTime()) < abandonedAfter {
			continue
		}
		f := &folder{path: path}
		if f.lock, err = lock(f.lockFile(), 0); err == nil {
			_ = f.remove() // what cannot be removed is tried again by the next run
		}
	}
}
