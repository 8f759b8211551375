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
	// pageSize is how many events one read of the store asks for, unless a slow socket
	// cannot take so many; then it is halved, down to maxHalvings times.
	pageSize    = 256
	maxHalvings = 4
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
	halved  int  // how often pageSize is
	rung    held // the newest of a ring that came before the first opening
	copies  copies
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

// held is the part of the inbox that a client has, as it says itself: everything up
// to seq. The zero value is a client that says nothing.
type held struct {
	epoch string
	seq   int64
}

// start lets a socket follow the inbox. Version 1 first gets the friend requests
// that still wait for an answer and were delivered before; version 2 is told if
// what it holds is not continuous with what follows.
func (f *follower) start(c *conn, o socialapi.Opening, h held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meetEpoch(o.Epoch)
	f.head = max(f.head, o.Head)
	if f.rung.epoch == f.epoch { // stored while the opening was under way
		f.head = max(f.head, f.rung.seq)
	}
	c.last, c.opened = o.Position, o.Head
	if c.version == wire.V1 {
		for _, user := range o.Waiting {
			c.notice(wire.FriendRequestEvent(user))
		}
	} else {
		f.startAfter(c, o, h)
	}
	c.begun(o.Epoch, c.last)
	c.live = true
	f.told(c)
	f.read()
}

// startAfter takes up where the client is, or as near as possible. It needs f.mu.
func (f *follower) startAfter(c *conn, o socialapi.Opening, h held) {
	c.syncAt = o.Head
	switch {
	case h == held{}:
		return
	case h.epoch == o.Epoch && h.seq <= o.Head && h.seq >= o.Oldest-1:
		c.last = h.seq
		return
	case h.epoch == o.Epoch:
		c.last = min(max(h.seq, o.Oldest-1), o.Head)
	}
	c.notice(wire.ResyncEvent(o.Oldest, c.last, o.Epoch))
}

// told tells version 2 once everything is sent that was there when it came. It needs
// f.mu.
func (f *follower) told(c *conn) {
	if c.live && c.syncAt >= 0 && c.last >= c.syncAt {
		c.syncAt = -1
		c.notice(wire.SyncedEvent(c.last))
	}
}

// onRing takes the events of a ring.
func (f *follower) onRing(env bell.Envelope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == "" { // no socket has started yet, and its opening may know less
		if env.Epoch != f.rung.epoch {
			f.rung = held{epoch: env.Epoch}
		}
		f.rung.seq = max(f.rung.seq, env.Events[len(env.Events)-1].Seq)
		return
	}
	if env.Epoch != f.epoch {
		f.reopen()
		return
	}
	for _, ev := range env.Events {
		f.onEvent(ev)
	}
}

// onEvent needs f.mu.
func (f *follower) onEvent(ev bell.Event) {
	f.head = max(f.head, ev.Seq)
	if f.offer(ev) {
		f.wait(ev)
		return
	}
	for next, ok := f.early[ev.Seq+1]; ok; next, ok = f.early[next.Seq+1] {
		delete(f.early, next.Seq)
		f.offer(next)
	}
}

// meetEpoch forgets what was heard of another log. It needs f.mu.
func (f *follower) meetEpoch(epoch string) {
	if f.epoch == epoch {
		return
	}
	if f.epoch != "" {
		f.reopen()
	}
	f.epoch = epoch
	f.head = 0
	f.early = nil
}

// reopen has every socket start again, for the log is another one: the database was
// restored, or failed over and lost commits. It needs f.mu.
func (f *follower) reopen() {
	for _, c := range f.conns {
		if c.live {
			c.live = false
			h := held{f.epoch, c.last}
			c.tasks.Go(func() { c.open(h) })
		}
	}
}

// pause keeps events from a socket that is about to end: they wait for the next one.
func (f *follower) pause(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.live = false
}

// endSession closes the sockets of a session that has ended, or of every session, and
// then those without one too, except one.
func (f *follower) endSession(session, except string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		name := c.sessionName()
		if name == session || session == bell.EverySession && (name == "" || name != except) {
			c.revoke()
		}
	}
}

// beat tells a socket the newest seq, unless it does not follow the inbox yet: the
// answer to its login comes first.
func (f *follower) beat(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.live {
		c.notice(wire.HeartbeatEvent(f.head))
	}
}

// offer queues ev for every socket whose next event it is, and says whether some
// socket lacks events before it. It needs f.mu.
func (f *follower) offer(ev bell.Event) (gap bool) {
	var data [wire.V2 + 1][]byte // encoded once for each version
	for _, c := range f.conns {
		if !c.live || ev.Seq <= c.last {
			continue
		}
		if ev.Seq > c.last+1 {
			gap = gap || !c.isStalled()
			continue
		}
		if data[c.version] == nil {
			data[c.version] = f.encode(c.version, ev)
		}
		if c.event(data[c.version], ev.Seq, c.liveSince(ev)) {
			c.last = ev.Seq
			f.srv.metrics.queued(ev.Kind)
			if wantsReceipt(ev, f.id) {
				c.unconfirmed.note(ev)
			}
			f.told(c)
		}
	}
	switch ev.Kind {
	case bell.KindFriendRemoved:
		f.srv.presence.parted(f.id, ev.Peer)
		fallthrough
	case bell.KindFriendAdded:
		f.srv.presence.changed(f.id)
	}
	return gap
}

// liveSince is when ev was stored, if that was while the socket was there: only then
// has it been late for this socket. Otherwise it is 0.
func (c *conn) liveSince(ev bell.Event) int64 {
	if ev.Seq <= c.opened {
		return 0
	}
	return ev.SentAt
}

// encode is the frame that a version sees of ev; nil for kinds it does not know,
// which a socket passes silently.
func (f *follower) encode(v wire.Version, ev bell.Event) []byte {
	place := wire.Place{Seq: ev.Seq, ID: wire.EventID(f.id, ev.Seq), SentAt: ev.SentAt}
	switch {
	case ev.Kind == bell.KindMessage && v == wire.V1:
		return wire.MessageEvent(ev.Peer, ev.Content)
	case ev.Kind == bell.KindMessage:
		return wire.MessageEvent2(ev.Peer, ev.Content, place)
	case ev.Kind == bell.KindFriendRequest && v == wire.V1:
		return wire.FriendRequestEvent(ev.Peer)
	case v == wire.V2 && isUserKind(ev.Kind):
		return wire.UserEvent(string(ev.Kind), ev.Peer, place)
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
	if epoch != f.epoch {
		f.reopen()
		return
	}
	f.head = max(f.head, head)
	f.srv.metrics.headsBehind.Inc()
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
	page, err := f.srv.asks.page(ctx, f.nextPage(after))
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
	if page.Epoch != f.epoch {
		f.reopen()
		return
	}
	f.head = max(f.head, page.Head)
	if len(page.Events) == 0 {
		// Nothing after what we have: a head that was promised by a log that is no more.
		f.head = min(f.head, max(after, page.Head))
	}
	for _, c := range f.conns { // what was pruned is gone for good
		if c.live && c.last < page.Oldest-1 {
			c.last = page.Oldest - 1
			if c.version == wire.V2 {
				c.notice(wire.ResyncEvent(page.Oldest, c.last, page.Epoch))
			}
			f.told(c)
		}
	}
	for _, ev := range page.Events {
		f.offer(ev)
		after = ev.Seq
	}
	f.fitPages(after)
}

// fitPages makes pages as long as sockets can take them: what does not fit into the
// queue of a slow one, to which all up to seq was offered, is read again when it has
// drained. It needs f.mu.
func (f *follower) fitPages(seq int64) {
	if slices.ContainsFunc(f.conns, func(c *conn) bool { return c.live && c.last < seq }) {
		f.halved = min(f.halved+1, maxHalvings)
	} else {
		f.halved = max(f.halved-1, 0)
	}
}

// nextPage asks for what is known to follow after, but for at most a page.
func (f *follower) nextPage(after int64) socialapi.ReadRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := int(max(1, min(f.head-after, pageSize>>f.halved)))
	return socialapi.ReadRequest{User: f.id, After: after, Limit: size}
}
