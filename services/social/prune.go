package social

import (
	"context"
	"time"
)

// Lanes of gateways that are gone are forgotten after a day: no gateway repeats a
// batch for as long as that.
const (
	laneIdle   = 24 * time.Hour
	pruneEvery = time.Hour
	pruneBatch = 1000 // lanes in one transaction, so that it is short
)

// To find old nonces costs a look at all of them. Nonces are kept for longer than
// asked for by at most a part of the time, so that each is looked at a few times
// in its life, however many there are.
const (
	nonceLooks  = 8
	nonceBlocks = 64 // in one transaction, so that it is short: some 3,000 nonces
)

// Passes through all inboxes begin so often, measured by the age from which events
// are deleted: they are kept for longer by that, and by what a pass takes.
const (
	passesInAge = 10
	pruneFaster = time.Second // not more often than this
	// pruneLook is how long a pod waits that found another one at it, or a deletion of
	// an account, or that it is not time: a look costs a row.
	pruneLook = 10 * time.Second
)

// pruneLanes forgets idle lanes, at once and then every hour, until ctx ends.
func (s *server) pruneLanes(ctx context.Context) error {
	return s.again(ctx, pruneEvery, "idle lanes not forgotten; tried again later", func() error {
		return s.pruneIdleLanes(ctx, laneIdle, pruneBatch)
	})
}

// pruneNonces forgets old nonces, at once and then now and again, until ctx ends.
func (s *server) pruneNonces(ctx context.Context) error {
	every := max(pruneEvery, s.nonceAge/nonceLooks)
	return s.again(ctx, every, "old nonces not forgotten; tried again later", func() error {
		return s.pruneOldNonces(ctx, s.nonceAge, nonceBlocks)
	})
}

// pruneInboxes deletes old events that are delivered, in steps, until ctx ends. Any
// pod takes the next step; who finds another one at it looks again soon.
func (s *server) pruneInboxes(ctx context.Context) error {
	if s.messageAge == 0 { // everything is kept
		<-ctx.Done()
		return ctx.Err()
	}
	every := min(max(s.messageAge/passesInAge, pruneFaster), pruneEvery)
	for {
		pruned, rest, mine, err := s.store.pruneEvents(ctx, s.messageAge, every)
		s.metrics.eventsPruned.Add(float64(pruned))
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old events not deleted; tried again later", "err", err)
		}
		if !mine {
			rest = min(every, pruneLook)
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// again does f at once and then every so often, until ctx ends. A failure is
// logged as complaint.
func (s *server) again(ctx context.Context, every time.Duration, complaint string, f func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := f(); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, complaint, "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) pruneIdleLanes(ctx context.Context, idle time.Duration, batch int) error {
	for {
		pruned, err := s.store.pruneLanes(ctx, idle, batch)
		s.metrics.lanesPruned.Add(float64(pruned))
		if err != nil || pruned < batch {
			return err
		}
	}
}

// pruneOldNonces goes once through the table as it is at the beginning: what is
// added to its end meanwhile is young.
func (s *server) pruneOldNonces(ctx context.Context, age time.Duration, batch int64) error {
	blocks, err := s.store.nonceBlocks(ctx)
	for from := int64(0); err == nil && from < blocks; from += batch {
		var pruned int
		pruned, err = s.store.pruneNonces(ctx, age, from, from+batch)
		s.metrics.noncesPruned.Add(float64(pruned))
	}
	return err
}
