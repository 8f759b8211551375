package broker

import (
	"context"
	"slices"
	"time"
)

const (
	// refreshPause is the time between two rounds of looking after those who are due:
	// long enough for many to share a question, and short against the half of a
	// memoryLife that there is for it, so that there are several attempts.
	refreshPause = 250 * time.Millisecond
	// refreshBatch is for how many users one question asks. Lanes ask on the same
	// connection, and may have to wait for one such question.
	refreshBatch = 256
)

// refresh looks after those who are due, so that no message to somebody who is written
// to all the time waits for a question. While nobody is due it sleeps.
func (b *Broker) refresh(ctx context.Context) error {
	for {
		select {
		case <-b.due:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(refreshPause): // others become due meanwhile
		case <-ctx.Done():
			return ctx.Err()
		}
		b.refreshDue(ctx)
	}
}

// refreshDue takes a pause at most, also when Redis hangs: who was not reached, and is
// asked for again, is due again.
func (b *Broker) refreshDue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, refreshPause)
	defer cancel()
	var due []int
	for _, l := range b.lines {
		due = append(due, l.memory.takeDue()...)
	}
	for users := range slices.Chunk(due, refreshBatch) {
		if ctx.Err() != nil {
			return
		}
		b.find(ctx, users)
	}
}
