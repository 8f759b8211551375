package gateway

import (
	"context"
	"maps"
	"sync"
	"time"

	"pymessage/services/social/socialapi"
)

const (
	// flushInterval is how often delivered positions are stored: often, so that each
	// time there are few. With the pause before a ping it stays within the 2 s of
	// events that a killed gateway may deliver again.
	flushInterval = 250 * time.Millisecond
	// flushBatch is how many positions one request carries.
	flushBatch = 5000
)

// positions collects delivered positions and stores them in batches.
type positions struct {
	srv  *Server
	wake chan struct{} // capacity 1: flush now

	mu      sync.Mutex
	pending map[string]map[int]int64 // by epoch and user; there are two epochs only around a restore
}

func newPositions(srv *Server) *positions {
	return &positions{srv: srv, wake: make(chan struct{}, 1), pending: map[string]map[int]int64{}}
}

// note takes the furthest position of a user's sockets in the log of an epoch.
func (p *positions) note(user int, epoch string, seq int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := p.pending[epoch]
	if users == nil {
		users = map[int]int64{}
		p.pending[epoch] = users
	}
	users[user] = max(users[user], seq)
}

// flushSoon is called when a socket closes: its user may log in again at once.
func (p *positions) flushSoon() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run flushes until ctx ends, and once more then.
func (p *positions) run(ctx context.Context) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.wake:
		case <-ctx.Done():
			p.flush()
			return
		}
		p.flush()
	}
}

// flush stores what is pending; what could not be stored is tried again with the
// next flush.
func (p *positions) flush() {
	for {
		batch := p.take()
		if len(batch.Positions) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		err := p.srv.social.SetPositions(ctx, batch)
		cancel()
		if err != nil {
			p.srv.log.Warn("positions could not be stored, trying again", "positions", len(batch.Positions), "err", err)
			for _, pos := range batch.Positions {
				p.note(pos.User, batch.Epoch, pos.Seq)
			}
			return
		}
	}
}

// take gives positions of one epoch.
func (p *positions) take() (batch socialapi.PositionsRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for epoch, users := range p.pending {
		batch.Epoch = epoch
		for user, seq := range users {
			if len(batch.Positions) == flushBatch {
				return batch
			}
			batch.Positions = append(batch.Positions, socialapi.UserSeq{User: user, Seq: seq})
			delete(users, user)
		}
		maps.DeleteFunc(p.pending, func(_ string, users map[int]int64) bool { return len(users) == 0 })
		return batch
	}
	return batch
}
