package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// call is a request and who waits for its answer.
type call struct {
	ref  int64
	data []byte
	// answer is the type of the frame that answers it.
	answer string
	// repeatable says that it may be sent again on another connection.
	repeatable bool
	outcome    chan outcome // gets one, and has room for it

	// Guarded by calls.mu.
	written bool // on some connection, or nearly
}

type outcome struct {
	frame *frame
	err   error
}

// calls are the requests without an answer, of all who call. They outlive
// connections: those that may be repeated are sent again on the next one, in order.
type calls struct {
	ordered bool          // answers come in order and without a ref: version 1
	slots   chan struct{} // one in it for each call
	more    chan struct{} // something waits: for the writer
	over    chan struct{} // closed by close

	mu      sync.Mutex
	err     error         // set by close
	waiting []*call       // to be written
	flight  []*call       // written on this connection, in order
	busy    chan struct{} // closed while there are calls
	isBusy  bool
}

func newCalls(limit int, ordered bool) *calls {
	return &calls{
		ordered: ordered,
		slots:   make(chan struct{}, limit),
		more:    make(chan struct{}, 1),
		over:    make(chan struct{}),
		busy:    make(chan struct{}),
	}
}

// add queues a call, when there is a slot for it.
func (q *calls) add(ctx context.Context, c *call) error {
	select {
	case q.slots <- struct{}{}:
	case <-q.over:
		return q.err
	case <-ctx.Done():
		return ctx.Err()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		<-q.slots
		return q.err
	}
	q.waiting = append(q.waiting, c)
	q.noteBusy()
	wake(q.more)
	return nil
}

// take gives the next call to write, or nil.
func (q *calls) take() *call {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	c := q.waiting[0]
	q.waiting = q.waiting[1:]
	q.flight = append(q.flight, c)
	c.written = true
	return c
}

// answered hands an answer to whom it is for. It is false if no call can have it;
// in version 2 that is one whose caller has given up, in version 1 a mistake.
func (q *calls) answered(f *frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.flight, func(c *call) bool { return q.ordered || c.ref == f.Ref })
	if i < 0 || f.Type != "error" && f.Type != q.flight[i].answer {
		return false
	}
	c := q.flight[i]
	q.flight = slices.Delete(q.flight, i, i+1)
	if f.Type == "error" {
		q.settle(c, outcome{err: errorOf(f)})
	} else {
		q.settle(c, outcome{frame: f})
	}
	return true
}

// abandon takes back a call whose caller waits no longer, unless it has its outcome
// already. Where answers come in order, one that was written keeps its place.
func (q *calls) abandon(c *call) (written, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	inFlight := slices.Contains(q.flight, c)
	if !inFlight && !slices.Contains(q.waiting, c) {
		return c.written, true
	}
	if !inFlight || !q.ordered {
		same := func(other *call) bool { return other == c }
		q.waiting = slices.DeleteFunc(q.waiting, same)
		q.flight = slices.DeleteFunc(q.flight, same)
		q.settle(c, outcome{})
	}
	return c.written, false
}

// lost tells that the connection is gone: what was written on it is written again on
// the next one, or has an unknown outcome.
func (q *calls) lost() {
	q.mu.Lock()
	defer q.mu.Unlock()
	var again []*call
	for _, c := range q.flight {
		if c.repeatable {
			again = append(again, c)
		} else {
			q.settle(c, outcome{err: fmt.Errorf("%w: the connection broke", ErrUnknownOutcome)})
		}
	}
	q.flight = nil
	q.waiting = append(again, q.waiting...)
	q.noteBusy()
}

// close ends all calls, now and later.
func (q *calls) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	close(q.over)
	for _, c := range slices.Concat(q.flight, q.waiting) {
		if c.written {
			q.settle(c, outcome{err: fmt.Errorf("%w: %w", ErrUnknownOutcome, err)})
		} else {
			q.settle(c, outcome{err: err})
		}
	}
	q.flight, q.waiting = nil, nil
	q.noteBusy()
}

// settle ends a call that is in no list any more. It needs q.mu.
func (q *calls) settle(c *call, o outcome) {
	c.outcome <- o
	<-q.slots
	q.noteBusy()
}

// working is closed while there are calls.
func (q *calls) working() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.busy
}

// noteBusy needs q.mu.
func (q *calls) noteBusy() {
	switch n := len(q.waiting) + len(q.flight); {
	case n > 0 && !q.isBusy:
		close(q.busy)
		q.isBusy = true
	case n == 0 && q.isBusy:
		q.busy = make(chan struct{})
		q.isBusy = false
	}
}

// wake signals on a channel of one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // is awake already
	}
}
