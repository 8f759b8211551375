package social

import (
	"context"
	"slices"
	"sync"
	"time"

	"pymessage/internal/fault"
)

const (
	// mergedMessages is how many messages one transaction stores, unless a single batch
	// has more.
	mergedMessages = 512
	// mergesFree is how many transactions are under way at a time however few messages
	// they have: one is carried out while the other waits for the disk, unless both write
	// to one inbox.
	mergesFree = 2
	// mergeShare is how many messages wait until another transaction begins beside
	// those. With fewer it is cheaper to wait for the next one.
	mergeShare = 64
	// mergeWait is how long a batch waits for a transaction that hangs, before another
	// one begins beside it.
	mergeWait = 20 * time.Millisecond
	// mergesAtOnce is how many transactions are under way at a time.
	mergesAtOnce = 4
)

// merger has the batches of several lanes, of all gateways, stored by few transactions:
// what comes while they are under way makes the next one. So nothing waits when it is
// idle, and when it is busy many share a transaction and its flush to the disk.
//
// It has no goroutine of its own: one of those that wait stores for the others, then
// hands that on to the next one.
type merger struct {
	store func(ctx context.Context, group []*sending) // static

	mu       sync.Mutex // guards all below
	waiting  []*entry
	messages int // in waiting
	storing  int // transactions under way, or about to be
}

// entry is a batch that waits.
type entry struct {
	*sending
	called bool      // it has a turn, and has not taken what to store yet; guarded by merger.mu
	wake   chan bool // true: it is stored; false: it is its turn to store. Capacity 1: never both
}

// send stores a batch, and returns when it is known what came of it.
func (m *merger) send(s *sending) {
	e := &entry{sending: s, wake: make(chan bool, 1)}
	for turn := m.enter(e); turn || !m.await(e); turn = false {
		if m.storeNext(e) {
			return
		}
	}
}

// enter queues e, and says whether it is its turn to store at once.
func (m *merger) enter(e *entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, e)
	m.messages += len(e.batch.Messages)
	return m.begin(e, m.messages >= mergeShare)
}

// begin gives e a turn, if few have one, or beside others if that is of use. It needs mu.
func (m *merger) begin(e *entry, beside bool) bool {
	if m.storing >= mergesFree && !beside || m.storing >= mergesAtOnce {
		return false
	}
	m.storing++
	e.called = true
	return true
}

// await waits until e is stored (true), or has to store.
func (m *merger) await(e *entry) (stored bool) {
	timer := time.NewTimer(mergeWait)
	defer timer.Stop()
	select {
	case stored = <-e.wake:
		return stored
	case <-timer.C:
	}
	if m.beginLate(e) {
		return false
	}
	return <-e.wake
}

// beginLate takes a turn for one who has waited for too long.
func (m *merger) beginLate(e *entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.waiting, e) && !e.called && m.begin(e, true)
}

// storeNext uses the turn of e to store what waits, hands it on, and says whether e was
// among what was stored.
func (m *merger) storeNext(e *entry) (stored bool) {
	group := m.take(e)
	defer func() { // also when the store panics: nobody is to wait for ever
		m.handOn()
		for _, each := range group {
			if each != e {
				each.wake <- true
			}
		}
	}()
	m.storeAll(sendingsOf(group))
	return slices.Contains(group, e)
}

// storeAll stores a group, for several callers: none of them ends it.
func (m *merger) storeAll(group []*sending) {
	for _, each := range group {
		each.err = errNotStored
	}
	m.store(context.Background(), group)
}

// errNotStored is the error of a batch of which nothing is known.
var errNotStored = fault.New(fault.Unavailable, "the store did not come back")

// take gives the batches of the next transaction to e, the oldest first, and one at least.
// Of a lane it is one at most: another one repeats it. Those that have a turn are left to
// it: they would come back only after it, when others were stored.
func (m *merger) take(e *entry) (group []*entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.called = false
	lanes := map[string]bool{}
	messages := 0
	m.waiting = slices.DeleteFunc(m.waiting, func(next *entry) bool {
		n := len(next.batch.Messages)
		if next.called || lanes[next.batch.Lane] || len(group) > 0 && messages+n > mergedMessages {
			return false
		}
		lanes[next.batch.Lane] = true
		group = append(group, next)
		messages += n
		return true
	})
	m.messages -= messages
	return group
}

// handOn gives the turn to the one that waits longest, or back if nobody waits.
func (m *merger) handOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, next := range m.waiting {
		if !next.called {
			next.called = true
			next.wake <- false
			return
		}
	}
	m.storing--
}

func sendingsOf(group []*entry) []*sending {
	sendings := make([]*sending, len(group))
	for i, e := range group {
		sendings[i] = e.sending
	}
	return sendings
}
