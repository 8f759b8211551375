package gateway

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	// leastRest is the shortest rest that is worth its timer and its delay. A gateway whose
	// lanes keep up does not rest.
	leastRest = 10 * time.Millisecond
	mostRest  = 100 * time.Millisecond
)

// flusher writes to the sockets for which something waits, by as many goroutines as there
// are processors. None of them ever waits for a client. While they write to some sockets,
// or rest, what is queued for the others is joined to what these will get.
type flusher struct {
	// Static after construction.
	workers int
	waited  func() time.Duration // how long messages wait for full lanes at present

	mu    sync.Mutex // guards all below
	work  sync.Cond  // on mu: something is ready, or all is over
	ready []*conn    // that have to be written to, each once
	ended bool
}

func newFlusher(waited func() time.Duration) *flusher {
	f := &flusher{workers: runtime.GOMAXPROCS(0), waited: waited}
	f.work.L = &f.mu
	return f
}

// add has c written to soon.
func (f *flusher) add(c *conn) {
	f.mu.Lock()
	f.ready = append(f.ready, c)
	f.mu.Unlock()
	f.work.Signal()
}

// run works until ctx ends; by then there is no socket any more.
func (f *flusher) run(ctx context.Context) {
	defer context.AfterFunc(ctx, f.end)()
	var working sync.WaitGroup
	for range f.workers {
		working.Go(f.flush)
	}
	working.Wait()
}

func (f *flusher) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.work.Broadcast()
}

func (f *flusher) flush() {
	var mine []*conn
	for {
		mine = f.take(mine[:0])
		if len(mine) == 0 {
			return
		}
		for _, c := range mine {
			c.write()
		}
		clear(mine)
		if rest := restAfter(f.waited()); rest > 0 {
			time.Sleep(rest)
		}
	}
}

// restAfter is how long to rest where messages wait so long for full lanes: as long, so
// that what is written waits half of it, on average, to be joined by other frames. Fewer
// writes let the lanes catch up, and who waits that long for the store hardly notices.
func restAfter(waited time.Duration) time.Duration {
	if waited < leastRest {
		return 0
	}
	return min(waited, mostRest)
}

// take adds a fair share of what is ready to mine. There is nothing when all is over.
func (f *flusher) take(mine []*conn) []*conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.ready) == 0 && !f.ended {
		f.work.Wait()
	}
	n := (len(f.ready) + f.workers - 1) / f.workers
	mine = append(mine, f.ready[:n]...)
	left := copy(f.ready, f.ready[n:])
	clear(f.ready[left:])
	f.ready = f.ready[:left]
	return mine
}
