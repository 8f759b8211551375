package gateway

import (
	"context"
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

// probe rings for the gateway itself, on channels of users who cannot exist, one in
// each partition, all the way that other rings take: ringer, Redis, subscriber
// connection, hub. It succeeds when all of them come through.
//
// A broken way is no reason to be unready: if Redis is away it is broken for all, and
// each still serves its users by checking the heads. Only when another gateway's
// probe came through between two failures of ours are we at fault ourselves. So
// there is always a gateway left that is ready.
type probe struct {
	srv    *Server
	users  []int     // by partition; negative: no user's
	echoes chan echo // capacity: one of each user
	broken atomic.Bool

	// Owned by run.
	seq   int64
	sight string // what was last seen of other gateways while ours failed
}

// echo is a ring of a probe that has come back.
type echo struct {
	user int
	seq  int64
}

func newProbe(srv *Server) *probe {
	p := &probe{srv: srv}
	channels := srv.broker.Channels()
	for partition := range channels.Partitions() {
		p.users = append(p.users, channels.Nobody(partition))
	}
	p.echoes = make(chan echo, len(p.users))
	return p
}

// heard takes a ring on a channel of the probe. It does not block: an echo that nobody
// waits for any more may be lost.
func (p *probe) heard(user int, ev bell.Event) {
	select {
	case p.echoes <- echo{user, ev.Seq}:
	default:
	}
}

// run probes every PROBE_INTERVAL until ctx ends.
func (p *probe) run(ctx context.Context) {
	p.subscribe(ctx)
	defer p.unsubscribe()
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

// subscribe waits for the confirmations, but not for long.
func (p *probe) subscribe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	var confirmed []<-chan struct{}
	for _, user := range p.users {
		confirmed = append(confirmed, p.srv.broker.Subscribe(user))
	}
	for _, c := range confirmed {
		select {
		case <-c:
		case <-ctx.Done():
			return
		}
	}
}

func (p *probe) unsubscribe() {
	for _, user := range p.users {
		p.srv.broker.Unsubscribe(user)
	}
}

func (p *probe) patience() time.Duration { return min(probePatience, p.srv.cfg.ProbeInterval) }

// once rings and waits for all echoes.
func (p *probe) once(ctx context.Context) (took time.Duration, ok bool) {
	p.seq++
	began := time.Now()
	late := time.NewTimer(p.patience())
	defer late.Stop()
	missing := map[int]bool{}
	for _, user := range p.users {
		missing[user] = true
		p.srv.ringer.Ring(user, "", bell.Event{Seq: p.seq, Kind: bell.KindProbe, SentAt: began.UnixMilli()})
	}
	for {
		select {
		case e := <-p.echoes:
			if e.seq == p.seq { // not one that came too late
				delete(missing, e.user)
			}
			if len(missing) == 0 {
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
func (p *probe) mark() string { return strconv.Itoa(p.users[0]) + "." + strconv.FormatInt(p.seq, 10) }

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
