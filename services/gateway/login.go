package gateway

import (
	"context"
	"time"

	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

func (c *conn) login(req wire.Request) {
	ctx, cancel := c.limit(loginTimeout)
	defer cancel()
	session, err := c.srv.accounts.Login(ctx, c.credentials(req))
	c.srv.metrics.logins.WithLabelValues(service.Outcome(err)).Inc()
	if err != nil {
		c.fail(loginError(err, wire.ErrAccNotFound))
		return
	}
	c.enter(req.Type, session, held{})
}

// resume logs in with a token instead of a pin, and goes on after what the client
// holds.
func (c *conn) resume(req wire.Request) {
	ctx, cancel := c.limit(loginTimeout)
	defer cancel()
	session, err := c.askSession(ctx, req.Token)
	c.srv.metrics.resumes.WithLabelValues(service.Outcome(err)).Inc()
	if err != nil {
		c.fail(loginError(err, wire.ErrSessionOver))
		return
	}
	c.enter(req.Type, session, held{req.Epoch, req.Since})
}

// askSession asks for the session of a token. One that is too long must not fill the
// request that it would share with those of others.
func (c *conn) askSession(ctx context.Context, token string) (accountsapi.Session, error) {
	if len(token) > accountsapi.MaxToken {
		return accountsapi.Session{}, fault.New(fault.Unauthorized, "no session has a token as long as that")
	}
	return c.srv.asks.resume.ask(ctx, accountsapi.Token{Token: token, Address: c.address})
}

// loginError is what a client is told; unknown where it is not who it says.
func loginError(err error, unknown wire.Error) wire.Error {
	switch fault.KindOf(err) {
	case fault.Unauthorized, fault.Invalid:
		return unknown
	case fault.TooMany:
		return wire.ErrTooManyAttempts
	}
	return wire.ErrUnavailable
}

func (c *conn) createAccount(req wire.Request) {
	ctx, cancel := c.limit(loginTimeout)
	defer cancel()
	session, err := c.srv.accounts.Create(ctx, c.credentials(req))
	c.srv.metrics.creations.WithLabelValues(service.Outcome(err)).Inc()
	if err != nil {
		c.fail(createError(err))
		return
	}
	c.enter(req.Type, session, held{})
}

func createError(err error) wire.Error {
	switch fault.KindOf(err) {
	case fault.Conflict:
		return wire.ErrUsernameTaken
	case fault.TooMany:
		return wire.ErrTooManyAttempts
	}
	return wire.ErrCreateFailed
}

func (c *conn) credentials(req wire.Request) accountsapi.Credentials {
	return accountsapi.Credentials{
		Username: req.Username, Pin: req.Pin, Address: c.address, Session: c.version == wire.V2,
	}
}

// enter makes the socket the user's. The order is the promise: subscribe and see
// it confirmed, answer, catch up, then live. What is stored from the confirmation on
// is rung for; what was stored before is found by the catching up.
func (c *conn) enter(request wire.Type, s accountsapi.Session, h held) {
	if !c.join(s) {
		c.fail(wire.ErrTooManyAttempts)
		c.close(wire.CloseTooMany, "too many sockets of this account")
		return
	}
	if c.version == wire.V1 {
		answer := wire.LoginResp(s.ID)
		if request == wire.CreateAcc {
			answer = wire.CreateAccResp(s.ID)
		}
		c.reply(answer)
		c.tasks.Go(func() { c.open(held{}) })
		return
	}
	// The answer of version 2 tells where the inbox stands.
	opening, err := c.askOpening()
	if err != nil {
		c.leave()
		c.fail(wire.ErrUnavailable)
		return
	}
	c.reply(wire.SessionResp(request, wire.Session{
		ID: s.ID, Token: s.Token, ExpiresAt: s.ExpiresAt, Seq: opening.Head, Epoch: opening.Epoch,
	}))
	c.user.start(c, opening, h)
}

// join adds the socket to its user's, and waits until Redis has confirmed the
// subscription, but not for long: without it the heads are checked every second.
// It is false when the user has too many sockets.
func (c *conn) join(s accountsapi.Session) bool {
	c.become(nil, s.Session)
	f, subscribed := c.srv.hub.join(s.ID, c)
	if f == nil {
		return false
	}
	c.become(f, s.Session)
	late := time.NewTimer(subscribeTimeout)
	defer late.Stop()
	select {
	case <-subscribed:
	case <-late.C:
		c.srv.metrics.lateSubscriptions.Inc()
	case <-c.srv.connCtx.Done():
	}
	if c.version == wire.V2 {
		f.announce()
	}
	c.srv.freshSessions.add(c) // from here on its end is rung for, but it may have ended before
	return true
}

// leave takes back a join.
func (c *conn) leave() {
	c.srv.hub.leave(c.user, c)
	c.become(nil, "")
}

func (c *conn) become(f *follower, session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user, c.session = f, session
}

// begun says that everything up to seq is none of this socket's business any more.
// What was written before, in another log perhaps, is not confirmed any more.
func (c *conn) begun(epoch string, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start++
	c.unconfirmed.forget()
	c.epoch, c.written, c.confirmed = epoch, seq, seq
}

// open finds out where the inbox stands, for as long as it takes, and starts to
// follow it. The socket sends meanwhile.
func (c *conn) open(h held) {
	ctx, cancel := context.WithCancel(c.srv.connCtx)
	defer cancel()
	c.mu.Lock()
	c.stopOpening = cancel
	closed := c.closed
	c.mu.Unlock()
	for pause := retryMin; !closed; {
		opening, err := c.askOpening()
		if err == nil {
			c.user.start(c, opening, h)
			return
		}
		c.srv.log.Warn("inbox could not be opened, trying again", "err", err)
		if !sleep(ctx, &pause) {
			return
		}
	}
}

func (c *conn) askOpening() (socialapi.Opening, error) {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	return c.srv.asks.open.ask(ctx, socialapi.UserRequest{User: c.user.id})
}

// ack takes the word of the client for what it has. It is answered only if it asks
// for that by a ref.
func (c *conn) ack(seq int64) {
	c.mu.Lock()
	known, epoch := seq <= c.written, c.epoch
	if known {
		c.confirmed = max(c.confirmed, seq)
	}
	c.mu.Unlock()
	if !known {
		c.refuse(wire.BadRequest("seq is beyond what was sent"))
		return
	}
	c.srv.positions.note(c.user.id, epoch, seq)
	c.tellSenders(seq)
	if c.ref != "" {
		c.reply(wire.AckResp(seq))
	}
}
