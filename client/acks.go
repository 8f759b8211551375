package client

import (
	"sync"
	"time"
)

const (
	// ackEvery and ackDelay batch confirmations: after so many events, or so long
	// after the first. A crash of this process repeats no more than these, and a busy
	// client sends one ack for a hundred events.
	ackEvery = 100
	ackDelay = 500 * time.Millisecond
)

// acks are what the user has handled, and the server was not told yet.
type acks struct {
	more chan struct{} // the writer should look

	mu      sync.Mutex
	epoch   string // of the log that the connection is about
	handled cursor // the newest event
	pending int    // events that were handled since the last ack
	since   time.Time
}

// handle notes an event whose handler has returned.
func (a *acks) handle(at cursor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handled = at
	a.count()
	if a.pending == 1 || a.pending == ackEvery {
		wake(a.more)
	}
}

// begin tells of a new connection, or that this one is about another log now. What
// the last ack said may not have arrived: it is said again.
func (a *acks) begin(epoch string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch = epoch
	if a.handled.known() {
		a.count()
		wake(a.more)
	}
}

func (a *acks) count() {
	if a.pending++; a.pending == 1 {
		a.since = time.Now()
	}
}

// due gives the seq to confirm now, or 0 and how long there is nothing to do; 0 is
// until more says so. Everything is due at the end.
func (a *acks) due(end bool) (seq int64, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending == 0 {
		return 0, 0
	}
	if wait = ackDelay - time.Since(a.since); !end && a.pending < ackEvery && wait > 0 {
		return 0, wait
	}
	a.pending = 0
	if a.handled.epoch != a.epoch {
		return 0, 0 // of a log that is gone
	}
	return a.handled.seq, 0
}
