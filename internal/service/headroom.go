package service

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/caarlos0/env/v11"
)

const (
	// minHeadroom is what a process with a heap of minHeap or more allocates between two
	// collections at least. With a percentage alone a gateway of some hundred sockets,
	// whose heap is small, collected every 3 MiB, which cost it a fifth of its messages.
	minHeadroom = 32 << 20

	// minHeap bounds the percentage: smaller heaps have that of one of this size. Go
	// grows its own least heap, 4 MiB, with the percentage, so that tiny ones would get
	// more than minHeadroom; and a heap that has grown has the percentage of the small
	// one for a moment.
	minHeap = 8 << 20

	// goPercent is GOGC where nobody says anything.
	goPercent = 100
)

// percentFor is the GOGC that makes the headroom, which Go takes to be GOGC percent
// of what it marked (live heap, stacks and globals), base percent of that or
// minHeadroom, whichever is more.
func percentFor(base int, marked uint64) int {
	return max(base, int(100*minHeadroom/max(marked, minHeap)))
}

// headroom sets GOGC after each collection, for what was live in it.
//
// A heap that grows within a cycle, as when everybody logs in at once, grows into
// the headroom of that cycle, whose end is fixed: it is over by minHeadroom at most.
// When it is collected, Go gives the grown heap the percentage of the small one,
// until adjust corrects that: it has to come before minHeadroom is allocated. It does,
// within a turn of the scheduler, since the sweeper comes to a pass first; with 5,000
// goroutines that allocate on two cores the worst was 29 MiB too much. Goroutines that
// compute for long keep it waiting longer: then what holds the heap is GOMEMLIMIT.
type headroom struct {
	base   int
	before int // GOGC, to be restored

	mu      sync.Mutex
	stopped bool
	samples []metrics.Sample // what was marked
}

// pass is garbage, by whose finalizer the headroom learns of a collection. That it
// is a pointer and no more puts it among the first that are swept. A cleanup would
// not do: those wait until all is swept, and by then a heap had grown to 4 GiB.
type pass struct{ of *headroom }

// holdHeadroom is in force until stop. GOGC in the environment is left alone: whoever
// sets it knows what for. GOMEMLIMIT is heeded by Go whatever the percentage.
func (prog Program) holdHeadroom(environ []string) (stop func()) {
	if env.ToMap(environ)["GOGC"] != "" {
		return func() {}
	}
	base := cmp.Or(prog.GCPercent, goPercent)
	h := &headroom{base: base, before: debug.SetGCPercent(base), samples: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
	collected(&pass{h})
	return h.stop
}

// collected runs after each collection, on the goroutine that Go has for finalizers.
func collected(p *pass) {
	if p.of.adjust() {
		runtime.SetFinalizer(p, collected)
	}
}

// adjust takes half a microsecond and stops nobody, so that it need not ask whether
// the change is worth it. It returns whether to go on.
func (h *headroom) adjust() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	metrics.Read(h.samples)
	var marked uint64
	for _, s := range h.samples {
		marked += s.Value.Uint64()
	}
	debug.SetGCPercent(percentFor(h.base, marked))
	return true
}

// stop restores what was before.
func (h *headroom) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	debug.SetGCPercent(h.before)
}
