package gateway

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"pymessage/internal/bell"
)

// probePatience is how long a probe may take at most. Rings take milliseconds.
const probePatience = 3 * time.Second

// Words of the readiness.
const (
	probeName   = "rings"
	probeShared = "do not come through, perhaps for no gateway: users get their messages up to a second late"
	probeOwn    = "do not come through here, but to other gateways"
)

// probe rings for the gateway itself, on the channel of a user who cannot exist, all
// the way that other rings take: ringer, Redis, subscriber connection, hub.
//
// A broken way is no reason to be unready: if Redis is away it is broken for all, and
// each still serves its users by checking the heads. Only when another gateway's
// probe came through between two failures of ours are we at fault ourselves. So
// there is always a gateway left that is ready.
type probe struct {
	srv    *Server
	user   int             // negative: no user's
	echoes chan bell.Event // capacity 1
	broken atomic.Bool

	// Owned by run.
	seq   int64
	sight string // what was last seen of other gateways while ours failed
}

func newProbe(srv *Server) *probe {
	return &probe{srv: srv, user: -1 - rand.IntN(1<<53), echoes: make(chan bell.Event, 1)}
}

// heard takes a ring on the probe's channel. It does not block: an echo that nobody
// waits for any more may be lost.
func (p *probe) heard(ev bell.Event) {
	select {
	case p.echoes <- ev:
	default:
	}
}

// run probes every PROBE_INTERVAL until ctx ends.
func (p *probe) run(ctx context.Context) {
	subscribed := p.srv.broker.Subscribe(p.user)
	defer p.srv.broker.Unsubscribe(p.user)
	select {
	case <-subscribed:
	case <-time.After(p.patience()):
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(p.srv.cfg.ProbeInterval)
	defer tick.Stop()
	for {
		took, ok := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		p.conclude(ctx, took, ok)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *probe) patience() time.Duration { return min(probePatience, p.srv.cfg.ProbeInterval) }

// once rings and waits for the echo.
func (p *probe) once(ctx context.Context) (took time.Duration, ok bool) {
	p.seq++
	began := time.Now()
	late := time.NewTimer(p.patience())
	defer late.Stop()
	p.srv.ringer.Ring(p.user, "", bell.Event{Seq: p.seq, Kind: bell.KindProbe, SentAt: began.UnixMilli()})
	for {
		select {
		case echo := <-p.echoes:
			if echo.Seq == p.seq { // not one that came too late
				return time.Since(began), true
			}
		case <-late.C:
			return 0, false
		case <-ctx.Done():
			return 0, false
		}
	}
}

// conclude tells what came of a probe.
func (p *probe) conclude(ctx context.Context, took time.Duration, ok bool) {
	m, health := &p.srv.metrics, p.srv.health
	if ok {
		p.broken.Store(false)
		p.sight = ""
		m.probeOK.Set(1)
		m.probeSeconds.Observe(took.Seconds())
		health.SetWarning(probeName, "")
		health.SetFault(probeName, "")
		if err := p.srv.broker.Sighted(ctx, p.mark()); err != nil {
			p.srv.log.Debug("the other gateways could not be told that rings come through", "err", err)
		}
		return
	}
	p.broken.Store(true)
	m.probeOK.Set(0)
	m.probeFailures.Inc()
	health.SetWarning(probeName, probeShared)
	own := ""
	if p.othersHear(ctx) {
		own = probeOwn
	}
	health.SetFault(probeName, own)
	p.srv.log.Warn("a ring of our own did not come through", "after", p.patience().String())
}

// mark is different for each success of each gateway.
func (p *probe) mark() string { return strconv.Itoa(p.user) + "." + strconv.FormatInt(p.seq, 10) }

// othersHear says whether the probe of another gateway came through since the last
// failure of ours.
func (p *probe) othersHear(ctx context.Context) bool {
	sight, err := p.srv.broker.LastSight(ctx)
	if err != nil {
		p.sight = ""
		return false
	}
	news := p.sight != "" && sight != p.sight
	p.sight = sight
	return news
}
