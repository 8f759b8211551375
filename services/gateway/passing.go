package gateway

import (
	"slices"
	"time"

	"pymessage/internal/bell"
	"pymessage/services/gateway/wire"
)

// What passes is in no inbox: whoever is not there never hears of it.

const (
	// typingPause is how often a socket may tell somebody that its user types.
	typingPause = 3 * time.Second
	// maxTyped bounds the users of whom a socket remembers to have told them.
	maxTyped = 64
	// aloneFor is how long a gateway that was alone with a user believes to be. A
	// gateway that gets a socket of the user says so; this is for when that is lost.
	aloneFor = time.Minute
)

// pass queues what is no event of the inbox, unless the queue is full.
func (c *conn) pass(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued > 0 && c.queued+len(data) > c.srv.cfg.QueueBytes {
		c.srv.metrics.passingDropped.Inc()
		return
	}
	c.enqueue(frame{kind: eventFrame, data: data})
}

// listeners are the sockets that want to hear of what passes, other than except.
func (f *follower) listeners(except *conn) (conns []*conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		if c.live && c.version == wire.V2 && c != except {
			conns = append(conns, c)
		}
	}
	return conns
}

// tell passes a frame to all sockets but one.
func (f *follower) tell(except *conn, frame func() []byte) {
	listeners := f.listeners(except)
	if len(listeners) == 0 {
		return
	}
	data := frame()
	for _, c := range listeners {
		c.pass(data)
	}
}

// onPassing takes what came from the bell.
func (f *follower) onPassing(p bell.Passing) {
	own := p.From == f.srv.name // our sockets know
	switch {
	case p.Kind == bell.PassingTyping:
		f.tell(nil, func() []byte { return wire.TypingEvent(p.Peer) })
	case p.Kind == bell.PassingReceipt:
		f.tell(nil, func() []byte { return wire.ReceiptEvent(p.Peer, p.State, p.ID) })
	case p.Kind == bell.PassingRead && !own:
		f.tell(nil, func() []byte { return wire.ReadEvent(p.Peer, p.ID) })
	case p.Kind == bell.PassingSent && !own:
		f.tell(nil, func() []byte { return wire.SentEvent(p.Peer, p.Content, p.ID, p.SentAt) })
	case p.Kind == bell.PassingJoined && !own:
		f.copies.joined(f)
	case p.Kind == bell.PassingCame, p.Kind == bell.PassingGone:
		f.srv.presence.hear(f.id, p.Peer, p.Kind == bell.PassingCame)
	}
}

// typing tells a friend, at most every typingPause. It is answered only if it asks
// for that by a ref.
func (c *conn) typing(user int64) {
	if !isUserID(int(user)) {
		c.failTyping(wire.NotFriend(user))
		return
	}
	now := time.Now()
	if last, ok := c.typed[int(user)]; !ok || now.Sub(last) >= typingPause {
		ctx, cancel := c.limit(requestTimeout)
		defer cancel()
		switch friends, err := c.srv.social.AreFriends(ctx, c.user.id, int(user)); {
		case err != nil:
			c.failTyping(wire.ErrUnavailable)
			return
		case !friends:
			c.failTyping(wire.NotFriend(user))
			return
		}
		c.noteTyped(int(user), now)
		c.srv.ringer.Pass(int(user), bell.Passing{Kind: bell.PassingTyping, Peer: c.user.id})
	}
	if c.ref != "" {
		c.reply(wire.TypingResp)
	}
}

func (c *conn) failTyping(e wire.Error) {
	if c.ref != "" {
		c.fail(e)
	}
}

func (c *conn) noteTyped(user int, now time.Time) {
	if len(c.typed) >= maxTyped {
		clear(c.typed)
	}
	if c.typed == nil {
		c.typed = map[int]time.Time{}
	}
	c.typed[user] = now
}

// tellRead tells who may know that this socket's user has read what peer sent.
func (c *conn) tellRead(peer int, id string, receipt bool) {
	c.user.tell(c, func() []byte { return wire.ReadEvent(peer, id) })
	c.srv.ringer.Pass(c.user.id, bell.Passing{Kind: bell.PassingRead, Peer: peer, ID: id, From: c.srv.name})
	if receipt && peer != c.user.id {
		c.srv.ringer.Pass(peer, bell.Passing{Kind: bell.PassingReceipt, Peer: c.user.id, State: wire.StateRead, ID: id})
	}
}

// copies says whether what a user sends has to be copied to other gateways. All are
// asked for by publishing, and the answer tells how many there are: so a user with
// one gateway costs one publication a minute.
type copies struct {
	// Guarded by the follower's mu.
	aloneUntil time.Time
	joins      int  // counts the times that another gateway joined
	announced  bool // this gateway has told the others that it is there
}

// joined hears that another gateway holds a socket of the user.
func (s *copies) joined(f *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.aloneUntil = time.Time{}
	s.joins++
}

// announce tells the other gateways, once, that there is a socket here which wants
// copies. The channel must be subscribed to.
func (f *follower) announce() {
	f.mu.Lock()
	first := !f.copies.announced
	f.copies.announced = true
	f.mu.Unlock()
	if first {
		f.srv.ringer.Pass(f.id, bell.Passing{Kind: bell.PassingJoined, From: f.srv.name})
	}
}

// copySent tells the user's other sockets of a message that one of them sent. Of one
// to oneself all are told anyway.
func (f *follower) copySent(from *conn, recipient int, content string, seq, sentAt int64) {
	if recipient == f.id {
		return
	}
	f.mu.Lock()
	others := slices.ContainsFunc(f.conns, func(c *conn) bool { return c != from && c.version == wire.V2 })
	elsewhere, joins := time.Now().After(f.copies.aloneUntil), f.copies.joins
	f.mu.Unlock()
	if !others && !elsewhere {
		return
	}
	id := wire.EventID(recipient, seq)
	if others {
		f.tell(from, func() []byte { return wire.SentEvent(recipient, content, id, sentAt) })
	}
	if elsewhere {
		f.srv.ringer.PassCounted(f.id, bell.Passing{
			Kind: bell.PassingSent, Peer: recipient, ID: id, Content: content, SentAt: sentAt, From: f.srv.name,
		}, func(gateways int64) { f.heardBy(gateways, joins) })
	}
}

// heardBy learns how many gateways heard of a copy, this one included. A gateway that
// joined after the copy had been sent was not counted.
func (f *follower) heardBy(gateways int64, joins int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if gateways <= 1 && joins == f.copies.joins {
		f.copies.aloneUntil = time.Now().Add(aloneFor)
	}
}
