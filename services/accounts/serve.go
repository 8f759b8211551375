package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
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
	hush := s.ring(ctx)
	defer hush()
	return p.Run(ctx,
		service.HTTP(cfg.ListenAddr, s.publicHandler(measure)),
		service.HTTP(cfg.InternalAddr, s.internalHandler(string(cfg.InternalSecret), measure)),
		s.pruneSessions)
}

// ring publishes the rings of s until hush is called, which returns when all are
// out. It outlives ctx: the last requests that are answered ring too.
func (s *server) ring(ctx context.Context) (hush func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ringing sync.WaitGroup
	ringing.Go(func() { _ = s.ringer.Run(ctx) }) // ends only when it is stopped
	return func() {
		stop()
		ringing.Wait()
	}
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
	throttle.measure(reg)
	ringer := bell.NewRinger(throttle.rdb, cfg.Redis.Channels(), log, reg)
	return &server{store: store, pins: pins, throttle: throttle, ringer: ringer, metrics: m, log: log,
		trustedProxies: cfg.TrustedProxies}, nil
}

func (s *server) close() {
	s.throttle.close()
	s.store.close()
}
