package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// frozenBuffer is the receive buffer of a reader who freezes: little is on the
	// way, so that the gateway feels it.
	frozenBuffer = 4 << 10
	// memoryPause is the time between two looks at the memory of the gateways.
	memoryPause = 500 * time.Millisecond
)

// freezing is a run of freeze.
type freezing struct {
	w        *world
	chatters []*user // in pairs, whose latency counts
	readers  []*user // who freeze
	writers  []*user // who write to them, much
	stalls   float64
}

// phase is what a part of it found out.
type phase struct {
	latency latency
	memory  float64 // of all gateways at most, MiB
	thaw    time.Duration
}

// freeze lets pairs chat at a pace while readers of heavy streams stop to read, and
// compares it with how it is while they read: nobody must feel it but they.
func freeze(ctx context.Context, t *target, o *options, p *progress) (*result, error) {
	f := &freezing{w: newWorld(t, o, o.users+2*o.frozen)}
	defer f.w.close()
	f.chatters, f.readers, f.writers = f.w.users[:o.users], f.w.users[o.users:o.users+o.frozen], f.w.users[o.users+o.frozen:]
	for _, u := range f.readers {
		u.timed, u.dialer.receive = false, frozenBuffer
		u.loose.Store(true) // a gateway may part from who does not read
	}
	if err := f.w.create(ctx, p); err != nil {
		return nil, err
	}
	for i := 0; i < len(f.chatters); i += 2 {
		f.w.connect(f.chatters[i], f.chatters[i+1], o.size)
		f.w.connect(f.chatters[i+1], f.chatters[i], o.size)
	}
	for i, u := range f.writers {
		f.w.connect(u, f.readers[i], mostSize)
	}
	var control, frozen []phase
	cpu, began := t.cpu(), time.Now()
	acked, _ := f.w.totals()
	for range o.rounds {
		for _, freezes := range []bool{false, true} {
			found, err := f.phase(ctx, p, freezes)
			if err != nil {
				return nil, err
			}
			if freezes {
				frozen = append(frozen, found)
			} else {
				control = append(control, found)
			}
		}
	}
	r := f.compare(control, frozen)
	after, _ := f.w.totals()
	r.costs = costsOf(t, cpu, t.cpu(), time.Since(began), after-acked)
	r.verdict = f.w.finish(ctx)
	return r, ctx.Err()
}

// phase runs the traffic for a while, and waits until everything has come.
func (f *freezing) phase(ctx context.Context, p *progress, freezes bool) (found phase, err error) {
	o := f.w.opts
	p.say(map[bool]string{false: "control", true: "frozen"}[freezes])
	stalls := f.w.target.counter(ctx, "pymessage_gateway_stalls_total")
	var thaws []func()
	if freezes {
		for _, u := range f.readers {
			thaws = append(thaws, u.freeze())
		}
	}
	found, err = f.traffic(ctx, o)
	for _, thaw := range thaws {
		thaw()
	}
	thawed := time.Now()
	if err != nil {
		return found, err
	}
	f.w.await(ctx, f.writers, "answered", (*user).quiet)
	if err := f.bringBack(ctx); err != nil {
		return found, err
	}
	f.w.drain(ctx)
	found.thaw = time.Since(thawed)
	if freezes {
		f.stalls += f.w.target.counter(ctx, "pymessage_gateway_stalls_total") - stalls
	}
	return found, nil
}

// traffic is what is the same whether somebody is frozen or not.
func (f *freezing) traffic(ctx context.Context, o *options) (found phase, err error) {
	late := newRecorder(time.Hour)
	stopHeavy, err := pace(ctx, f.writers, o.heavy*float64(len(f.writers)), late)
	if err != nil {
		return found, err
	}
	defer stopHeavy()
	stopChat, err := pace(ctx, f.chatters, o.rate, late)
	if err != nil {
		return found, err
	}
	defer stopChat()
	pause(ctx, o.warmup)
	rec := newRecorder(o.duration)
	f.w.recorder.Store(rec)
	for until := time.Now().Add(o.duration); time.Now().Before(until) && ctx.Err() == nil; {
		pause(ctx, min(memoryPause, time.Until(until)))
		sizes, err := f.w.target.memory("gateway")
		if err != nil {
			return found, err
		}
		var sum int64
		for _, n := range sizes {
			sum += n
		}
		found.memory = max(found.memory, float64(sum)/(1<<20))
	}
	stopChat()
	stopHeavy()
	// What chatters sent comes at once or never: readers are still frozen.
	f.w.await(ctx, f.chatters, "answered", (*user).quiet)
	f.w.await(ctx, f.chatters, "delivered", func(u *user) bool { return u.outgoing.came.Load() >= u.outgoing.acked.Load() })
	found.latency = rec.latency()
	return found, ctx.Err()
}

// bringBack logs those readers in again from whom the gateway has parted.
func (f *freezing) bringBack(ctx context.Context) error {
	f.w.await(ctx, f.readers, "thawed", func(u *user) bool { return u.state.Load() == away || !u.behind() })
	return f.w.each(ctx, f.readers, func(ctx context.Context, u *user) error {
		if u.state.Load() != away {
			return nil
		}
		_, err := u.comeBack(ctx, f.w.target.urls)
		u.loose.Store(true)
		return err
	})
}

// behind says that something is on the way to a reader.
func (u *user) behind() bool {
	for _, s := range u.incoming {
		if s.came.Load() < s.acked.Load() {
			return true
		}
	}
	return false
}

// compare tells the medians.
func (f *freezing) compare(control, frozen []phase) *result {
	r := &result{}
	median := func(phases []phase, of func(phase) float64) float64 {
		var values []float64
		for _, p := range phases {
			values = append(values, of(p))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	p50 := func(p phase) float64 { return p.latency.P50 }
	p99 := func(p phase) float64 { return p.latency.P99 }
	memory := func(p phase) float64 { return p.memory }
	thaw := func(p phase) float64 { return p.thaw.Seconds() }
	r.add("p50 of the others, all read", median(control, p50), "ms")
	r.add("p50 of the others, some frozen", median(frozen, p50), "ms")
	r.add("p99 of the others, all read", median(control, p99), "ms")
	r.add("p99 of the others, some frozen", median(frozen, p99), "ms")
	r.add("p99, frozen to control", median(frozen, p99)/median(control, p99), "")
	r.add("memory of the gateways, all read", median(control, memory), "MiB")
	r.add("memory of the gateways, some frozen", median(frozen, memory), "MiB")
	r.add("the frozen have it all after", median(frozen, thaw), "s")
	if f.w.target.ops != nil {
		r.add("sockets whose queue was full", f.stalls, "")
	}
	return r
}

// counter is a metric's sum over all gateways; 0 where they cannot be asked.
func (t *target) counter(ctx context.Context, name string) float64 {
	var sum float64
	for unit, ops := range t.ops {
		if !strings.HasPrefix(unit, "gateway") {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+"/metrics", nil)
		if err != nil {
			continue
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		sum += metric(string(text), name)
	}
	return sum
}

// metric reads a metric without labels.
func metric(text, name string) float64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return n
		}
	}
	return 0
}
