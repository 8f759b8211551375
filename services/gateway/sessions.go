package gateway

import (
	"context"
	"maps"
	"slices"
	"time"

	"pymessage/services/accounts/accountsapi"
	"pymessage/services/gateway/wire"
)

const (
	// sessionInterval is how long a socket may outlive its session when the ring that
	// says so is lost although Redis is there.
	sessionInterval = 30 * time.Second
	// freshInterval is how long after its login a socket is checked once more, since
	// the session may have ended before its ring could be heard here; and how often all
	// are checked while Redis is away.
	freshInterval = time.Second
)

// watchSessions checks the sessions of sockets that are new; and of all once in a
// while, every second while rings may be missed, and at once when that is over.
func (s *Server) watchSessions(ctx context.Context) {
	tick := time.NewTicker(freshInterval)
	defer tick.Stop()
	var last time.Time // of all
	for {
		restored := false
		select {
		case <-s.sessionsWanted:
			restored = true
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		conns := s.freshSessions.take()
		if restored || !s.broker.Healthy() || time.Since(last) >= sessionInterval {
			last, conns = time.Now(), s.allConns()
		}
		if err := s.endSessions(ctx, conns); err != nil && ctx.Err() == nil {
			s.log.Warn("sessions could not be checked, trying again", "err", err)
			last = time.Time{} // all of them
		}
	}
}

// endSessions closes those of the sockets whose sessions have ended, and those whose
// users are no more.
func (s *Server) endSessions(ctx context.Context, conns []*conn) error {
	bySession, byUser := map[string][]*conn{}, map[int][]*conn{}
	for _, c := range conns {
		if name := c.sessionName(); name != "" {
			bySession[name] = append(bySession[name], c)
		} else if f := c.follows(); f != nil {
			byUser[f.id] = append(byUser[f.id], c) // version 1 has no sessions
		}
	}
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(bySession)), accountsapi.MaxSessions) {
		out, err := s.endedOf(ctx, accountsapi.EndedRequest{Sessions: chunk})
		if err != nil {
			return err
		}
		revoke(bySession, out.Ended)
	}
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(byUser)), accountsapi.MaxSessions) {
		out, err := s.endedOf(ctx, accountsapi.EndedRequest{Users: chunk})
		if err != nil {
			return err
		}
		revoke(byUser, out.Gone)
	}
	return nil
}

func (s *Server) endedOf(ctx context.Context, r accountsapi.EndedRequest) (accountsapi.EndedResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return s.accounts.Ended(ctx, r)
}

// revoke ends the sockets of those that are over.
func revoke[Key comparable](sockets map[Key][]*conn, over []Key) {
	for _, key := range over {
		for _, c := range sockets[key] {
			c.revoke()
		}
	}
}

func (c *conn) sessionName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// logout ends the session: of this socket, and of all others that resumed it. What
// tells the sockets may be faster than the answer to us, which comes first all the
// same.
func (c *conn) logout() {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	c.beginLogout()
	err := c.srv.accounts.End(ctx, accountsapi.EndRequest{User: c.user.id, Session: c.session})
	if err != nil && !c.endLogout() {
		c.fail(wire.ErrUnavailable)
		return
	}
	c.reply(wire.LogoutResp)
	c.cutOff()
}

// beginLogout makes revoke wait for the logout.
func (c *conn) beginLogout() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
}

// endLogout ends a logout that has failed, unless the session is over all the same.
func (c *conn) endLogout() (revoked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = c.revoked
	return c.revoked
}

// revoke ends a socket whose session is over.
func (c *conn) revoke() {
	c.mu.Lock()
	c.revoked = true
	leaving := c.leaving
	c.mu.Unlock()
	if !leaving {
		c.cutOff()
	}
}

// cutOff closes the socket, also one that does not read or has much to read:
// nothing is accepted from now on, and after closeGrace it is over.
func (c *conn) cutOff() {
	c.close(wire.CloseSessionOver, "the session is over")
	time.AfterFunc(closeGrace, func() { c.ws.Close() })
}
