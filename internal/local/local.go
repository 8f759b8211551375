// Package local runs the whole system on this machine: Postgres and Redis, the
// services as child processes, and in front of them a door that spreads the
// sockets over the gateways. It is what `make run` runs, and what the end-to-end
// tests break.
package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pymessage/internal/stores"
)

const (
	// readyTimeout bounds the wait for a service that is starting: a cold machine
	// needs seconds at most.
	readyTimeout = 60 * time.Second

	// stopTimeout bounds the end of one program; the gateways take the longest,
	// as they part from their sockets at a measured pace.
	stopTimeout = 30 * time.Second
)

// Options say what to run.
type Options struct {
	BinDir  string // where the services' binaries are
	DataDir string // databases, logs, secrets; kept for the next run

	// PostgresURL (of a user who may create roles) and RedisURL name servers to
	// use; where empty, our own are started.
	PostgresURL string
	RedisURL    string

	ListenAddr string // of the front door
	Gateways   int

	// Durable makes our own Postgres wait for the disk at every commit.
	Durable bool

	// Environ is what the services inherit. What has to be so for them to find
	// each other wins over it, and Env, by the name of a unit or its service, over
	// that.
	Environ []string
	Env     map[string][]string

	// Report is told, in a sentence, what happens to the programs on their own.
	Report func(string)
}

// Deployment is the running system. Its programs are called postgres, redis,
// accounts, social, gateway-1, gateway-2 and so on; all of them are started
// again when they die unless Kill or Terminate ended them.
type Deployment struct {
	// static after Start
	options  Options
	folder   *folder
	secrets  secrets
	postgres *stores.Postgres // nil if it was given
	redis    *stores.Redis    // nil if it was given
	units    []*unit          // in the order of their start
	services []Service
	door     *frontDoor

	started atomic.Bool
}

// Start starts everything, and returns when all services are ready. When it
// fails, or ctx ends, it leaves nothing running.
func Start(ctx context.Context, o Options) (*Deployment, error) {
	if o.Report == nil {
		o.Report = func(string) {}
	}
	listener, err := listen(o.ListenAddr) // first, as this fault is the most common
	if err != nil {
		return nil, err
	}
	d := &Deployment{options: o}
	if err := d.start(ctx, listener); err != nil {
		return nil, errors.Join(err, listener.Close(), d.Stop(context.WithoutCancel(ctx)))
	}
	return d, nil
}

func (d *Deployment) start(ctx context.Context, listener net.Listener) error {
	var err error
	if d.folder, err = openFolder(d.options.DataDir); err != nil {
		return err
	}
	if d.secrets, err = keptSecrets(d.folder.path); err != nil {
		return err
	}
	if err := d.startStores(ctx); err != nil {
		return err
	}
	if err := d.prepareDatabase(ctx); err != nil {
		return err
	}
	if err := d.startServices(ctx); err != nil {
		return err
	}
	d.door = openDoor(listener, d.services)
	d.started.Store(true)
	return nil
}

// listen takes the front door's port.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(addr) // it was good enough to be tried
		return nil, fmt.Errorf("port %s is taken, by another program or another run; stop it, or choose another, as in LISTEN_ADDR=:7000", port)
	}
	if err != nil {
		return nil, fmt.Errorf("LISTEN_ADDR %q cannot be used: %w", addr, err)
	}
	return l, nil
}

// startStores starts the stores that were not given.
func (d *Deployment) startStores(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if d.options.PostgresURL == "" {
		group.Go(func() (err error) {
			d.postgres, err = stores.StartPostgres(ctx, stores.PostgresOptions{
				Dir: d.folder.in(postgresFolder), Durable: d.options.Durable})
			return err
		})
	}
	if d.options.RedisURL == "" {
		group.Go(func() (err error) {
			d.redis, err = stores.StartRedis(ctx, stores.RedisOptions{Dir: d.folder.in(redisFolder), Embedded: true})
			return err
		})
	}
	err := group.Wait()
	if d.postgres != nil {
		d.add(namePostgres, &storeRunner{d.postgres}).adopt()
	}
	if d.redis != nil {
		d.add(nameRedis, &storeRunner{d.redis}).adopt()
	}
	return err
}

// tell reports what happened, once everything has started: until then a death is
// the error of Start.
func (d *Deployment) tell(what string) {
	if d.started.Load() {
		d.options.Report(what)
	}
}

// add adds a unit, which is not started yet.
func (d *Deployment) add(name string, run runner) *unit {
	u := &unit{name: name, run: run, report: d.tell}
	d.units = append(d.units, u)
	return u
}

// Stop ends everything in order: the door, then the programs in the reverse order
// of their start, the gateways side by side. When ctx ends, what is left is killed.
func (d *Deployment) Stop(ctx context.Context) error {
	var errs []error
	if d.door != nil {
		errs = append(errs, d.door.close())
	}
	errs = append(errs, d.stopGateways(ctx))
	for i := len(d.units) - 1; i >= 0; i-- {
		errs = append(errs, d.units[i].stopWithin(ctx, stopTimeout))
	}
	if d.door != nil {
		d.door.wait()
	}
	if d.folder != nil {
		errs = append(errs, d.folder.close())
	}
	return errors.Join(errs...)
}

func (d *Deployment) stopGateways(ctx context.Context) error {
	var group errgroup.Group
	for _, s := range d.Gateways() {
		group.Go(func() error { return s.unit.stopWithin(ctx, stopTimeout) })
	}
	return group.Wait()
}

func (u *unit) stopWithin(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return u.stop(ctx)
}

// loopback is an address on this machine.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// storeRunner runs one of our own stores.
type storeRunner struct{ store store }

type store interface {
	Restart(ctx context.Context) error
	Stop(ctx context.Context) error
	Kill(ctx context.Context) error
	Done() <-chan struct{}
	LogFile() string
}

func (r *storeRunner) launch(ctx context.Context) error { return r.store.Restart(ctx) }
func (r *storeRunner) done() <-chan struct{}            { return r.store.Done() }
func (r *storeRunner) stop(ctx context.Context) error   { return r.store.Stop(ctx) }
func (r *storeRunner) kill(ctx context.Context) error   { return r.store.Kill(ctx) }
func (r *storeRunner) epitaph() string                  { return "its log is " + r.store.LogFile() }
