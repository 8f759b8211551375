package stores

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pymessage/internal/stores/child"
)

const (
	superuser = "postgres"

	// maxConnections leaves room for the pools of all services, and of many tests
	// that run side by side.
	maxConnections = 300

	// connectTimeout bounds one attempt to connect to a server on this machine.
	connectTimeout = 5 * time.Second

	// quitTimeout bounds an immediate shutdown, which needs milliseconds.
	quitTimeout = 5 * time.Second
)

// PostgresOptions say what server to start.
type PostgresOptions struct {
	// Dir is the server's folder: data, password, log. It is made when missing
	// and is found again by the next start.
	Dir string

	// Durable makes every commit wait for the disk. Without it a commit survives
	// the death of the server, but not that of the machine: for tests.
	Durable bool
}

// Postgres is a private Postgres server on a free port of 127.0.0.1. Its methods
// may be called from several goroutines.
type Postgres struct {
	// static
	cluster
	durable bool
	port    int

	mu   sync.Mutex
	proc *child.Process // the running server, or the last one
	log  logFile
}

// StartPostgres starts a server and returns when it accepts connections.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	c, err := openCluster(ctx, o.Dir, o.Durable)
	if err != nil {
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	p := &Postgres{cluster: *c, durable: o.Durable, log: logFile{path: filepath.Join(c.dir, "postgres.log")}}
	err = insist(ctx, func() (err error) {
		if p.port, err = FreePort(); err != nil {
			return err
		}
		return p.launch(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	return p, nil
}

// URL is how the superuser connects.
func (p *Postgres) URL() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, p.password),
		Host:     loopback(p.port),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// LogFile is where the server writes its log.
func (p *Postgres) LogFile() string { return p.log.path }

// Version is the server's major version.
func (p *Postgres) Version() int { return p.programs.major }

// PID is the id of the server's first process, that runs or ran last: the parent of
// those that serve the connections.
func (p *Postgres) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc.PID()
}

// Done is closed when the running server ends, for whatever reason. After
// Restart there is a new one.
func (p *Postgres) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc.Done()
}

// Stop ends the server in good order: it cuts the connections, writes out what is
// in memory and exits. Stopping a stopped server does nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end(ctx, syscall.SIGINT) // Postgres' "fast shutdown"
}

// Kill ends the server at once, as a crash would: what was not committed is gone,
// and the next start recovers from the log. (It is Postgres' "immediate shutdown".
// SIGKILL would lose no more, but would leave the server's own children running.)
func (p *Postgres) Kill(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end(ctx, syscall.SIGQUIT)
}

// end sends sig. A server that is not done when the time is up is told to end at
// once; SIGKILL, which leaves the server's own children running, comes last.
func (p *Postgres) end(ctx context.Context, sig syscall.Signal) error {
	patient, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := p.proc.Signal(sig); err != nil {
		return fmt.Errorf("stop Postgres: %w", err)
	}
	select {
	case <-p.proc.Done():
		return nil
	case <-patient.Done():
	}
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
	defer cancelLast()
	return fmt.Errorf("stop Postgres: %w", errors.Join(patient.Err(), p.proc.Stop(last, syscall.SIGQUIT)))
}

// Restart starts the server again, on the same port with the same data. One that
// still runs is stopped first.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	if err := insist(ctx, func() error { return p.launch(ctx) }); err != nil {
		return fmt.Errorf("restart Postgres: %w", err)
	}
	return nil
}

// launch starts the server on p.port and waits until it accepts connections.
func (p *Postgres) launch(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := clearStaleLock(ctx, p.data); err != nil {
		return err
	}
	log, err := p.log.open()
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own copy
	if p.proc, err = child.Start(p.command(log), syscall.SIGQUIT); err != nil {
		return err
	}
	if err := p.ready(ctx); err != nil {
		err = p.explain(err)
		return errors.Join(err, p.end(context.WithoutCancel(ctx), syscall.SIGQUIT))
	}
	return nil
}

// command runs the server without unix sockets, whose path would have to be short
// and writable for the server's user.
func (p *Postgres) command(log *os.File) *exec.Cmd {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(p.port),
		"unix_socket_directories=",
		"max_connections=" + strconv.Itoa(maxConnections),
		"logging_collector=off",
		"log_destination=stderr",
	}
	if !p.durable {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	cmd := p.tool("postgres", "-D", p.data)
	for _, s := range settings {
		cmd.Args = append(cmd.Args, "-c", s)
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd
}

// ready waits until the server accepts a connection.
func (p *Postgres) ready(ctx context.Context) error {
	running, cancel := whileRunning(ctx, p.proc.Done())
	defer cancel()
	wait := firstWait
	for {
		err := connectOnce(running, p.URL())
		if err == nil || refusesPassword(err) {
			return err
		}
		select {
		case <-p.proc.Done():
			return fmt.Errorf("the server ended: %w", p.proc.Err())
		case <-ctx.Done():
			return fmt.Errorf("it does not accept connections: %w", err)
		case <-time.After(wait):
			wait = min(2*wait, longestWait)
		}
	}
}

func connectOnce(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Ping(ctx)
}

// refusesPassword tells the fault that waiting does not cure: the password file
// is not the one that the data folder was made with.
func refusesPassword(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "28")
}

// passingFaults are in the log when another try may succeed: the port was taken
// since we looked, or processes of a killed server are not gone yet.
var passingFaults = []string{
	"Address already in use",
	"pre-existing shared memory block",
}

// explain adds what the server said itself.
func (p *Postgres) explain(err error) error {
	tail := p.log.tail()
	for _, fault := range passingFaults {
		if strings.Contains(tail, fault) {
			err = fmt.Errorf("%w: %w", errPassing, err)
			break
		}
	}
	if tail == "" {
		return err
	}
	return fmt.Errorf("%w; it said:\n%s", err, tail)
}
