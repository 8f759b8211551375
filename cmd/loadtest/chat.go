package main

import (
	"context"
	"time"
)

// chat is a closed loop: pairs on different gateways, each of whom keeps -window
// messages without an answer.
func chat(ctx context.Context, t *target, o *options, p *progress) (*result, error) {
	w, err := pairs(ctx, t, o, p)
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.closedLoop(w.users)
	r := w.measure(ctx, p, func() { w.sending.Store(false) })
	r.verdict = w.finish(ctx)
	return r, ctx.Err()
}

// closedLoop lets users send: each keeps -window messages without an answer.
func (w *world) closedLoop(users []*user) {
	w.sending.Store(true)
	for _, u := range users {
		u.mu.Lock()
		u.window = w.opts.window
		u.mu.Unlock()
		u.send(w.opts.window, clock())
	}
}

// fanin is a closed loop of everybody to one user.
func fanin(ctx context.Context, t *target, o *options, p *progress) (*result, error) {
	w := newWorld(t, o, o.users)
	defer w.close()
	if err := w.create(ctx, p); err != nil {
		return nil, err
	}
	for _, u := range w.users[1:] {
		w.connect(u, w.users[0], o.size)
	}
	w.closedLoop(w.users[1:])
	r := w.measure(ctx, p, func() { w.sending.Store(false) })
	r.verdict = w.finish(ctx)
	return r, ctx.Err()
}

// pairs makes users who are logged in, and each one's stream to the other of a pair.
func pairs(ctx context.Context, t *target, o *options, p *progress) (*world, error) {
	w := newWorld(t, o, o.users)
	if err := w.create(ctx, p); err != nil {
		w.close()
		return nil, err
	}
	for i := 0; i < len(w.users); i += 2 {
		w.connect(w.users[i], w.users[i+1], o.size)
		w.connect(w.users[i+1], w.users[i], o.size)
	}
	return w, nil
}

// measure lets the traffic run for the warmup, then for the duration that counts,
// and has it stopped.
func (w *world) measure(ctx context.Context, p *progress, stop func()) *result {
	p.say("warming up")
	pause(ctx, w.opts.warmup)
	p.say("measuring")
	rec := newRecorder(w.opts.duration)
	w.recorder.Store(rec)
	before, began := w.target.cpu(), time.Now()
	acked, came := w.totals()
	profiles := w.target.profile(ctx, w.opts)
	disk := w.target.watchDisk(ctx)
	pause(ctx, w.opts.duration)
	after, took := w.target.cpu(), time.Since(began)
	ackedAfter, cameAfter := w.totals()
	r := &result{
		duration: took, acked: ackedAfter - acked, came: cameAfter - came,
		costs: costsOf(w.target, before, after, took, ackedAfter-acked),
	}
	if err := profiles(); err != nil {
		w.note(err.Error())
	}
	if err := disk(r); err != nil {
		w.note(err.Error())
	}
	r.addMemory(w.target, "memory of ")
	p.say("finishing")
	stop()
	w.drain(ctx)
	r.latency = rec.latency()
	return r
}
