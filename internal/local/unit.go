package local

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A unit that dies is started again after a pause that doubles with each death in
// a row, and begins anew when it has lived for a while.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 10 * time.Second
	healthyAfter = 30 * time.Second
)

// runner starts and ends a program: a service's process, or a store.
type runner interface {
	// launch starts the program; the one before must have ended.
	launch(ctx context.Context) error
	// done is closed when the program that was launched last has ended.
	done() <-chan struct{}
	// epitaph says how it ended, for people.
	epitaph() string
	// stop ends it in good order, kill at once. Both wait for the end, and do
	// nothing when it has ended.
	stop(ctx context.Context) error
	kill(ctx context.Context) error
}

// unit keeps one program running until it is told otherwise.
type unit struct {
	// static
	name   string
	run    runner
	report func(string)

	mu          sync.Mutex
	supervision *supervision // nil while the program is meant to be stopped
}

// supervision is the goroutine that watches a program.
type supervision struct {
	cancel context.CancelFunc
	over   chan struct{}
}

// start launches the program and watches it from then on. It does nothing if it
// is meant to run already.
func (u *unit) start(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.supervision != nil {
		return nil
	}
	if err := u.run.launch(ctx); err != nil {
		return fmt.Errorf("start %s: %w", u.name, err)
	}
	u.watch()
	return nil
}

// adopt watches a program that runs already.
func (u *unit) adopt() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watch()
}

// watch is called with mu held.
func (u *unit) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	u.supervision = &supervision{cancel: cancel, over: make(chan struct{})}
	go func(over chan<- struct{}) {
		defer close(over)
		u.keepRunning(ctx)
	}(u.supervision.over)
}

// stop ends the program in good order, kill at once; start runs it again.
func (u *unit) stop(ctx context.Context) error { return u.end(ctx, u.run.stop) }
func (u *unit) kill(ctx context.Context) error { return u.end(ctx, u.run.kill) }

// end stops watching first, so that the death is not taken for an accident.
func (u *unit) end(ctx context.Context, end func(context.Context) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.supervision == nil {
		return nil
	}
	u.supervision.cancel()
	<-u.supervision.over
	u.supervision = nil
	if err := end(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", u.name, err)
	}
	return nil
}

// keepRunning starts the program again whenever it dies.
func (u *unit) keepRunning(ctx context.Context) {
	pause := firstPause
	for {
		launched := time.Now()
		select {
		case <-u.run.done():
		case <-ctx.Done():
			return
		}
		if time.Since(launched) > healthyAfter {
			pause = firstPause
		}
		u.report(fmt.Sprintf("%s died (%s) and is started again", u.name, u.run.epitaph()))
		if !u.revive(ctx, &pause) {
			return
		}
	}
}

// revive launches the program, as often as it takes.
func (u *unit) revive(ctx context.Context, pause *time.Duration) bool {
	for {
		select {
		case <-time.After(*pause):
		case <-ctx.Done():
			return false
		}
		*pause = min(2**pause, longestPause)
		err := u.run.launch(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			u.report(fmt.Sprintf("%s could not be started again: %v", u.name, err))
		}
	}
}
