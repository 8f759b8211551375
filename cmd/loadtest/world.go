package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// addresses on the loopback that sockets come from: each has 28,000 ports.
	addresses = 8
	// creations of accounts at a time: so many pins find room in the queue of
	// accounts, which refuses more than ARGON2_QUEUE.
	creations = 64
	// mostFaults are told.
	mostFaults = 10
	// The pauses between two attempts to log in.
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = time.Second
	// unavailable is the one refusal of a login that is worth another attempt.
	unavailable = "refused: service unavailable, try again"
)

// world is the users of a run and what they send each other.
type world struct {
	// static
	target *target
	opts   *options
	run    uint16 // names it in contents
	users  []*user

	sending  atomic.Bool // closed loops go on
	ending   atomic.Bool // sockets may end
	recorder atomic.Pointer[recorder]
	readers  sync.WaitGroup

	mu      sync.Mutex // guards all below
	faults  []string
	streams []*stream
}

// newWorld makes users, who do not exist yet.
func newWorld(t *target, o *options, n int) *world {
	w := &world{target: t, opts: o, run: uint16(mrand.Uint32())}
	prefix := o.prefix
	if prefix == "" {
		prefix = "load" + strings.ToLower(rand.Text()[:8])
	}
	for i := range n {
		u := &user{
			w: w, n: i, name: fmt.Sprintf("%s-%d", prefix, i), version: o.versionOf(i),
			home: t.homeOf(i), incoming: map[int64]*stream{}, timed: true,
		}
		if t.loopback {
			u.dialer.local = net.IPv4(127, 0, 0, byte(1+i%addresses))
		}
		w.users = append(w.users, u)
	}
	return w
}

// note keeps a fault for the end.
func (w *world) note(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) < mostFaults && !slices.Contains(w.faults, fault) {
		w.faults = append(w.faults, fault)
	}
}

// create makes all accounts, and leaves them logged in, on a machine that is at rest.
func (w *world) create(ctx context.Context, p *progress) error {
	p.watch(w)
	p.say("making users")
	limit := min(w.opts.parallel, creations)
	err := each(ctx, limit, w.users, func(ctx context.Context, u *user) error { return u.join(ctx, w.opts.prefix == "") })
	if err == nil && w.target.local != nil {
		p.say("waiting for the disk to be quiet")
		awaitQuietDisk(ctx, w.opts.quiet)
	}
	return err
}

// each does something for users, some at a time.
func (w *world) each(ctx context.Context, users []*user, do func(context.Context, *user) error) error {
	return each(ctx, w.opts.parallel, users, do)
}

func each(ctx context.Context, limit int, users []*user, do func(context.Context, *user) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for _, u := range users {
		group.Go(func() error {
			if err := do(ctx, u); err != nil {
				return fmt.Errorf("user %d: %w", u.n, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// join enters as a new user, or as one of a run before.
func (u *user) join(ctx context.Context, isNew bool) error {
	address := u.w.target.urls[u.home]
	if !isNew {
		err := u.enter(ctx, address, byPin)
		if err == nil {
			u.start()
			return nil
		}
		if !errors.As(err, &refusal{}) {
			return err
		}
	}
	if err := u.enter(ctx, address, creating); err != nil {
		return err
	}
	u.start()
	return nil
}

// start follows the socket until it ends, which is a fault unless it may.
func (u *user) start() {
	u.w.readers.Go(func() {
		if err := u.follow(); !u.w.ending.Load() && !u.loose.Load() {
			u.w.note(fmt.Sprintf("user %d: its socket ended: %v", u.n, err))
		}
	})
}

// connect makes a stream from one user to another, of messages of size bytes. Both
// have their ids by now.
func (w *world) connect(from, to *user, size int) *stream {
	s := &stream{from: from, to: to}
	s.makeTemplate(size)
	from.mu.Lock()
	from.outgoing = s
	from.mu.Unlock()
	to.mu.Lock()
	to.incoming[from.id] = s
	to.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams = append(w.streams, s)
	return s
}

func (w *world) allStreams() []*stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.streams[:len(w.streams):len(w.streams)]
}

// totals are messages acknowledged and delivered so far.
func (w *world) totals() (acked, came int64) {
	for _, s := range w.allStreams() {
		acked += s.acked.Load()
		came += s.came.Load()
	}
	return acked, came
}

// leave ends the sockets of users and waits until they are noticed to be gone.
func (w *world) leave(ctx context.Context, users []*user) {
	for _, u := range users {
		u.loose.Store(true)
		u.cut()
	}
	w.await(ctx, users, "gone", func(u *user) bool { return u.state.Load() == away })
}

// await waits until all users are as wanted, for as long as the patience lasts.
func (w *world) await(ctx context.Context, users []*user, what string, wanted func(*user) bool) {
	until := time.Now().Add(w.opts.patience)
	for _, u := range users {
		for !wanted(u) && ctx.Err() == nil {
			if time.Now().After(until) {
				w.note(fmt.Sprintf("user %d: not %s in time", u.n, what))
				return
			}
			pause(ctx, 2*time.Millisecond)
		}
	}
}

// comeBack logs a user in again, however often it takes; it tells how often it did
// not succeed. The pauses between are those of a client with good manners.
func (u *user) comeBack(ctx context.Context, addresses []string) (failed int, err error) {
	for wait := firstBackoff; ; wait = min(2*wait, longestBackoff) {
		address := addresses[(u.n+failed)%len(addresses)]
		err := u.enter(ctx, address, u.w.opts.entranceAgain(u.n))
		if err == nil {
			u.loose.Store(false)
			u.start()
			return failed, nil
		}
		if ctx.Err() != nil || (errors.As(err, &refusal{}) && err.Error() != unavailable) {
			return failed, err
		}
		failed++
		pause(ctx, wait/2+mrand.N(wait/2))
	}
}

// drain waits until everything that was sent is answered and has come, for as long
// as the patience lasts. A run that is interrupted is judged too, so it waits then
// as well.
func (w *world) drain(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	deadline := time.Now().Add(w.opts.patience)
	for time.Now().Before(deadline) {
		if !slices.ContainsFunc(w.allStreams(), func(s *stream) bool { return !s.settled() }) {
			return
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// close ends all sockets and waits for their readers.
func (w *world) close() {
	w.ending.Store(true)
	for _, u := range w.users {
		u.cut()
	}
	w.readers.Wait()
}

// finish drains, closes and judges.
func (w *world) finish(ctx context.Context) verdict {
	w.drain(ctx)
	w.close()
	var v verdict
	for _, s := range w.allStreams() {
		v.add(s)
	}
	for _, u := range w.users {
		v.Disordered += u.wrong
	}
	v.Faults = w.faults
	return v
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
