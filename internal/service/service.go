// Package service is what every process of pymessage shares: its command line,
// settings, logger, ops listener, health, and the order in which it stops.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Version and Commit are stamped by the linker.
var (
	Version = "dev"
	Commit  = "unknown"
)

// Common are the settings that every service has.
type Common struct {
	OpsAddr    string        `env:"OPS_ADDR" help:"ops port: /livez, /readyz, /metrics, /debug/pprof" envDefault:":9090"`
	LogLevel   slog.Level    `env:"LOG_LEVEL" help:"debug, info, warn or error" envDefault:"info"`
	DrainPause time.Duration `env:"DRAIN_PAUSE" help:"wait between being told to stop (unready from then on) and refusing work" envDefault:"5s"`
}

// Secret is a setting that must never be printed.
type Secret string

// String hides the value from logs and %v.
func (Secret) String() string { return "(hidden)" }

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("(hidden)") }

// minSecret is the length below which a secret is refused: shorter ones are
// guesses or forgotten placeholders.
const minSecret = 16

// CheckSecret is the fault of a secret that is too short, or nil.
func CheckSecret(name string, s Secret) error {
	if len(s) < minSecret {
		return fmt.Errorf("  %s must have at least %d characters", name, minSecret)
	}
	return nil
}

// Program is a service as its main hands it to Main.
type Program struct {
	Name     string
	Settings any                                         // pointer to the settings struct, embeds Common
	Serve    func(ctx context.Context, p *Process) error // builds the service and calls Process.Run

	// GCPercent is the GOGC of a large heap, see headroom; 0 is Go's own, 100.
	GCPercent int

	// Database are commands that do something to the schema behind DATABASE_URL and
	// end; none where there is no schema.
	Database []DatabaseCommand
}

// DatabaseCommand is one that operators give, such as migrate.
type DatabaseCommand struct {
	Name string
	Do   func(ctx context.Context, databaseURL string, log *slog.Logger) error
}

// DatabaseSettings are all that a DatabaseCommand needs: whoever migrates need not
// know the secrets of whoever serves.
type DatabaseSettings struct {
	LogLevel    slog.Level `env:"LOG_LEVEL" help:"debug, info, warn or error" envDefault:"info"`
	DatabaseURL Secret     `env:"DATABASE_URL,required,notEmpty" help:"Postgres, as the service's own role"`
}

// Main runs prog with the arguments after the program's name and returns its exit
// status. Its context ends at SIGTERM or SIGINT.
func Main(prog Program, args, environ []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 {
		command = args[0]
	}
	do, known := prog.command(command)
	switch {
	case command == "help", command == "-h", command == "--help":
		usage(stdout, prog)
		return 0
	case !known, len(args) > 1:
		fmt.Fprintf(stderr, "%s: unknown command %q\n", prog.Name, strings.Join(args, " "))
		usage(stderr, prog)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return do(ctx, environ, stdout, stderr)
}

// action carries out a command and returns the exit status.
type action func(ctx context.Context, environ []string, stdout, stderr io.Writer) int

func (prog Program) command(name string) (action, bool) {
	switch name {
	case "serve":
		return prog.serve, true
	case "version":
		return prog.version, true
	case "ready":
		return prog.ready, true
	}
	for _, c := range prog.Database {
		if c.Name == name {
			return prog.database(c), true
		}
	}
	return nil, false
}

func (prog Program) version(_ context.Context, _ []string, stdout, _ io.Writer) int {
	fmt.Fprintf(stdout, "%s %s (%s)\n", prog.Name, Version, Commit)
	return 0
}

func (prog Program) serve(ctx context.Context, environ []string, stdout, stderr io.Writer) int {
	if err := ParseSettings(prog.Settings, environ); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", prog.Name, err)
		return 2
	}
	common := commonOf(prog.Settings)
	log := prog.logger(stdout, common.LogLevel)
	log.Info("starting", "version", Version, "commit", Commit)
	defer prog.holdHeadroom(environ)()
	return status(log, "serve", prog.Serve(ctx, NewProcess(common, log)))
}

func (prog Program) database(c DatabaseCommand) action {
	return func(ctx context.Context, environ []string, stdout, stderr io.Writer) int {
		var settings DatabaseSettings
		if err := ParseSettings(&settings, environ); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", prog.Name, err)
			return 2
		}
		log := prog.logger(stdout, settings.LogLevel)
		return status(log, c.Name, c.Do(ctx, string(settings.DatabaseURL), log))
	}
}

// logger is the one of the process, also for libraries that log by themselves.
func (prog Program) logger(w io.Writer, level slog.Level) *slog.Logger {
	log := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})).With("service", prog.Name)
	slog.SetDefault(log)
	return log
}

// status logs how a command ended and is the exit status that says so.
func status(log *slog.Logger, command string, err error) int {
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Error(command+" failed", "err", err)
		return 1
	}
	log.Info(command + " finished")
	return 0
}

func usage(w io.Writer, prog Program) {
	fmt.Fprintf(w, "usage: %s [serve|ready|version|help", prog.Name)
	for _, c := range prog.Database {
		fmt.Fprintf(w, "|%s", c.Name)
	}
	fmt.Fprintln(w, "]\nsettings, from the environment:")
	printSettings(w, prog.Settings)
}

// commonOf finds the embedded Common of a settings struct.
func commonOf(settings any) Common {
	type hasCommon interface{ common() Common }
	return settings.(hasCommon).common()
}

func (c Common) common() Common { return c }

// Process is a running service: what its parts are built with.
type Process struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Health   *Health

	common Common
}

// NewProcess makes a process with a fresh registry. Main does it for a program;
// tests do it for a Serve of theirs.
func NewProcess(common Common, log *slog.Logger) *Process {
	health := &Health{log: log}
	return &Process{Log: log, Registry: newRegistry(health), Health: health, common: common}
}

// Task is a part of a service that runs until its context ends.
type Task func(ctx context.Context) error

// Run runs the ops listener and the tasks until ctx ends or one of them fails.
// When ctx ends the process turns unready and pauses, so that load balancers look
// elsewhere; only then are the tasks told to stop. The ops listener goes last.
func (p *Process) Run(ctx context.Context, tasks ...Task) error {
	opsCtx, stopOps := context.WithCancel(context.Background())
	ops, opsErr := errgroup.WithContext(opsCtx)
	listen := HTTP(p.common.OpsAddr, p.opsHandler())
	ops.Go(func() error { return listen(opsCtx) })
	defer stopOps()

	taskCtx, stopTasks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTasks()
	group, groupCtx := errgroup.WithContext(taskCtx)
	for _, task := range tasks {
		group.Go(func() error { return task(groupCtx) })
	}
	group.Go(func() error { return p.Health.awaitStart(groupCtx) })

	select {
	case <-ctx.Done():
		p.Log.Info("stopping", "pause", p.common.DrainPause.String())
		p.Health.Drain()
		select {
		case <-time.After(p.common.DrainPause):
		case <-groupCtx.Done():
		}
	case <-groupCtx.Done():
	case <-opsErr.Done():
	}
	stopTasks()
	err := group.Wait()
	stopOps()
	return errors.Join(ignoreCanceled(err), ignoreCanceled(ops.Wait()))
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Limits of every HTTP server of ours. They are set in this one place.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second // longer than our clients', so that they close first
	maxHeaderBytes    = 16 << 10
	shutdownTimeout   = 15 * time.Second // for the requests in flight
)

// NewHTTPServer is an http.Server with the limits that all our listeners share.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
}

// HTTP is a task that serves h on addr and, told to stop, lets the requests in
// flight finish. It listens at once, before the task runs: a process must not be
// ready while its port still refuses.
func HTTP(addr string, h http.Handler) Task {
	l, err := net.Listen("tcp", addr)
	return func(ctx context.Context) error {
		if err != nil {
			return fmt.Errorf("listening on %s: %w", addr, err)
		}
		return serve(ctx, l, h)
	}
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := NewHTTPServer(h)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	<-failed
	return err
}
