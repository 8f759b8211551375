package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pymessage/services/accounts/accountsapi"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

const (
	// requestTimeout bounds a request to another service.
	requestTimeout = 5 * time.Second
	// loginTimeout bounds a login, which may wait for its turn to be hashed.
	loginTimeout = 15 * time.Second
	// subscribeTimeout is how long a login waits for Redis. Without it the login
	// goes on and the heads are checked every second.
	subscribeTimeout = time.Second
)

// handle answers one request, or the frame that err says is none. Sends go into a
// lane and are answered from there; everything else waits for them, so that answers
// come in the order of requests and each request finds what those before it did.
func (c *conn) handle(req wire.Request, err error) {
	allowed := c.limiter.Allow()
	if req.Type == wire.SendMsg && err == nil && allowed && c.user != nil {
		c.send(req)
		return
	}
	c.awaitSends()
	if !c.begin() {
		return // draining: a request without an answer was not accepted
	}
	defer c.finish()
	c.ref = req.Ref
	isLogin := req.Type == wire.Login || req.Type == wire.CreateAcc || req.Type == wire.Resume
	switch {
	case !allowed:
		c.srv.metrics.throttled.Inc()
		c.fail(wire.ErrTooManyRequests)
	case req.Type != "" && c.user == nil && !isLogin:
		c.fail(wire.ErrNotLoggedIn)
	case req.Type != "" && c.user != nil && isLogin:
		c.fail(wire.ErrAlreadyLoggedIn)
	case err != nil:
		c.refuse(err)
	default:
		c.badFrames = 0
		c.requestAside(req)
	}
}

// requestAside is apart from handle so that only these requests are copied to the heap,
// and not the many sends.
func (c *conn) requestAside(req wire.Request) {
	aside(func() { c.request(req) })
}

// aside runs f on another stack, and waits for it. Calls to other services need some
// kilobytes of stack; the goroutine that reads a socket lives as long as the socket
// and would keep them.
func aside(f func()) {
	var done sync.WaitGroup
	done.Go(f)
	done.Wait()
}

func (c *conn) request(req wire.Request) {
	c.srv.metrics.requests[req.Type].Inc()
	handlers[req.Type](c, req)
}

// handlers are for all types of requests but SendMsg, which goes into a lane.
var handlers = map[wire.Type]func(*conn, wire.Request){
	wire.Login:         (*conn).login,
	wire.CreateAcc:     (*conn).createAccount,
	wire.Resume:        (*conn).resume,
	wire.Logout:        alone((*conn).logout),
	wire.Ack:           func(c *conn, req wire.Request) { c.ack(req.Seq) },
	wire.GetFriends:    alone((*conn).getFriends),
	wire.RequestFriend: about((*conn).requestFriend),
	wire.AddFriend:     about((*conn).addFriend),
	wire.DenyFriend:    about((*conn).denyFriend),
	wire.GetRequests:   alone((*conn).getRequests),
	wire.CancelRequest: about((*conn).cancelRequest),
	wire.RemoveFriend:  about((*conn).removeFriend),
	wire.Block:         about((*conn).block),
	wire.Unblock:       about((*conn).unblock),
	wire.GetBlocked:    alone((*conn).getBlocked),
	wire.FindUser:      func(c *conn, req wire.Request) { c.findUser(req.Username) },
	wire.GetHistory:    (*conn).getHistory,
	wire.MarkRead:      (*conn).markRead,
	wire.Typing:        about((*conn).typing),
	wire.WatchPresence: alone((*conn).watchPresence),
}

// alone is for a request without arguments.
func alone(do func(*conn)) func(*conn, wire.Request) {
	return func(c *conn, _ wire.Request) { do(c) }
}

// about is for a request about another user.
func about(do func(*conn, int64)) func(*conn, wire.Request) {
	return func(c *conn, req wire.Request) { do(c, req.User) }
}

// reply answers the request that is worked on.
func (c *conn) reply(data []byte) { c.answer(wire.WithRef(data, c.ref)) }

// fail answers it with an error.
func (c *conn) fail(e wire.Error) {
	c.srv.metrics.errors.Inc()
	c.reply(wire.ErrorResp(c.version, e))
}

// refuse answers a frame that is not valid. A hundred in a row close the socket.
func (c *conn) refuse(err error) {
	e, ok := errors.AsType[wire.Error](err)
	if !ok {
		e = wire.BadRequest(err.Error())
	}
	c.fail(e)
	if c.badFrames++; c.badFrames == maxBadFrames {
		c.close(wire.CloseBadFrames, "too many bad frames")
	}
}

func (c *conn) send(req wire.Request) {
	c.badFrames = 0
	c.srv.metrics.requests[req.Type].Inc()
	c.srv.put(send{
		conn: c, sender: c.user.id, recipient: int(req.User), content: req.Content, nonce: req.Nonce, ref: req.Ref,
	})
}

// limit is the context of a request to another service.
func (c *conn) limit(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.srv.connCtx, timeout)
}

func (c *conn) getFriends() {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	friends, err := c.srv.friendsOf(ctx, c.user.id)
	if err != nil {
		c.srv.log.Warn("friends could not be listed", "err", err)
		c.fail(wire.ErrFriendsFailed)
		return
	}
	c.reply(wire.FriendsResp(friends))
}

// friendsOf has the ids from social and the names from accounts.
func (s *Server) friendsOf(ctx context.Context, user int) ([]wire.Friend, error) {
	ids, err := s.social.Friends(ctx, user)
	if err != nil {
		return nil, err
	}
	return s.named(ctx, ids)
}

// named leaves out who is no more.
func (s *Server) named(ctx context.Context, ids []int) ([]wire.Friend, error) {
	names, err := s.names(ctx, ids)
	if err != nil {
		return nil, err
	}
	users := make([]wire.Friend, 0, len(ids))
	for _, id := range ids {
		if name, ok := names[id]; ok {
			users = append(users, wire.Friend{Username: name, ID: id})
		}
	}
	return users, nil
}

func (s *Server) names(ctx context.Context, ids []int) (map[int]string, error) {
	names := make(map[int]string, len(ids))
	for chunk := range slices.Chunk(ids, accountsapi.MaxLookup) {
		users, err := s.accounts.Lookup(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			names[u.ID] = u.Username
		}
	}
	return names, nil
}

func (c *conn) requestFriend(user int64) {
	c.change(user, c.srv.social.Request, wire.RequestResp, func(error) wire.Error {
		return wire.RequestFailed(user)
	})
}

func (c *conn) addFriend(user int64) {
	c.change(user, c.srv.social.Accept, wire.AddResp, func(err error) wire.Error {
		return failedOr(err, wire.AddFailed(user), wire.NoRequest(user))
	})
}

func (c *conn) denyFriend(user int64) {
	c.change(user, c.srv.social.Deny, wire.DenyResp, func(err error) wire.Error {
		return failedOr(err, wire.DenyFailed(user), wire.NoRequest(user))
	})
}

// change carries out what this socket's user does about another, rings for it, and
// answers.
func (c *conn) change(user int64, do func(ctx context.Context, actor, user int) (socialapi.Change, error),
	success []byte, failure func(error) wire.Error,
) {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	change, err := do(ctx, c.user.id, int(user))
	if err != nil {
		c.fail(failure(err))
		return
	}
	for _, r := range change.Rings {
		c.srv.ringer.Ring(r.User, change.Epoch, r.Event)
	}
	c.reply(success)
}
