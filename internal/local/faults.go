package local

import (
	"context"
	"fmt"

	"pymessage/internal/stores"
)

// URL is where users come: the front door.
func (d *Deployment) URL() string { return d.door.url() }

// DataDir is the whole path of the data folder.
func (d *Deployment) DataDir() string { return d.folder.path }

// PostgresURL is the administrator's URL.
func (d *Deployment) PostgresURL() string {
	if d.postgres != nil {
		return d.postgres.URL()
	}
	return d.options.PostgresURL
}

// RedisURL is the URL that the services have.
func (d *Deployment) RedisURL() string {
	if d.redis != nil {
		return d.redis.URL()
	}
	return d.options.RedisURL
}

// Postgres is our own Postgres, nil if it was given. To stop or kill it use Kill
// and Terminate, or it is started again.
func (d *Deployment) Postgres() *stores.Postgres { return d.postgres }

// Redis is our own Redis, nil if it was given. To stop or kill it use Kill and
// Terminate, or it is started again.
func (d *Deployment) Redis() *stores.Redis { return d.redis }

// Services are all services, in the order of their start.
func (d *Deployment) Services() []Service { return d.services }

// Service finds one by name.
func (d *Deployment) Service(name string) (Service, bool) {
	for _, s := range d.services {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}

// Gateways are the gateways.
func (d *Deployment) Gateways() []Service { return ofKind(d.services, nameGateway) }

func ofKind(services []Service, kind string) []Service {
	var found []Service
	for _, s := range services {
		if s.Kind == kind {
			found = append(found, s)
		}
	}
	return found
}

// InternalSecret is what internal HTTP requests have to carry.
func (d *Deployment) InternalSecret() string { return d.secrets.Internal }

// Kill ends a program at once (a service by SIGKILL) and leaves it down until
// Start.
func (d *Deployment) Kill(ctx context.Context, name string) error {
	return d.with(name, func(u *unit) error { return u.kill(ctx) })
}

// Terminate ends a program in good order (a service by SIGTERM), waits for its
// end, and leaves it down until Start.
func (d *Deployment) Terminate(ctx context.Context, name string) error {
	return d.with(name, func(u *unit) error { return u.stopWithin(ctx, stopTimeout) })
}

// Migrate brings a service's schema up to date, by the binary that is there now.
func (d *Deployment) Migrate(ctx context.Context, service string) error {
	return d.migrate(ctx, service)
}

// Start starts a program that Kill or Terminate ended, at the same addresses. It
// does not wait until it is ready, which may depend on others: see Ready.
func (d *Deployment) Start(ctx context.Context, name string) error {
	return d.with(name, func(u *unit) error { return u.start(ctx) })
}

func (d *Deployment) with(name string, do func(*unit) error) error {
	u, err := d.unit(name)
	if err != nil {
		return err
	}
	return do(u)
}

func (d *Deployment) unit(name string) (*unit, error) {
	for _, u := range d.units {
		if u.name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("there is no program %s in this deployment", name)
}
