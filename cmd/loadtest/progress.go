package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells each second what goes on.
type progress struct {
	to   io.Writer
	done chan struct{}
	over sync.WaitGroup

	mu    sync.Mutex // guards all below
	world *world
	what  string
}

func startProgress(to io.Writer) *progress {
	p := &progress{to: to, done: make(chan struct{})}
	p.over.Go(p.run)
	return p
}

// stop ends the telling.
func (p *progress) stop() {
	close(p.done)
	p.over.Wait()
}

// say tells what is done from now on.
func (p *progress) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
}

// watch tells of w from now on.
func (p *progress) watch(w *world) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.world = w
}

func (p *progress) run() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	began := time.Now()
	var acked, came int64
	for {
		select {
		case <-ticker.C:
		case <-p.done:
			return
		}
		p.mu.Lock()
		w, what := p.world, p.what
		p.mu.Unlock()
		line := fmt.Sprintf("%4.0fs %s", time.Since(began).Seconds(), what)
		if w != nil {
			nowAcked, nowCame := w.totals()
			line += fmt.Sprintf(": %d logged in, %d acknowledged/s, %d delivered/s", w.loggedIn(), nowAcked-acked, nowCame-came)
			acked, came = nowAcked, nowCame
		}
		fmt.Fprintln(p.to, line)
	}
}

func (w *world) loggedIn() int {
	n := 0
	for _, u := range w.users {
		if u.state.Load() != away {
			n++
		}
	}
	return n
}
