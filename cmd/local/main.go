// Command local runs the whole system on this machine; see usage.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"pymessage/internal/local"
	"pymessage/internal/service"
	"pymessage/internal/stores"
)

const usage = `usage: local [run|install-stores|version|help]
  run             run Postgres, Redis, accounts, social and the gateways, until Ctrl-C (the default)
  install-stores  install Postgres and Redis through the package manager if they are missing
settings of run, from the environment:
  POSTGRES_URL    of a user who may create roles; empty: run our own
  REDIS_URL       empty: run our own
  LISTEN_ADDR     where people connect (default :6969, on all interfaces; 127.0.0.1:6969 keeps it to this machine)
  DATA_DIR        databases, logs and secrets, kept for the next run (default .data)
  GATEWAYS        how many (default 2)
  and those of the services, such as MESSAGE_POLICY and LOG_LEVEL
`

// fallbackDir holds the data when root's own folder is closed to the user who has
// to run Postgres.
const fallbackDir = "/var/lib/pymessage"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	command := "run"
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch command {
	case "run":
		err = deploy(stdout, stderr)
	case "install-stores":
		err = stores.Install(context.Background(), stdout)
	case "version":
		fmt.Fprintf(stdout, "local %s (%s)\n", service.Version, service.Commit)
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "local: unknown command %q\n%s", command, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, "local:", err)
		return 1
	}
	return 0
}

// deploy runs everything until the first signal, then stops it in order. A second
// signal stops it at once.
func deploy(stdout, stderr io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	running, interrupt := context.WithCancel(context.Background())
	stopping, abort := context.WithCancel(context.Background())
	defer interrupt()
	defer abort()
	go func() {
		<-signals
		interrupt()
		<-signals
		abort()
	}()

	s, err := readSettings(os.Environ())
	if err != nil {
		return err
	}
	o, err := s.options(stdout, stderr)
	if err != nil {
		return err
	}
	d, err := local.Start(running, o)
	if running.Err() != nil && err != nil {
		fmt.Fprintln(stdout, "stopped before it had started")
		return nil
	}
	if err != nil {
		return err
	}
	describe(stdout, d, s)
	<-running.Done()
	fmt.Fprintln(stdout, "\nstopping; Ctrl-C again to stop at once")
	err = d.Stop(stopping)
	switch {
	case stopping.Err() != nil:
		fmt.Fprintf(stdout, "stopped at once; what was acknowledged is kept in %s\n", d.DataDir())
		return nil
	case err != nil:
		return fmt.Errorf("stopped, but not in good order: %w", err)
	}
	fmt.Fprintf(stdout, "stopped; the data is kept in %s\n", d.DataDir())
	return nil
}

// binDir is where the services' binaries are: beside this one.
func binDir() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the services' binaries: %w", err)
	}
	return filepath.Dir(self), nil
}
