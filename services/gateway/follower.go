package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"pymessage/internal/bell"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

const (
	// overtake is how long a ring that is ahead waits for those before it: rings of
	// different pods overtake each other. Then the store is read.
	overtake = 50 * time.Millisecond
	// maxEarly bounds the rings that wait like this. More of them read the store.
	maxEarly = 256
	// pageSize is how many events one read of the store asks for.
	pageSize = 256
)

// follower brings a user's inbox to the user's sockets, each in seq order without a
// gap. Rings carry events as they come; whatever else happens (a gap, a socket that
// just logged in or whose queue was full, a head that is ahead of us) is one and the
// same: the store is read after the socket's last seq, one read at a time.
type follower struct {
	// Static after construction.
	id  int
	srv *Server

	mu      sync.Mutex // guards all below, and last and live of the conns
	conns   []*conn
	epoch   string // of the log that the seqs count in; empty until the first opening
	head    int64  // newest seq heard of
	reading bool   // a goroutine reads the store
	early   map[int64]bell.Event
	waiting bool // a timer waits for what is before early
}

// add is false when there are limit sockets already.
func (f *follower) add(c *conn, limit int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.conns) >= limit {
		return false
	}
	f.conns = append(f.conns, c)
	return true
}

// remove is true when the last socket went.
func (f *follower) remove(c *conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.live = false
	f.conns = slices.DeleteFunc(f.conns, func(other *conn) bool { return other == c })
	return len(f.conns) == 0
}

// start lets a socket follow the inbox from the delivered position on, after the
// friend requests that still wait for an answer and were delivered before.
func (f *follower) start(c *conn, o socialapi.Opening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meetEpoch(o.Epoch)
	for _, user := range o.Waiting {
		c.event(wire.FriendRequestEvent(user), 0)
	}
	c.last = o.Position
	c.live = true
	f.head = max(f.head, o.Head)
	f.read()
}

// onRing takes an event from a ring.
func (f *follower) onRing(env bell.Envelope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == "" {
		return // no socket has started yet: its opening will tell the head
	}
	f.meetEpoch(env.Epoch)
	f.head = max(f.head, env.Event.Seq)
	if f.offer(env.Event) {
		f.wait(env.Event)
		return
	}
	for next, ok := f.early[env.Event.Seq+1]; ok; next, ok = f.early[next.Seq+1] {
		delete(f.early, next.Seq)
		f.offer(next)
	}
}

// meetEpoch forgets what was heard of another log. It needs f.mu.
func (f *follower) meetEpoch(epoch string) {
	if f.epoch == epoch {
		return
	}
	f.epoch = epoch
	f.head = 0
	f.early = nil
}

// offer queues ev for every socket whose next event it is, and says whether some
// socket lacks events before it. It needs f.mu.
func (f *follower) offer(ev bell.Event) (gap bool) {
	var data []byte
	for _, c := range f.conns {
		if !c.live || ev.Seq <= c.last {
			continue
		}
		if ev.Seq > c.last+1 {
			gap = gap || !c.isStalled()
			continue
		}
		if data == nil {
			data = encodeEvent(ev)
		}
		if c.event(data, ev.Seq) {
			c.last = ev.Seq
			f.srv.metrics.delivered.Inc()
		}
	}
	return gap
}

// encodeEvent is the frame that version 1 sees of ev; nil for kinds it does not
// know, which a socket passes silently.
func encodeEvent(ev bell.Event) []byte {
	switch ev.Kind {
	case bell.KindMessage:
		return wire.MessageEvent(ev.Peer, ev.Content)
	case bell.KindFriendRequest:
		return wire.FriendRequestEvent(ev.Peer)
	}
	return nil
}

// wait keeps an event that is ahead for the moment in which rings overtake each
// other. It needs f.mu.
func (f *follower) wait(ev bell.Event) {
	if len(f.early) >= maxEarly {
		f.early = nil
		f.read()
		return
	}
	if f.early == nil {
		f.early = map[int64]bell.Event{}
	}
	f.early[ev.Seq] = ev
	if f.waiting || f.reading {
		return
	}
	f.waiting = true
	time.AfterFunc(overtake, f.endWait)
}

// endWait reads the store for what did not come in time.
func (f *follower) endWait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = false
	f.early = nil
	if _, behind := f.behind(); behind {
		f.srv.metrics.gaps.Inc()
	}
	f.read()
}

// resume goes on with a socket whose queue has drained.
func (f *follower) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read()
}

// noteHead takes what a check of the heads found.
func (f *follower) noteHead(epoch string, head int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == "" || (epoch == f.epoch && head <= f.head) {
		return
	}
	f.meetEpoch(epoch)
	f.head = max(f.head, head)
	if !f.waiting {
		f.read()
	}
}

// behind is the lowest seq that a socket which can take events has, if any of them
// lacks some. It needs f.mu.
func (f *follower) behind() (after int64, behind bool) {
	for _, c := range f.conns {
		if c.live && c.last < f.head && (!behind || c.last < after) && !c.isStalled() {
			after, behind = c.last, true
		}
	}
	return after, behind
}

// read starts reading the store if somebody lacks events and nobody reads. It needs
// f.mu.
func (f *follower) read() {
	if _, behind := f.behind(); f.reading || !behind {
		return
	}
	f.reading = true
	f.srv.tasks.Go(f.readLoop)
}

// readLoop reads pages until every socket has what there is.
func (f *follower) readLoop() {
	pause := retryMin
	last := int64(-1)
	for {
		f.mu.Lock()
		after, behind := f.behind()
		f.reading = behind
		f.mu.Unlock()
		if !behind {
			return
		}
		err := f.readPage(after)
		if err == nil && after != last {
			last, pause = after, retryMin
			continue
		}
		// Failed, or nothing was gained: not again at once.
		f.srv.log.Warn("inbox could not be read, trying again", "err", err)
		if !f.srv.sleep(&pause) {
			f.stopReading()
			return
		}
	}
}

// readPage reads and takes the page after a seq.
func (f *follower) readPage(after int64) error {
	ctx, cancel := context.WithTimeout(f.srv.connCtx, requestTimeout)
	defer cancel()
	page, err := f.srv.social.Read(ctx, socialapi.ReadRequest{User: f.id, After: after, Limit: pageSize})
	if err != nil {
		return err
	}
	f.take(page, after)
	return nil
}

func (f *follower) stopReading() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = false
}

// take offers a page that was read after the given seq.
func (f *follower) take(page socialapi.Page, after int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.srv.metrics.catchUps.Inc()
	f.meetEpoch(page.Epoch)
	f.head = max(f.head, page.Head)
	if len(page.Events) == 0 {
		// Nothing after what we have: a head that was promised by a log that is no more.
		f.head = min(f.head, max(after, page.Head))
	}
	for _, c := range f.conns { // what was pruned is gone for good
		if c.live && c.last < page.Oldest-1 {
			c.last = page.Oldest - 1
		}
	}
	for _, ev := range page.Events {
		f.offer(ev)
	}
}
