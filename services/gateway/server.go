// Package gateway is the gateway service: it holds the sockets of users, speaks
// the socket protocol with them, stores what they send through the social service
// and brings them what is in their inboxes. It keeps nothing: any gateway can be
// killed at any time, and its clients go on at any other.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/gateway/broker"
	"pymessage/services/social/socialapi"
)

// retryMin and retryMax bound the growing pause between two tries of something that
// has to succeed in the end.
const (
	retryMin = 50 * time.Millisecond
	retryMax = 2 * time.Second
)

// endTimeout is how long sockets that were told to close may take.
const endTimeout = 5 * time.Second

// Server is a gateway.
type Server struct {
	// Static after construction.
	cfg       Config
	name      string // tells this gateway from others
	log       *slog.Logger
	metrics   metrics
	health    *service.Health
	accounts  *accountsapi.Client
	social    *socialapi.Client
	broker    *broker.Broker
	ringer    *bell.Ringer
	hub       *hub
	flusher   *flusher
	lanes     []*lane
	positions *positions
	receipts  *receipts
	presence  *presence
	probe     *probe
	asks      asks
	handler   http.Handler

	slice atomic.Int64         // of the time, counted by heartbeat
	pings [pingSlices]connList // sockets to which events were written since their last ping, by their turn
	beats []connList           // all sockets, by bucket: their turn to get a heartbeat

	freshSessions  connList      // sockets that logged in just now
	sessionsWanted chan struct{} // capacity 1: check all sessions now

	connCtx     context.Context // ends when every socket has to end
	cancelConns context.CancelFunc
	tasks       sync.WaitGroup // readers of the store
	headsWanted chan struct{}  // capacity 1: check all heads now
	next        atomic.Uint64  // place of the last socket

	mu       sync.Mutex // guards all below
	conns    map[*conn]struct{}
	ended    sync.Cond // on mu: a conn has ended
	draining bool
}

// New makes a gateway; Run runs it.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	s := &Server{
		cfg: cfg, name: uuid.NewString(), log: log, metrics: newMetrics(reg), health: &service.Health{},
		accounts:    accountsapi.NewClient(cfg.AccountsURL, string(cfg.InternalSecret)),
		social:      socialapi.NewClient(cfg.SocialURL, string(cfg.InternalSecret)),
		headsWanted: make(chan struct{}, 1), sessionsWanted: make(chan struct{}, 1),
		conns: map[*conn]struct{}{}, beats: newBeats(cfg.Heartbeat),
	}
	s.ended.L = &s.mu
	s.connCtx, s.cancelConns = context.WithCancel(context.Background())
	s.asks = newAsks(s)
	s.hub = newHub(s)
	s.flusher = newFlusher(s.laneWait)
	s.positions = newPositions(s)
	s.receipts = &receipts{srv: s, pending: map[receipt]int64{}}
	s.presence = newPresence(s)
	var err error
	if s.broker, err = broker.New(cfg.Redis, s.hub, log, reg); err != nil {
		return nil, err
	}
	s.ringer = bell.NewRinger(s.broker.Client(), s.broker.Channels(), log, reg)
	s.probe = newProbe(s)
	for range cfg.Lanes {
		s.lanes = append(s.lanes, newLane(s))
	}
	s.handler = s.routes()
	return s, nil
}

// Handler is the public HTTP interface.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve builds a gateway from its settings and runs it until ctx ends.
func Serve(ctx context.Context, cfg Config, p *service.Process) error {
	s, err := New(cfg, p.Log, p.Registry)
	if err != nil {
		return err
	}
	s.health = p.Health
	p.Health.Await("redis", s.broker.Ping)
	return p.Run(ctx, s.Run)
}

// Run serves until ctx ends, then drains: no new sockets, those there are closed in
// paced steps, and only then stops what they need.
func (s *Server) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.cfg.ListenAddr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.cfg.ListenAddr, err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(background)
	s.runBackground(g, failed)
	g.Go(func() error { s.flusher.run(background); return nil }) // also when another part fails: sockets end by what is written to them
	srv := service.NewHTTPServer(s.handler)
	g.Go(func() error {
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	select {
	case <-ctx.Done():
	case <-failed.Done():
	}
	s.stopSockets(srv)
	stop()
	err := g.Wait()
	s.close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// runBackground starts what sockets need, for as long as there are sockets.
func (s *Server) runBackground(g *errgroup.Group, ctx context.Context) {
	g.Go(func() error { return s.broker.Run(ctx) })
	g.Go(func() error { return s.ringer.Run(ctx) })
	g.Go(func() error { s.positions.run(ctx); return nil })
	g.Go(func() error { s.receipts.run(ctx); return nil })
	g.Go(func() error { s.presence.run(ctx); return nil })
	g.Go(func() error { s.watchHeads(ctx); return nil })
	g.Go(func() error { s.watchSessions(ctx); return nil })
	g.Go(func() error { s.heartbeat(ctx); return nil })
	g.Go(func() error { s.probe.run(ctx); return nil })
	for _, l := range s.lanes {
		g.Go(func() error { l.run(ctx); return nil })
	}
}

// stopSockets closes the listener and then every socket.
func (s *Server) stopSockets(srv *http.Server) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.metrics.draining.Set(1)
	s.log.Info("draining", "sockets", len(s.allConns()))
	cut := time.AfterFunc(s.cfg.DrainSpread+endTimeout, s.cutSockets)
	defer cut.Stop()
	_ = srv.Close() // sockets are hijacked: they are no concern of it
	s.drainAll()
	s.awaitConns()
}

// cutSockets ends what did not end by itself.
func (s *Server) cutSockets() {
	s.cancelConns()
	for _, c := range s.allConns() {
		s.metrics.drainCuts.Inc()
		c.ws.Close()
	}
}

// awaitConns waits until every socket, and what reads the store for them, has ended.
func (s *Server) awaitConns() {
	s.mu.Lock()
	for len(s.conns) > 0 {
		s.ended.Wait()
	}
	s.mu.Unlock()
	s.cancelConns()
	s.tasks.Wait()
}

func (s *Server) close() {
	s.broker.Close()
	s.accounts.Close()
	s.social.Close()
}

// remember adds a socket; false when the gateway is draining.
func (s *Server) remember(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[c] = struct{}{}
	s.beatsOf(c).add(c)
	s.metrics.sockets.Inc()
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.beatsOf(c).remove(c)
	s.metrics.sockets.Dec()
	s.ended.Broadcast()
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *Server) allConns() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		out = append(out, c)
	}
	return out
}

// sleep waits for a pause that doubles each time; false when the sockets end.
func (s *Server) sleep(pause *time.Duration) bool { return sleep(s.connCtx, pause) }

// sleep waits for a pause that doubles each time; false when ctx ends before.
func sleep(ctx context.Context, pause *time.Duration) bool {
	timer := time.NewTimer(*pause)
	defer timer.Stop()
	*pause = min(2**pause, retryMax)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
