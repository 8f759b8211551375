package gateway

import (
	"context"
	"sync"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

const (
	// What one call asks for at most. A short page may have ShortBytes and more, so a
	// call for 64 of them gets some megabytes at the very worst.
	resumesAtOnce = 256
	opensAtOnce   = 256
	readsAtOnce   = 64
	// callsAtOnce is how many calls of one kind are under way at a time. More of them
	// would be smaller ones; with a single one everybody would wait for a pod that
	// hangs.
	callsAtOnce = 4
)

// asks are what sockets ask for one by one and neighbours are asked for together.
type asks struct {
	srv    *Server
	resume *gather[accountsapi.Token, accountsapi.Session]
	open   *gather[socialapi.UserRequest, socialapi.Opening]
	read   *gather[socialapi.ReadRequest, socialapi.Page] // short pages
}

func newAsks(s *Server) asks {
	return asks{
		srv:    s,
		resume: newGather(s, s.accounts.ResumeMany, resumesAtOnce),
		open:   newGather(s, s.social.OpenMany, opensAtOnce),
		read:   newGather(s, s.social.ReadMany, readsAtOnce),
	}
}

// page reads a page of an inbox: a short one together with others. A socket that is far
// behind has a call to itself.
func (a *asks) page(ctx context.Context, r socialapi.ReadRequest) (socialapi.Page, error) {
	if r.Limit > socialapi.MaxShort {
		return a.srv.social.Read(ctx, r)
	}
	return a.read.ask(ctx, r)
}

// gather asks for many things at once, of goroutines that each ask for one. What is
// asked for while calls are under way makes the next one, so nothing waits when it is
// idle, and when many ask at once they share the round trips.
type gather[Q, A any] struct {
	// Static after construction.
	call  func(context.Context, []Q) ([]httpjson.Each[A], error) // an answer for each, or an error for all
	most  int                                                    // asks in a call
	ctx   context.Context                                        // of the calls
	tasks *sync.WaitGroup                                        // whose goroutines make them

	mu      sync.Mutex // guards all below
	waiting []*ask[Q, A]
	calling int // goroutines that make calls
}

// ask is one thing that is asked for.
type ask[Q, A any] struct {
	what   Q
	ctx    context.Context // of who asks
	answer A               // good when done is closed, as is err
	err    error
	done   chan struct{}
}

func newGather[Q, A any](s *Server, call func(context.Context, []Q) ([]httpjson.Each[A], error), most int) *gather[Q, A] {
	return &gather[Q, A]{call: call, most: most, ctx: s.connCtx, tasks: &s.tasks}
}

// ask asks for one thing. Its error is a fault: that of the answer, or Unavailable when
// the whole call failed or ctx ends before; the call goes on then, for the others.
func (g *gather[Q, A]) ask(ctx context.Context, what Q) (A, error) {
	a := newAsk[Q, A](ctx, what)
	g.put(a)
	return a.wait()
}

func newAsk[Q, A any](ctx context.Context, what Q) *ask[Q, A] {
	return &ask[Q, A]{what: what, ctx: ctx, done: make(chan struct{})}
}

func (a *ask[Q, A]) wait() (answer A, err error) {
	select {
	case <-a.done:
		return a.answer, a.err
	case <-a.ctx.Done():
		return answer, fault.Wrap(fault.Unavailable, a.ctx.Err(), "given up")
	}
}

func (g *gather[Q, A]) put(a *ask[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, a)
	if g.calling < callsAtOnce {
		g.calling++
		g.tasks.Go(g.run)
	}
}

// run makes calls until nobody waits.
func (g *gather[Q, A]) run() {
	for batch := g.take(); len(batch) > 0; batch = g.take() {
		g.answer(batch)
	}
}

// take gives the asks of the next call; those whose askers have given up meanwhile are
// left out.
func (g *gather[Q, A]) take() (batch []*ask[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) > 0 && len(batch) < g.most {
		if a := g.waiting[0]; a.ctx.Err() == nil {
			batch = append(batch, a)
		}
		g.waiting = g.waiting[1:]
	}
	if len(batch) == 0 {
		g.waiting = nil
		g.calling--
	}
	return batch
}

// answer makes a call, and gives every asker its own answer.
func (g *gather[Q, A]) answer(batch []*ask[Q, A]) {
	ctx, cancel := context.WithTimeout(g.ctx, requestTimeout)
	defer cancel()
	what := make([]Q, len(batch))
	for i, a := range batch {
		what[i] = a.what
	}
	answers, err := g.call(ctx, what)
	if err != nil { // whatever it is, it is not about what one of them asked
		err = fault.Wrap(fault.Unavailable, err, "asking for many")
	}
	for i, a := range batch {
		if a.err = err; err == nil {
			a.answer, a.err = answers[i].Get()
		}
		close(a.done)
	}
}
