package stores

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"pymessage/internal/stores/child"
)

// answerTimeout bounds one question to a Redis on this machine; go-redis does not
// stop waiting when the context is cancelled.
const answerTimeout = 500 * time.Millisecond

// RedisOptions say what server to start.
type RedisOptions struct {
	// Dir is the server's folder: its working folder and log. No data is kept.
	Dir string

	// Embedded allows a Redis inside this process where no redis-server is
	// installed. It dies with the process and is slow, but speaks the protocol.
	Embedded bool
}

// Redis is a private Redis server on a free port of 127.0.0.1, without
// persistence. Its methods may be called from several goroutines.
type Redis struct {
	// static
	dir      string
	port     int
	busPort  int // of a node of a cluster
	password string

	mu     sync.Mutex
	server redisServer
}

// redisServer is what runs: a process, or a server inside this one.
type redisServer interface {
	launch(ctx context.Context, port int, password string) error
	done() <-chan struct{}
	end(ctx context.Context, sig syscall.Signal) error
	signal(sig syscall.Signal) error
	pid() int          // 0 without a process of its own
	logFile() *logFile // nil without one
}

// StartRedis starts a server and returns when it answers.
func StartRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	r, err := newRedis(o)
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	err = insist(ctx, func() (err error) {
		if r.port, err = FreePort(); err != nil {
			return err
		}
		return r.launch(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	return r, nil
}

func newRedis(o RedisOptions) (*Redis, error) {
	dir, err := absolute(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := MakeFolder(dir); err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	r := &Redis{dir: dir, password: rand.Text()}
	program, err := FindRedis()
	switch {
	case err == nil:
		r.server = &redisProcess{program: program, dir: dir, log: logFile{path: filepath.Join(dir, "redis.log")}}
	case o.Embedded:
		r.server = &redisEmbedded{}
	default:
		return nil, err
	}
	return r, nil
}

// URL is how clients connect.
func (r *Redis) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", r.password), Host: loopback(r.port), Path: "/0"}
	return u.String()
}

// LogFile is where the server writes its log; empty for an embedded one.
func (r *Redis) LogFile() string {
	if log := r.server.logFile(); log != nil {
		return log.path
	}
	return ""
}

// Embedded says that there is no redis-server here, and this one is part of our
// process.
func (r *Redis) Embedded() bool {
	_, embedded := r.server.(*redisEmbedded)
	return embedded
}

// PID is the id of the server's process, that runs or ran last; 0 for an embedded
// one.
func (r *Redis) PID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server.pid()
}

// Done is closed when the running server ends, for whatever reason. After
// Restart there is a new one.
func (r *Redis) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server.done()
}

// Stop ends the server. Stopping a stopped server does nothing.
func (r *Redis) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end(ctx, syscall.SIGTERM)
}

// Kill ends the server at once. All its data is gone.
func (r *Redis) Kill(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end(ctx, syscall.SIGKILL)
}

func (r *Redis) end(ctx context.Context, sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := r.server.end(ctx, sig); err != nil {
		return fmt.Errorf("stop Redis: %w", err)
	}
	return nil
}

// Restart starts the server again, empty, on the same port. One that still runs
// is stopped first.
func (r *Redis) Restart(ctx context.Context) error {
	if err := r.Stop(ctx); err != nil {
		return err
	}
	if err := insist(ctx, func() error { return r.launch(ctx) }); err != nil {
		return fmt.Errorf("restart Redis: %w", err)
	}
	return nil
}

// Freeze makes the server hang: connections stay open, nothing is answered.
func (r *Redis) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw ends a Freeze; the server then answers what it was asked meanwhile.
func (r *Redis) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Redis) signal(sig syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server.signal(sig)
}

// launch starts the server on r.port and waits until it answers.
func (r *Redis) launch(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.server.launch(ctx, r.port, r.password); err != nil {
		return err
	}
	if err := r.ready(ctx); err != nil {
		err = explainRedis(err, r.server.logFile())
		return errors.Join(err, r.end(context.WithoutCancel(ctx), syscall.SIGKILL))
	}
	return nil
}

// ready waits until the server answers.
func (r *Redis) ready(ctx context.Context) error {
	client := r.client() // tries once: the loop below does it again
	defer client.Close()
	running, cancel := whileRunning(ctx, r.server.done())
	defer cancel()
	var err error
	wait := firstWait
	for {
		if err = listens(running, loopback(r.port)); err == nil { // go-redis logs what it cannot dial
			err = client.Ping(running).Err()
		}
		if err == nil {
			return nil
		}
		select {
		case <-r.server.done():
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(wait):
			wait = min(2*wait, longestWait)
		}
	}
}

// client makes a client that tries once and does not wait for long.
func (r *Redis) client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: loopback(r.port), Password: r.password, MaxRetries: -1, DialerRetries: 1,
		ContextTimeoutEnabled: true, ReadTimeout: answerTimeout,
	})
}

func listens(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// explainRedis adds what the server said itself.
func explainRedis(err error, log *logFile) error {
	if log == nil {
		return err
	}
	tail := log.tail()
	if strings.Contains(tail, "Address already in use") {
		err = fmt.Errorf("%w: %w", errPassing, err)
	}
	return fmt.Errorf("%w; it said:\n%s", err, tail)
}

// redisProcess is a redis-server.
type redisProcess struct {
	// static
	program string
	dir     string
	more    string // settings beside those of every server

	proc *child.Process // the running server, or the last one
	log  logFile
}

func (p *redisProcess) launch(_ context.Context, port int, password string) error {
	log, err := p.log.open()
	if err != nil {
		return err
	}
	defer log.Close()                   // the server has its own copy
	cmd := exec.Command(p.program, "-") // settings from standard input: arguments are public
	cmd.Dir = p.dir
	cmd.Stdin = strings.NewReader(redisSettings(port, password) + p.more)
	cmd.Stdout, cmd.Stderr = log, log
	p.proc, err = child.Start(cmd, syscall.SIGKILL)
	return err
}

// redisSettings keep nothing on disk: what Redis knows may be lost at any time.
func redisSettings(port int, password string) string {
	return fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %s\nsave \"\"\nappendonly no\n", port, password)
}

func (p *redisProcess) done() <-chan struct{} { return p.proc.Done() }

func (p *redisProcess) end(ctx context.Context, sig syscall.Signal) error {
	if err := p.proc.Signal(syscall.SIGCONT); err != nil { // a frozen server would not hear SIGTERM
		return err
	}
	return p.proc.Stop(ctx, sig)
}

func (p *redisProcess) signal(sig syscall.Signal) error { return p.proc.Signal(sig) }

func (p *redisProcess) pid() int { return p.proc.PID() }

func (p *redisProcess) logFile() *logFile { return &p.log }
