package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// The pause before a new connection is random, up to minBackoff at first and
	// twice as long each time, up to maxBackoff: many clients that lost the same
	// gateway spread out, and come back soon.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
	// restartPause spreads the clients of a gateway that said it stops; the others
	// are fine.
	restartPause = 500 * time.Millisecond
	// stableAfter is how long a connection has to last for the pauses to begin anew.
	// Otherwise one that breaks right after each login would be a busy loop.
	stableAfter = 10 * time.Second
)

// backoff counts failures in a row.
type backoff struct{ failures int }

func (b *backoff) next() time.Duration {
	limit := maxBackoff
	if b.failures < 10 { // beyond, the shift would say nothing more
		limit = min(maxBackoff, minBackoff<<b.failures)
	}
	b.failures++
	return upTo(limit)
}

// upTo is a random duration.
func upTo(d time.Duration) time.Duration { return rand.N(d + 1) }

// sleep waits, and is false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
