package gateway

import (
	"context"
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

// endSessions closes those of the sockets whose sessions have ended.
func (s *Server) endSessions(ctx context.Context, conns []*conn) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	sockets := map[string][]*conn{}
	var sessions []string
	for _, c := range conns {
		if name := c.sessionName(); name != "" {
			if sockets[name] == nil {
				sessions = append(sessions, name)
			}
			sockets[name] = append(sockets[name], c)
		}
	}
	for chunk := range slices.Chunk(sessions, accountsapi.MaxSessions) {
		ended, err := s.accounts.Ended(ctx, chunk)
		if err != nil {
			return err
		}
		for _, name := range ended {
			for _, c := range sockets[name] {
				c.close(wire.CloseSessionOver, "the session is over")
			}
		}
	}
	return nil
}

func (c *conn) sessionName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}
