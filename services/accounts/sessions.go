package accounts

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"pymessage/internal/fault"
	"pymessage/services/accounts/accountsapi"
)

// errOver is the answer to every resume that fails: a token that never was one is
// like one that was revoked.
var errOver = fault.New(fault.Unauthorized, "session is over")

// begin begins a session of somebody who has just proved who it is.
func (s *server) begin(ctx context.Context, user accountsapi.User, pinHash string) (accountsapi.Session, error) {
	t := newToken()
	b, err := s.store.begin(ctx, user.ID, pinHash, t.hash)
	if err != nil {
		return accountsapi.Session{}, err
	}
	return s.hasBegun(user, t, b), nil
}

// hasBegun rings for the sessions that made room for a new one, and is the answer
// to who gets it.
func (s *server) hasBegun(user accountsapi.User, t token, b begun) accountsapi.Session {
	s.metrics.sessionsBegun.Inc()
	s.metrics.sessionsEnded.WithLabelValues(string(endedByLimit)).Add(float64(len(b.ended)))
	for _, id := range b.ended {
		s.ringer.RingSessionEnd(user.ID, id)
	}
	return accountsapi.Session{User: user, Session: b.id, Token: t.text, ExpiresAt: b.expiresAt.UnixMilli()}
}

// end revokes a session. It rings also for one that is gone already: whoever asks
// again does not know whether the first ring was heard. Faults: Invalid,
// Unavailable.
func (s *server) end(ctx context.Context, in accountsapi.EndRequest) error {
	if in.User < minID || in.User > maxID || !isSession(in.Session) {
		return fault.New(fault.Invalid, "no session is called like this")
	}
	_, err := s.endOne(ctx, in.User, in.Session)
	return err
}

// endOne revokes a session, rings, and says whether it was one of the user's.
func (s *server) endOne(ctx context.Context, user int, session string) (was bool, err error) {
	was, err = s.store.end(ctx, user, session)
	if err != nil {
		return false, err
	}
	if was {
		s.metrics.sessionsEnded.WithLabelValues(string(endedByLogout)).Inc()
	}
	s.ringer.RingSessionEnd(user, session)
	return was, nil
}

// endAll revokes every session of an account, and closes the sockets that have none.
// Fault: Unavailable.
func (s *server) endAll(ctx context.Context, user int) error {
	ended, err := s.store.endAll(ctx, user)
	if err != nil {
		return err
	}
	s.haveEnded(user, ended, "", endedByLogout)
	return nil
}

// haveEnded rings for all sessions of an account that have ended, all but one.
func (s *server) haveEnded(user int, ended []string, except string, why ending) {
	s.metrics.sessionsEnded.WithLabelValues(string(why)).Add(float64(len(ended)))
	s.ringer.RingSessionsEnd(user, except)
}

// ended says which of the sessions are over; those that never were are.
func (s *server) ended(ctx context.Context, sessions []string) ([]string, error) {
	if len(sessions) > accountsapi.MaxSessions {
		return nil, fault.New(fault.Invalid, "at most %d sessions at once", accountsapi.MaxSessions)
	}
	over, possible := []string{}, []string{} // the rest would not fit into the column
	for _, id := range sessions {
		if isSession(id) {
			possible = append(possible, id)
		} else {
			over = append(over, id)
		}
	}
	if len(possible) == 0 {
		return over, nil
	}
	ended, err := s.store.ended(ctx, possible)
	return append(over, ended...), err
}

// gone says which of the users there are not.
func (s *server) gone(ctx context.Context, users []int) (gone []int, err error) {
	if len(users) > accountsapi.MaxSessions {
		return nil, fault.New(fault.Invalid, "at most %d users at once", accountsapi.MaxSessions)
	}
	for chunk := range slices.Chunk(users, accountsapi.MaxLookup) {
		found, err := s.lookup(ctx, chunk)
		if err != nil {
			return nil, err
		}
		there := map[int]bool{}
		for _, u := range found {
			there[u.ID] = true
		}
		gone = append(gone, slices.DeleteFunc(slices.Clone(chunk), func(id int) bool { return there[id] })...)
	}
	return gone, nil
}

// isSession says whether id is written as we write those of sessions.
func isSession(id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && parsed.String() == id
}

// Sessions that have run out are over at once; their rows go when there is time.
const (
	pruneEvery = time.Hour
	pruneBatch = 1000 // sessions in one transaction, so that it is short
)

// pruneSessions deletes the sessions that have run out, at once and then every hour,
// until ctx ends.
func (s *server) pruneSessions(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		if err := s.pruneOver(ctx, pruneBatch); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sessions that are over not deleted; tried again later", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) pruneOver(ctx context.Context, batch int) error {
	for {
		pruned, err := s.store.pruneSessions(ctx, batch)
		s.metrics.sessionsEnded.WithLabelValues(string(endedByAge)).Add(float64(pruned))
		if err != nil || pruned < batch {
			return err
		}
	}
}
