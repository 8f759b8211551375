package social

import (
	"context"
	"log/slog"

	"golang.org/x/time/rate"

	"pymessage/internal/bell"
	"pymessage/internal/postgres"
	"pymessage/internal/service"
	"pymessage/internal/stream"
	"pymessage/services/accounts/accountsapi"
)

// Serve runs the social service until ctx ends. Accounts need not be there for
// it: without accounts, users that social has heard of get their messages.
func Serve(ctx context.Context, cfg Config, p *service.Process) error {
	pool, err := postgres.Open(ctx, string(cfg.DatabaseURL), cfg.DatabaseConns)
	if err != nil {
		return err
	}
	defer pool.Close()
	p.Registry.MustRegister(postgres.NewCollector(pool))
	accounts := accountsapi.NewClient(cfg.AccountsURL, string(cfg.InternalSecret))
	defer accounts.Close()

	ringer, closeRinger, err := cfg.Redis.OpenRinger(p.Log, p.Registry)
	if err != nil {
		return err
	}
	defer closeRinger()

	s := newServer(cfg, newStore(pool, cfg.MessagePolicy, newMetrics(p.Registry), p.Log), accounts, ringer, p.Log)
	p.Health.Await("postgres", func(ctx context.Context) error {
		return postgres.CheckSchema(ctx, pool, migrations)
	})
	measure := service.MeasureHTTP(p.Registry)
	defer ringer.Start(ctx)()
	return p.Run(ctx,
		service.HTTP(cfg.ListenAddr, s.publicHandler(measure)),
		service.HTTP(cfg.InternalAddr, s.internalHandler(string(cfg.InternalSecret), measure)),
		s.sends.Run,
		s.pruneLanes,
		s.pruneNonces,
		s.pruneInboxes)
}

func newServer(cfg Config, st *store, accounts *accountsapi.Client, ringer *bell.Ringer, log *slog.Logger) *server {
	s := &server{
		store:  st,
		merger: &merger{store: st.send},
		directory: &directory{
			store: st, accounts: accounts, known: newRecent[int](rememberedUsers),
			metrics: st.metrics, log: log, complain: rate.Sometimes{Interval: complainEvery},
		},
		maxWaiting: cfg.MaxPendingRequests,
		messageAge: cfg.MessageRetention,
		nonceAge:   cfg.NonceRetention,
		metrics:    st.metrics,
		log:        log,
		ringer:     ringer,

		trustedProxies: cfg.TrustedProxies,
	}
	s.sends = stream.NewServer(s.callSend, log)
	return s
}
