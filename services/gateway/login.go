package gateway

import (
	"time"

	"pymessage/internal/fault"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/gateway/wire"
)

func (c *conn) login(req wire.Request) {
	ctx, cancel := c.limit(loginTimeout)
	defer cancel()
	user, err := c.srv.accounts.Login(ctx, c.credentials(req))
	c.srv.metrics.logins.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		c.fail(loginError(err))
		return
	}
	c.enter(user.ID, wire.LoginResp(user.ID))
}

func loginError(err error) string {
	switch fault.KindOf(err) {
	case fault.Unauthorized, fault.Invalid, fault.NotFound:
		return wire.ErrAccNotFound
	case fault.TooMany:
		return wire.ErrTooManyAttempts
	}
	return wire.ErrUnavailable
}

func (c *conn) createAccount(req wire.Request) {
	ctx, cancel := c.limit(loginTimeout)
	defer cancel()
	user, err := c.srv.accounts.Create(ctx, c.credentials(req))
	c.srv.metrics.creations.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		c.fail(createError(err))
		return
	}
	c.enter(user.ID, wire.CreateAccResp(user.ID))
}

func createError(err error) string {
	switch fault.KindOf(err) {
	case fault.Conflict:
		return wire.ErrUsernameTaken
	case fault.TooMany:
		return wire.ErrTooManyAttempts
	}
	return wire.ErrCreateFailed
}

func (c *conn) credentials(req wire.Request) accountsapi.Credentials {
	return accountsapi.Credentials{Username: req.Username, Pin: req.Pin, Address: c.address}
}

// outcome is the metric label of a call's end.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(fault.KindOf(err))
}

// enter makes the socket the user's. The order is the promise: subscribe and see
// it confirmed, answer, catch up, then live. What is stored from the confirmation on
// is rung for; what was stored before is found by the catching up.
func (c *conn) enter(user int, answer []byte) {
	f, subscribed := c.srv.hub.join(user, c)
	if f == nil {
		c.fail(wire.ErrTooManyAttempts)
		c.close(wire.CloseTooMany, "too many sockets of this account")
		return
	}
	c.user = f
	late := time.NewTimer(subscribeTimeout)
	defer late.Stop()
	select {
	case <-subscribed:
	case <-late.C:
		c.srv.metrics.lateSubscriptions.Inc()
	case <-c.ctx.Done():
		return
	}
	c.answer(answer)
	c.tasks.Go(c.open)
}

// open finds out where the inbox stands, for as long as it takes, and starts to
// follow it. The socket sends meanwhile.
func (c *conn) open() {
	for pause := retryMin; ; {
		ctx, cancel := c.limit(requestTimeout)
		opening, err := c.srv.social.Open(ctx, c.user.id)
		cancel()
		if err == nil {
			c.user.start(c, opening)
			return
		}
		if c.ctx.Err() != nil {
			return
		}
		c.srv.log.Warn("inbox could not be opened, trying again", "err", err)
		if !sleep(c.ctx, &pause) {
			return
		}
	}
}
