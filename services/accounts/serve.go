package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"pymessage/internal/bell"
	"pymessage/internal/postgres"
	"pymessage/internal/service"
	"pymessage/services/social/socialapi"
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
	defer s.ringer.Start(ctx)()
	return p.Run(ctx,
		service.HTTP(cfg.ListenAddr, s.publicHandler(measure)),
		service.HTTP(cfg.InternalAddr, s.internalHandler(string(cfg.InternalSecret), measure)),
		s.pruneSessions,
		s.workOutbox)
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
		trustedProxies: cfg.TrustedProxies,
		social:         socialapi.NewClient(cfg.SocialURL, string(cfg.InternalSecret)), deletionGrace: cfg.DeletionGrace,
		departed: make(chan struct{}, 1), complainOutbox: rate.Sometimes{Interval: complainEvery}}, nil
}

// complainEvery bounds how often it is logged that social cannot be told.
const complainEvery = 10 * time.Second

func (s *server) close() {
	s.social.Close()
	s.throttle.close()
	s.store.close()
}
