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
	for _, u := range w.users {
		u.window = o.window
	}
	w.sending.Store(true)
	now := clock()
	for _, u := range w.users {
		u.send(o.window, now)
	}
	r := w.measure(ctx, p)
	r.verdict = w.finish(ctx)
	return r, ctx.Err()
}

// pairs makes users who are logged in, and each one's stream to the other of a pair.
func pairs(ctx context.Context, t *target, o *options, p *progress) (*world, error) {
	w := newWorld(t, o, o.users)
	p.watch(w)
	p.say("making users")
	if err := w.create(ctx); err != nil {
		w.close()
		return nil, err
	}
	for i := 0; i < len(w.users); i += 2 {
		w.connect(w.users[i], w.users[i+1])
		w.connect(w.users[i+1], w.users[i])
	}
	return w, nil
}

// measure lets the traffic run for the warmup, then for the duration that counts.
func (w *world) measure(ctx context.Context, p *progress) *result {
	p.say("warming up")
	pause(ctx, w.opts.warmup)
	p.say("measuring")
	rec := newRecorder(w.opts.duration)
	w.recorder.Store(rec)
	before, began := w.target.cpu(), time.Now()
	acked, came := w.totals()
	profiles := w.target.profile(ctx, w.opts)
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
	if sizes, err := w.target.memory("gateway"); err == nil {
		for name, bytes := range sizes {
			r.add("memory of "+name, float64(bytes)/(1<<20), "MiB")
		}
	}
	p.say("finishing")
	w.drain(ctx)
	r.latency = rec.latency()
	return r
}
