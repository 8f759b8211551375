package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pymessage/internal/postgres"
	"pymessage/internal/stores"
)

// The programs. A gateway's unit is called gateway-1, gateway-2 and so on.
const (
	namePostgres = "postgres"
	nameRedis    = "redis"
	nameAccounts = "accounts"
	nameSocial   = "social"
	nameGateway  = "gateway"
)

// Service is a service's process and where it is reached.
type Service struct {
	Name        string // of the unit
	Kind        string // which service it is
	PublicURL   string
	InternalURL string // empty for a gateway
	OpsURL      string
	LogFile     string

	unit    *unit
	program *program
}

// PID is the id of the process that runs, or ran last.
func (s Service) PID() int { return s.program.process().PID() }

// prepareDatabase makes the services' roles and schemas and brings the schemas up
// to date.
func (d *Deployment) prepareDatabase(ctx context.Context) error {
	err := postgres.Provision(ctx, d.PostgresURL(),
		postgres.Role{Name: nameAccounts, Password: d.secrets.AccountsPassword},
		postgres.Role{Name: nameSocial, Password: d.secrets.SocialPassword})
	if err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{nameAccounts, nameSocial} {
		group.Go(func() error { return d.migrate(ctx, name) })
	}
	return group.Wait()
}

func (d *Deployment) migrate(ctx context.Context, name string) error {
	log, err := d.folder.newLog(name + "-migrate")
	if err != nil {
		return err
	}
	env, err := d.environment(Service{Name: name, Kind: name})
	if err != nil {
		return err
	}
	p := &program{path: filepath.Join(d.options.BinDir, name), args: []string{"migrate"}, env: env, log: log}
	if err := p.finish(ctx); err != nil {
		return fmt.Errorf("%s migrate: %w", name, err)
	}
	return nil
}

// startServices starts all services and waits until each is ready.
func (d *Deployment) startServices(ctx context.Context) error {
	names := []string{nameAccounts, nameSocial}
	for i := range d.options.Gateways {
		names = append(names, fmt.Sprintf("%s-%d", nameGateway, i+1))
	}
	for _, name := range names {
		if err := d.addService(name); err != nil {
			return err
		}
	}
	// Each knows by now where the others will be.
	for i := range d.services {
		if err := d.startService(ctx, &d.services[i]); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		group.Go(func() error { return d.Ready(ctx, name) })
	}
	return group.Wait()
}

// addService finds a place for a service that is not started yet.
func (d *Deployment) addService(name string) error {
	kind, _, _ := strings.Cut(name, "-")
	s := Service{Name: name, Kind: kind}
	if err := s.takePorts(); err != nil {
		return err
	}
	d.services = append(d.services, s)
	return nil
}

func (d *Deployment) startService(ctx context.Context, s *Service) error {
	log, err := d.folder.newLog(s.Name)
	if err != nil {
		return err
	}
	env, err := d.environment(*s)
	if err != nil {
		return err
	}
	s.LogFile = log
	s.program = &program{path: filepath.Join(d.options.BinDir, s.Kind), env: env, log: log}
	s.unit = d.add(s.Name, s.program)
	return s.unit.start(ctx)
}

// takePorts gives the service its addresses, which it keeps when it is restarted.
func (s *Service) takePorts() error {
	addresses := []*string{&s.PublicURL, &s.OpsURL}
	if s.Kind != nameGateway {
		addresses = append(addresses, &s.InternalURL)
	}
	for _, address := range addresses {
		port, err := stores.FreePort()
		if err != nil {
			return err
		}
		*address = "http://" + loopback(port)
	}
	return nil
}

// localDefaults are settings whose own defaults do not fit a single machine: here
// many users share one address.
var localDefaults = []string{"LOGIN_FAILURES_PER_ADDRESS=100000", "CREATIONS_PER_ADDRESS=100000"}

// processors is for how many processors Go takes the machine in gateways and social,
// which share it with each other, the stores and whoever uses them: as a container's
// limit would say. With all of them each process wakes threads that find nothing to do.
// Accounts has all for the pins of a wave of logins.
func processors() int { return max(1, runtime.NumCPU()/2) }

// environment is what a service is started with.
func (d *Deployment) environment(s Service) ([]string, error) {
	env := slices.Clone(localDefaults)
	if s.Kind != nameAccounts {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(processors()))
	}
	env = append(env, d.options.Environ...)
	set := func(name, value string) { env = append(env, name+"="+value) }
	set("LISTEN_ADDR", strings.TrimPrefix(s.PublicURL, "http://"))
	set("OPS_ADDR", strings.TrimPrefix(s.OpsURL, "http://"))
	set("INTERNAL_SECRET", d.secrets.Internal)
	set("REDIS_URL", d.RedisURL())
	set("DRAIN_PAUSE", "0s") // no load balancer here that would need time to notice
	// Requests come through our door, which tells the client's address.
	set("TRUSTED_PROXIES", "127.0.0.1/32,::1/128")
	if accounts, ok := d.Service(nameAccounts); ok {
		set("ACCOUNTS_URL", accounts.InternalURL)
	}
	if social, ok := d.Service(nameSocial); ok {
		set("SOCIAL_URL", social.InternalURL)
	}
	if password := d.databasePassword(s.Kind); password != "" {
		set("INTERNAL_ADDR", strings.TrimPrefix(s.InternalURL, "http://"))
		address, err := as(d.PostgresURL(), s.Kind, password)
		if err != nil {
			return nil, err
		}
		set("DATABASE_URL", address)
	}
	if s.Kind == nameAccounts {
		set("PIN_PEPPER", d.secrets.PinPepper)
	}
	env = append(env, d.options.Env[s.Kind]...)
	if s.Name != s.Kind {
		env = append(env, d.options.Env[s.Name]...)
	}
	return env, nil
}

// databasePassword is that of a service with a schema; empty for the others.
func (d *Deployment) databasePassword(kind string) string {
	switch kind {
	case nameAccounts:
		return d.secrets.AccountsPassword
	case nameSocial:
		return d.secrets.SocialPassword
	}
	return ""
}

// as is a Postgres URL for another user.
func as(address, user, password string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("POSTGRES_URL is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	u.User = url.UserPassword(user, password)
	return u.String(), nil
}

const (
	// askTimeout bounds one question about readiness: a process that hangs is not
	// ready.
	askTimeout = time.Second

	// The pause between two questions to a service that is starting.
	firstAsk   = 10 * time.Millisecond
	longestAsk = 200 * time.Millisecond
)

// Ready waits until a service is ready. That it dies meanwhile is an error, told
// with its last words. A store is ready when it is started.
func (d *Deployment) Ready(ctx context.Context, name string) error {
	s, ok := d.Service(name)
	if !ok {
		_, err := d.unit(name)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ended, pause := s.program.done(), firstAsk
	for !isReady(ctx, s.OpsURL) {
		select {
		case <-ended:
			return fmt.Errorf("%s ended before it was ready: %s", name, s.program.epitaph())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log is %s", name, ctx.Err(), s.LogFile)
		case <-time.After(pause):
			pause = min(2*pause, longestAsk)
		}
	}
	return nil
}

// isReady asks a service's ops port. Each question has a connection of its own,
// so that none is left behind.
func isReady(ctx context.Context, ops string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+"/readyz", nil)
	if err != nil {
		return false
	}
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
