package accounts

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/postgres"
	"pymessage/internal/service"
)

// Serve runs the accounts service until ctx ends.
func Serve(ctx context.Context, cfg Config, p *service.Process) error {
	s, err := open(ctx, cfg, p.Log, p.Registry)
	if err != nil {
		return err
	}
	defer s.close()
	p.Health.Await("postgres", s.store.check)
	p.Health.Await("redis", s.throttle.ping)
	measure := service.MeasureHTTP(p.Registry)
	return p.Run(ctx,
		service.HTTP(cfg.ListenAddr, s.publicHandler(measure)),
		service.HTTP(cfg.InternalAddr, s.internalHandler(string(cfg.InternalSecret), measure)))
}

// open builds the server; whoever gets it closes it. It does not wait for Postgres
// or Redis.
func open(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*server, error) {
	m := newMetrics(reg)
	pins, err := newHasher(cfg, m)
	if err != nil {
		return nil, fmt.Errorf("starting to hash pins: %w", err)
	}
	throttle, err := openThrottle(cfg, log, m)
	if err != nil {
		return nil, err
	}
	store, err := openStore(ctx, cfg)
	if err != nil {
		throttle.close()
		return nil, err
	}
	reg.MustRegister(postgres.NewCollector(store.pool))
	return &server{store: store, pins: pins, throttle: throttle, metrics: m, log: log}, nil
}

func (s *server) close() {
	s.throttle.close()
	s.store.close()
}
