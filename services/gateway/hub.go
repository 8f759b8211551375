package gateway

import (
	"sync"

	"pymessage/internal/bell"
)

// hubShards spreads the users over locks. A power of two well above the number of
// cores.
const hubShards = 64

// hub knows the users who have sockets here, each with the follower of the inbox.
type hub struct {
	srv    *Server
	shards [hubShards]shard
}

type shard struct {
	mu    sync.Mutex
	users map[int]*follower
}

func newHub(srv *Server) *hub {
	h := &hub{srv: srv}
	for i := range h.shards {
		h.shards[i].users = map[int]*follower{}
	}
	return h
}

func (h *hub) shard(user int) *shard { return &h.shards[uint(user)%hubShards] }

// join adds a socket to a user, and the user's channel to the subscriptions.
// subscribed is closed once Redis has confirmed it. The follower is nil when the
// user has too many sockets already.
func (h *hub) join(user int, c *conn) (f *follower, subscribed <-chan struct{}) {
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f = sh.users[user]
	if f == nil {
		f = &follower{id: user, srv: h.srv}
		sh.users[user] = f
		h.srv.presence.moved(user, true)
	}
	if !f.add(c, h.srv.cfg.SocketsPerUser) {
		return nil, nil
	}
	return f, h.srv.broker.Subscribe(user)
}

// leave takes a socket away. With the last one the user is gone, at once: the lock
// is held so that a socket that comes back meanwhile is not unsubscribed.
func (h *hub) leave(f *follower, c *conn) {
	sh := h.shard(f.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if f.remove(c) {
		delete(sh.users, f.id)
		h.srv.broker.Unsubscribe(f.id)
		h.srv.presence.moved(f.id, false)
	}
}

// find gives the follower of a user with sockets here, or nil.
func (h *hub) find(user int) *follower {
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.users[user]
}

// Deliver hands a ring to the user's sockets. It is called by the broker and does
// not block.
func (h *hub) Deliver(user int, env bell.Envelope) {
	if user < 0 {
		for _, ev := range env.Events {
			h.srv.probe.heard(user, ev)
		}
		return
	}
	f := h.find(user)
	switch {
	case f == nil:
	case env.Session != "":
		f.endSession(env.Session, env.Except)
	case env.Passing != nil:
		f.onPassing(*env.Passing)
	default:
		f.onRing(env)
	}
}

// Restored asks for a check of all heads and sessions: rings may have been missed.
func (h *hub) Restored() {
	for _, wanted := range []chan struct{}{h.srv.headsWanted, h.srv.sessionsWanted} {
		select {
		case wanted <- struct{}{}:
		default:
		}
	}
}

// Left tells all gateways who has no socket here any more.
func (h *hub) Left(partition int, users []int) {
	h.srv.ringer.Pass(h.srv.broker.Channels().Everybody(partition), bell.Passing{Kind: bell.PassingLeft, Peers: users})
}

// users lists who has sockets here.
func (h *hub) users() []int {
	var out []int
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.Lock()
		for user := range sh.users {
			out = append(out, user)
		}
		sh.mu.Unlock()
	}
	return out
}
