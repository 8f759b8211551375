package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

const (
	// pollInterval is how often the heads are checked while Redis is away, or rings
	// do not come through.
	pollInterval = time.Second
	// headsBatch is how many users one check names.
	headsBatch = 2000
	// pingTick is the pause between the writing of an event and the ping that asks
	// whether it was read: this long at most, half of it on average.
	pingTick = time.Second
)

// watchHeads bounds how long an event can stay unseen whose ring was lost: all
// heads are checked every HEAD_CHECK, every second while Redis is away, and at once
// when it is back.
func (s *Server) watchHeads(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-s.headsWanted:
		case <-tick.C:
			if s.broker.Healthy() && !s.probe.broken.Load() && time.Since(last) < s.cfg.HeadCheck {
				continue
			}
		case <-ctx.Done():
			return
		}
		last = time.Now()
		s.checkHeads(ctx)
	}
}

func (s *Server) checkHeads(ctx context.Context) {
	for users := range slices.Chunk(s.hub.users(), headsBatch) {
		limit, cancel := context.WithTimeout(ctx, requestTimeout)
		heads, err := s.social.Heads(limit, users)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("heads could not be checked, trying again", "err", err)
			}
			return
		}
		s.noteHeads(heads)
	}
}

func (s *Server) noteHeads(heads socialapi.Heads) {
	for _, h := range heads.Heads {
		if f := s.hub.find(h.User); f != nil {
			f.noteHead(heads.Epoch, h.Seq)
		}
	}
}

// connList are sockets that wait for something that is done for many at once.
type connList struct {
	mu    sync.Mutex
	conns []*conn
}

func (l *connList) add(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
}

func (l *connList) take() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := l.conns
	l.conns = nil
	return conns
}

// heartbeat pings, without a timer for each socket: those that got events since the
// last tick, to have them confirmed, and in turn all others once each HEARTBEAT.
func (s *Server) heartbeat(ctx context.Context) {
	tick := time.NewTicker(pingTick)
	defer tick.Stop()
	for now := 0; ; now = (now + 1) % s.buckets() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, c := range s.pings.take() {
			c.ping()
		}
		for _, c := range s.allConns() {
			if c.bucket == now {
				c.beat()
			}
		}
	}
}

// beat pings, and tells version 2 the newest seq, so that it knows if it has missed
// something.
func (c *conn) beat() {
	c.ping()
	if f := c.follows(); f != nil && c.version == wire.V2 {
		f.beat(c)
	}
}

// buckets is over how many ticks the heartbeats are spread.
func (s *Server) buckets() int { return max(1, int(s.cfg.Heartbeat/pingTick)) }
