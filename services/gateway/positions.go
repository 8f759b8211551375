package gateway

import (
	"context"
	"sync"
	"time"

	"pymessage/services/social/socialapi"
)

const (
	// flushInterval is how often delivered positions are stored. Together with the
	// pause before a ping it makes the 2 s of events that a killed gateway may
	// deliver again.
	flushInterval = time.Second
	// flushBatch is how many positions one request carries.
	flushBatch = 5000
)

// positions collects delivered positions and stores them in batches.
type positions struct {
	srv  *Server
	wake chan struct{} // capacity 1: flush now

	mu      sync.Mutex
	pending map[int]int64
}

func newPositions(srv *Server) *positions {
	return &positions{srv: srv, wake: make(chan struct{}, 1), pending: map[int]int64{}}
}

// note takes the furthest position of a user's sockets.
func (p *positions) note(user int, seq int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending[user] = max(p.pending[user], seq)
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
		if len(batch) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		err := p.srv.social.SetPositions(ctx, batch)
		cancel()
		if err != nil {
			p.srv.log.Warn("positions could not be stored, trying again", "positions", len(batch), "err", err)
			for _, pos := range batch {
				p.note(pos.User, pos.Seq)
			}
			return
		}
	}
}

func (p *positions) take() []socialapi.UserSeq {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := make([]socialapi.UserSeq, 0, min(len(p.pending), flushBatch))
	for user, seq := range p.pending {
		if len(batch) == flushBatch {
			break
		}
		batch = append(batch, socialapi.UserSeq{User: user, Seq: seq})
		delete(p.pending, user)
	}
	return batch
}
