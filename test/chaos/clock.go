package chaos

import (
	"context"
	"slices"
	"time"
)

const (
	// beatPause is between two beats of the clock.
	beatPause = 20 * time.Millisecond
	// beatTime is the most that one beat counts for: the pause, and what a timer and a
	// commit take on a machine that is not busy.
	beatTime = 25 * time.Millisecond
)

// clock are the moments at which a heart beat. A beat is a timer and a commit of its
// own in the same Postgres: nothing of the services, but the processors and the disk
// that they share with it. When those are busy elsewhere it beats slower, and so time
// is counted in beats wherever a promise names a time: a machine that does not get
// to run the services does not make them late, and one that is idle excuses nothing.
type clock []Instant

// after is the moment at which a time is over that begins at from.
func (c clock) after(from Instant, d time.Duration) Instant {
	first, _ := slices.BinarySearch(c, from)
	for _, beat := range c[first:] {
		passed := min(beat-from, beatTime)
		if passed >= d {
			return from + d
		}
		d -= passed
		from = beat
	}
	return from + d
}

// between is the time that the clock counts from one moment to another.
func (c clock) between(from, to Instant) (passed time.Duration) {
	first, _ := slices.BinarySearch(c, from)
	for _, beat := range c[first:] {
		if beat >= to {
			break
		}
		passed += min(beat-from, beatTime)
		from = beat
	}
	if len(c) == 0 {
		return to - from
	}
	return passed + min(to-from, beatTime)
}

// pulse beats until ctx ends. While commit fails no time passes.
func pulse(ctx context.Context, rec *recorder, commit func(ctx context.Context) error) {
	for sleepUntil(ctx, time.Now().Add(beatPause)) {
		if commit(ctx) == nil {
			rec.beat()
		}
	}
}
