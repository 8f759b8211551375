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
	// says so is lost.
	sessionInterval = 30 * time.Second
	// freshInterval is how long after its login a socket is checked once more: the
	// session may have ended before its ring could be heard here.
	freshInterval = time.Second
)

// watchSessions checks the sessions of sockets that are new, and once in a while of
// all.
func (s *Server) watchSessions(ctx context.Context) {
	tick := time.NewTicker(freshInterval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		conns := s.freshSessions.take()
		if time.Since(last) >= sessionInterval {
			last, conns = time.Now(), s.allConns()
		}
		if err := s.endSessions(ctx, conns); err != nil && ctx.Err() == nil {
			s.log.Warn("sessions could not be checked, trying again", "err", err)
		}
	}
}

// endSessions closes those of the sockets whose sessions have ended, and those whose
// users are no more.
func (s *Server) endSessions(ctx context.Context, conns []*conn) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bySession, byUser := map[string][]*conn{}, map[int][]*conn{}
	for _, c := range conns {
		if name := c.sessionName(); name != "" {
			bySession[name] = append(bySession[name], c)
		} else if f := c.follows(); f != nil {
			byUser[f.id] = append(byUser[f.id], c) // version 1 has no sessions
		}
	}
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(bySession)), accountsapi.MaxSessions) {
		out, err := s.accounts.Ended(ctx, accountsapi.EndedRequest{Sessions: chunk})
		if err != nil {
			return err
		}
		endOf(bySession, out.Ended)
	}
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(byUser)), accountsapi.MaxSessions) {
		out, err := s.accounts.Ended(ctx, accountsapi.EndedRequest{Users: chunk})
		if err != nil {
			return err
		}
		endOf(byUser, out.Gone)
	}
	return nil
}

// endOf closes the sockets of those that are over.
func endOf[Key comparable](sockets map[Key][]*conn, over []Key) {
	for _, key := range over {
		for _, c := range sockets[key] {
			c.close(wire.CloseSessionOver, "the session is over")
		}
	}
}

func (c *conn) sessionName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}
