package main

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// storm cuts all sockets of one gateway at once, and measures how long it takes
// until all of them are back at the others and have caught up.
func storm(ctx context.Context, t *target, o *options, p *progress) (*result, error) {
	if len(t.urls) < 2 {
		return nil, errors.New("a storm needs two gateways at least")
	}
	w, err := pairs(ctx, t, o, p)
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.say(ctx, w.users, 1)
	gone := slices.DeleteFunc(slices.Clone(w.users), func(u *user) bool { return u.home != 0 })
	if err := w.cutGateway(ctx, p, gone); err != nil {
		return nil, err
	}
	w.writeToAbsent(ctx, gone)
	r, err := w.comeBack(ctx, p, gone)
	if err != nil {
		return nil, err
	}
	w.say(ctx, w.users, 1) // everybody reaches everybody again
	r.verdict = w.finish(ctx)
	if w.killed() {
		err = t.revive(ctx, t.local.Gateways()[0].Name)
	}
	return r, errors.Join(err, ctx.Err())
}

// say lets users send n messages each, and waits until they have come.
func (w *world) say(ctx context.Context, users []*user, n int) {
	for _, u := range users {
		u.send(n, clock())
	}
	w.drain(ctx)
}

// killed says that the process of the gateway is killed, rather than its sockets cut.
func (w *world) killed() bool { return w.target.local != nil && w.opts.cut != "sockets" }

// down are the services that nothing can be asked of while the gateway is.
func (w *world) down() []string {
	if !w.killed() {
		return nil
	}
	return []string{w.target.local.Gateways()[0].Name}
}

// cutGateway ends all sockets of the first gateway.
func (w *world) cutGateway(ctx context.Context, p *progress, gone []*user) error {
	p.say("cutting")
	if !w.killed() {
		w.leave(ctx, gone)
		return nil
	}
	for _, u := range gone {
		u.loose.Store(true)
	}
	if err := w.target.local.Kill(ctx, w.target.local.Gateways()[0].Name); err != nil {
		return err
	}
	w.await(ctx, gone, "gone", func(u *user) bool { return u.state.Load() == away })
	return nil
}

// writeToAbsent lets those who are still there, in version 2, write to those who
// are not: version 1 would be refused.
func (w *world) writeToAbsent(ctx context.Context, gone []*user) {
	var writers []*user
	for _, s := range w.allStreams() {
		if s.from.home != 0 && s.from.version == 2 && s.to.home == 0 {
			writers = append(writers, s.from)
		}
	}
	for _, u := range writers {
		u.send(w.opts.backlog, clock())
	}
	w.await(ctx, writers, "answered", (*user).quiet)
}

// comeBack lets all come back at once.
func (w *world) comeBack(ctx context.Context, p *progress, gone []*user) (*result, error) {
	p.say("coming back")
	r, rec := &result{costOf: "socket"}, newRecorder(time.Hour)
	var failed atomic.Int64
	profiles := w.target.profile(ctx, w.opts, w.down()...)
	cpu, began, start := w.target.cpu(), time.Now(), clock()
	if err := w.each(ctx, gone, func(ctx context.Context, u *user) error {
		n, err := u.comeBack(ctx, w.target.urls[1:])
		failed.Add(int64(n))
		rec.record(u.n, start, clock())
		return err
	}); err != nil {
		return nil, err
	}
	back := time.Since(began)
	w.await(ctx, gone, "synced", func(u *user) bool { return u.state.Load() == synced })
	w.drain(ctx)
	r.duration = time.Since(began)
	r.costs = costsOf(w.target, cpu, w.target.cpu(), r.duration, int64(len(gone)))
	if err := profiles(); err != nil {
		w.note(err.Error())
	}
	n := float64(len(gone))
	r.add("sockets", n, "")
	r.add("all are back after", back.Seconds(), "s")
	r.add("all have caught up after", r.duration.Seconds(), "s")
	r.add("back and caught up", n/r.duration.Seconds(), "sockets/s")
	r.add("half are back after", rec.latency().P50, "ms")
	r.add("logins that did not succeed at once", float64(failed.Load()), "")
	return r, nil
}
