package client

import (
	"context"
	"sync"
)

// item is something to hand to the user.
type item struct {
	at      cursor // where the user is once it is handled
	confirm bool   // and that can be confirmed to the server
	give    func(context.Context)
}

// inbox is the queue between the reader of the connection and the handler. It has
// no memory of its own while it is empty, for those who keep many clients.
type inbox struct {
	limit int
	more  chan struct{} // there are items, or there will be none: for the handler
	room  chan struct{} // there is room, or it is closed: for the reader

	mu     sync.Mutex
	items  []item
	closed bool
}

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// offer adds an item, if there is room and the inbox is open.
func (b *inbox) offer(it item) (taken, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.items) >= b.limit {
		return false, !b.closed
	}
	b.items = append(b.items, it)
	wake(b.more)
	return true, true
}

// take waits for the next item. It is false once ctx has ended, or the inbox is
// closed and empty.
func (b *inbox) take(ctx context.Context) (it item, ok bool) {
	for ctx.Err() == nil {
		it, ok, open := b.next()
		if ok || !open {
			return it, ok
		}
		select {
		case <-b.more:
		case <-ctx.Done():
		}
	}
	return item{}, false
}

func (b *inbox) next() (it item, ok, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		return item{}, false, !b.closed
	}
	it = b.items[0]
	b.items[0] = item{}
	b.items = b.items[1:]
	if len(b.items) == 0 {
		b.items = nil
	}
	wake(b.room)
	return it, true, true
}

// close lets what is queued be handled, and takes no more.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	wake(b.more)
	wake(b.room)
}

// low says that half of the room is free: enough to ask the server for more.
func (b *inbox) low() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) <= b.limit/2
}
