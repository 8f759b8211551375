package service

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

const (
	startCheckTimeout = 3 * time.Second
	startCheckPause   = 200 * time.Millisecond // between two tries of a dependency at start
)

// Health is the readiness of a process. At the start it waits for what the
// service depends on; later only draining and the process's own faults take
// readiness away, since a shared dependency that fails would otherwise unready
// every pod at once and cut everybody off.
type Health struct {
	log *slog.Logger

	mu       sync.Mutex // guards all below
	waiting  []startCheck
	started  bool
	draining bool
	faults   map[string]string
	warnings map[string]string
	word     chan struct{} // closed at the next word of a part; nil if nobody waits
}

type startCheck struct {
	name  string
	check func(context.Context) error
}

// Await makes readiness wait, once, for check to succeed. It must be called
// before Process.Run.
func (h *Health) Await(name string, check func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = append(h.waiting, startCheck{name, check})
}

// Drain takes readiness away for good: the process is about to stop.
func (h *Health) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// SetFault takes readiness away while this pod itself is at fault; an empty why
// gives it back.
func (h *Health) SetFault(name, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = noted(h.faults, name, why)
	h.tell()
}

// SetWarning tells with the readiness what is wrong and no fault of this pod alone,
// so that it stays ready; an empty why takes the warning back.
func (h *Health) SetWarning(name, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.warnings = noted(h.warnings, name, why)
	h.tell()
}

// Word gives a channel that is closed when a part next sets, or takes back, a fault or
// a warning, changed or not.
func (h *Health) Word() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.word == nil {
		h.word = make(chan struct{})
	}
	return h.word
}

// tell needs h.mu.
func (h *Health) tell() {
	if h.word != nil {
		close(h.word)
		h.word = nil
	}
}

// noted is notes with one set, or deleted when why is empty.
func noted(notes map[string]string, name, why string) map[string]string {
	if why == "" {
		delete(notes, name)
		return notes
	}
	if notes == nil {
		notes = map[string]string{}
	}
	notes[name] = why
	return notes
}

// Warnings are those that were set.
func (h *Health) Warnings() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.warnings)
}

// Problems says why the process is not ready; empty when it is.
func (h *Health) Problems() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]string{}
	for name, why := range h.faults {
		out[name] = why
	}
	if !h.started {
		for _, w := range h.waiting {
			out[w.name] = "waiting for it"
		}
		out["start"] = "not finished"
	}
	if h.draining {
		out["drain"] = "stopping"
	}
	return out
}

// awaitStart tries the start checks until each has succeeded once.
func (h *Health) awaitStart(ctx context.Context) error {
	for len(h.waiting) > 0 {
		next := h.waiting[0]
		if err := h.try(ctx, next); err != nil {
			h.log.Warn("waiting for a dependency", "dependency", next.name, "err", err)
			select {
			case <-time.After(startCheckPause):
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		h.mu.Lock()
		h.waiting = h.waiting[1:]
		h.mu.Unlock()
	}
	h.mu.Lock()
	h.started = true
	h.mu.Unlock()
	h.log.Info("ready")
	return nil
}

func (h *Health) try(ctx context.Context, s startCheck) error {
	ctx, cancel := context.WithTimeout(ctx, startCheckTimeout)
	defer cancel()
	return s.check(ctx)
}
