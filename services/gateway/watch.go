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
	// pingSlice is how exactly pings are timed. The pings of a slice go out together, and
	// hold up the messages that come meanwhile: in slices of 50 ms the p99 at 2,000
	// messages a second was half a millisecond more.
	pingSlice = 25 * time.Millisecond
	// pingSlices is how many slices after a ping the next one comes at the latest that asks
	// whether events were read, and so how long it takes to ask: a second at most.
	pingSlices = int64(time.Second / pingSlice)
	// pingAfter is from how many slices after a ping on the next one goes with the events
	// that it asks for. More pings would be more positions to store.
	pingAfter = pingSlices - pingSpread
	// pingSpread is over how many slices pings are spread of sockets that were pinged
	// together and get events together.
	pingSpread = 4
	// beatPings is how many of these slices make one of the heartbeats, which are spread
	// over the HEARTBEAT. There are fewer of them, and few at a time cost more each.
	beatPings = 10
	// maxHeartbeat bounds the buckets of newBeats, whose number would grow with a
	// HEARTBEAT of years. A socket is pinged this often in any case.
	maxHeartbeat = time.Hour
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

// remove looks through the list, which has to be short.
func (l *connList) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.conns, c); i >= 0 {
		last := len(l.conns) - 1
		l.conns[i], l.conns[last] = l.conns[last], nil
		l.conns = l.conns[:last]
	}
}

func (l *connList) take() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := l.conns
	l.conns = nil
	return conns
}

func (l *connList) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.conns)
}

// newBeats are the buckets of the heartbeats: one for each slice of the HEARTBEAT.
func newBeats(heartbeat time.Duration) []connList {
	return make([]connList, max(1, int(min(heartbeat, maxHeartbeat)/(beatPings*pingSlice))))
}

// beatsOf is the bucket of a socket.
func (s *Server) beatsOf(c *conn) *connList { return &s.beats[c.place%len(s.beats)] }

// heartbeat pings, without a timer for each socket: those that got events since their
// last ping, to have them confirmed, and in turn all others once each HEARTBEAT.
func (s *Server) heartbeat(ctx context.Context) {
	began := time.Now()
	tick := time.NewTicker(pingSlice)
	defer tick.Stop()
	for next := int64(0); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		due := int64(time.Since(began) / pingSlice)         // counted by the clock: a busy machine loses ticks
		next = max(next, due-beatPings*int64(len(s.beats))) // after a standstill each socket is due only once
		for ; next < due; next++ {
			s.beatSlice(next)
		}
	}
}

// beatSlice pings those whose turn is in the nth slice.
func (s *Server) beatSlice(n int64) {
	s.slice.Store(n)
	for _, c := range s.pings[n%pingSlices].take() {
		c.takeTurn()
	}
	if n%beatPings != 0 {
		return
	}
	for _, c := range s.beats[n/beatPings%int64(len(s.beats))].all() {
		c.beat()
	}
}

// pingInTurn has a socket pinged a second after its last ping, or a little earlier. It
// needs c.mu.
func (s *Server) pingInTurn(c *conn) {
	if !c.turn {
		c.turn = true
		s.pings[(c.pinged+pingSlices-int64(c.place%pingSpread))%pingSlices].add(c)
	}
}

// takeTurn pings a socket, unless a ping went with events meanwhile.
func (c *conn) takeTurn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn = false
	switch {
	case !c.dirty:
	case c.sincePing() < pingAfter:
		c.srv.pingInTurn(c)
	default:
		c.enqueue(frame{kind: pingFrame})
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
