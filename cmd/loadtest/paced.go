package main

import (
	"context"
	"time"
)

// paced is an open loop: pairs on different gateways send -rate messages a second
// together, whatever becomes of them. A message counts from when it should have been
// sent, so that whatever holds the generator up is not left out.
func paced(ctx context.Context, t *target, o *options, p *progress) (*result, error) {
	w, err := pairs(ctx, t, o, p)
	if err != nil {
		return nil, err
	}
	defer w.close()
	late := newRecorder(o.warmup + o.duration)
	stop, err := pace(ctx, w.users, o.rate, late)
	if err != nil {
		return nil, err
	}
	r := w.measure(ctx, p, stop)
	r.verdict = w.finish(ctx)
	r.add("lateness of the generator, p50", late.latency().P50, "ms")
	r.add("lateness of the generator, p99", late.latency().P99, "ms")
	return r, ctx.Err()
}

// pace lets users send in turn, rate messages a second together, until stop is
// called, which waits for the last one. How late each was goes to late.
func pace(ctx context.Context, users []*user, rate float64, late *recorder) (stop func(), err error) {
	t, err := newTimer()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer t.close()
		began := clock()
		for k := 0; ctx.Err() == nil; k++ {
			due := began + int64(float64(k)/rate*float64(time.Second))
			if err := t.wait(due); err != nil {
				users[0].w.note(err.Error())
				return
			}
			late.record(0, due, clock())
			users[k%len(users)].send(1, due)
		}
	}()
	return func() { cancel(); <-over }, nil
}
