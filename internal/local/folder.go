package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"pymessage/internal/stores"
)

// What is in the data folder.
const (
	postgresFolder = "postgres"
	redisFolder    = "redis"
	logsFolder     = "logs"
)

// folder is the data folder, locked for this process.
type folder struct {
	path string
	lock *os.File
}

// openFolder makes the data folder and takes its lock, which the kernel gives
// back when this process ends.
func openFolder(path string) (*folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := stores.MakeFolder(filepath.Join(path, logsFolder)); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("the data folder %s is used by another run: stop that one, or set DATA_DIR to another folder", path)
	}
	return &folder{path, lock}, nil
}

func (f *folder) close() error { return f.lock.Close() }

func (f *folder) in(names ...string) string {
	return filepath.Join(append([]string{f.path}, names...)...)
}

// newLog is the log file of a program in this run. That of the run before is kept
// beside it.
func (f *folder) newLog(name string) (string, error) {
	file := f.in(logsFolder, name+".log")
	err := os.Rename(file, f.in(logsFolder, name+".old.log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("put the last run's log aside: %w", err)
	}
	return file, nil
}

// UsableDataDir returns wanted, or fallback when our own Postgres could not have
// its data in wanted: root runs it as another user, for whom root's home is closed.
func UsableDataDir(wanted, fallback string) (string, error) {
	err := usable(wanted)
	if errors.Is(err, stores.ErrUnreachable) && fallback != "" {
		_ = os.Remove(filepath.Join(wanted, postgresFolder)) // these two only if they are empty
		_ = os.Remove(wanted)
		return fallback, usable(fallback)
	}
	return wanted, err
}

func usable(dir string) error {
	dir = filepath.Join(dir, postgresFolder)
	if err := stores.MakeFolder(dir); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return stores.PostgresCanUse(dir)
}
