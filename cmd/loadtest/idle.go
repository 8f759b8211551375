package main

import (
	"context"
	"fmt"
	"time"
)

// idle logs users in, one socket each, who then do nothing: what a socket costs.
func idle(ctx context.Context, t *target, o *options, p *progress) (*result, error) {
	w := newWorld(t, o, o.users)
	defer w.close()
	if err := w.create(ctx, p); err != nil {
		return nil, err
	}
	w.leave(ctx, w.users)
	if err := t.freshGateways(ctx, p); err != nil {
		return nil, err
	}
	before, err := t.memory("gateway")
	if err != nil {
		return nil, err
	}
	r := &result{}
	p.say("logging in")
	cpu, began := t.cpu(), time.Now()
	if err := w.each(ctx, w.users, func(ctx context.Context, u *user) error {
		_, err := u.comeBack(ctx, t.urls[u.home:u.home+1])
		return err
	}); err != nil {
		return nil, err
	}
	took := time.Since(began)
	r.add("logged in", float64(o.users)/took.Seconds(), "sockets/s")
	for _, c := range costsOf(t, cpu, t.cpu(), took, int64(o.users)) {
		if c.Name == "gateway" || c.Name == "all servers" || c.Name == "generator" {
			r.add("a login costs in "+c.Name, c.Each, "µs")
		}
	}
	if err := r.addSockets(t, before, o.users, "at once"); err != nil {
		return nil, err
	}
	return w.rest(ctx, p, r, before)
}

// rest measures while nothing happens.
func (w *world) rest(ctx context.Context, p *progress, r *result, before map[string]int64) (*result, error) {
	p.say("settling")
	pause(ctx, w.opts.warmup)
	p.say("measuring at rest")
	cpu, began := w.target.cpu(), time.Now()
	profiles := w.target.profile(ctx, w.opts)
	pause(ctx, w.opts.duration)
	r.duration = time.Since(began)
	r.costs = costsOf(w.target, cpu, w.target.cpu(), r.duration, 0)
	if err := profiles(); err != nil {
		w.note(err.Error())
	}
	if err := r.addSockets(w.target, before, w.opts.users, "at rest"); err != nil {
		return nil, err
	}
	if n := w.loggedIn(); n != len(w.users) {
		w.note(fmt.Sprintf("%d of %d sockets are there at the end", n, len(w.users)))
	}
	r.verdict = w.finish(ctx)
	return r, ctx.Err()
}

// addSockets adds what the gateways have grown by, divided by the sockets.
func (r *result) addSockets(t *target, before map[string]int64, users int, when string) error {
	after, err := t.memory("gateway")
	if err != nil || len(after) == 0 {
		return err // nothing without the processes
	}
	var grown int64
	for name := range after {
		grown += after[name] - before[name]
	}
	r.add("memory of a socket "+when, float64(grown)/1024/float64(users), "KiB")
	r.addMemory(t, when+" ")
	return nil
}

// freshGateways starts the gateways of a deployment of our own again, so that their
// memory does not show what was before.
func (t *target) freshGateways(ctx context.Context, p *progress) error {
	if t.local == nil {
		return nil
	}
	p.say("starting the gateways again")
	for _, g := range t.local.Gateways() {
		if err := t.local.Kill(ctx, g.Name); err != nil {
			return err
		}
		if err := t.revive(ctx, g.Name); err != nil {
			return err
		}
	}
	return nil
}

// revive starts a gateway that was killed.
func (t *target) revive(ctx context.Context, name string) error {
	if err := t.local.Start(ctx, name); err != nil {
		return err
	}
	return t.local.Ready(ctx, name)
}
