package accounts

import (
	"context"
	"net/http"
	"time"

	"pymessage/internal/httpjson"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

const (
	// outboxPoll is how soon a pod finds what another one has left behind. What it has
	// put into the outbox itself it works on at once.
	outboxPoll = time.Second
	// deleteTimeout bounds one request to social, which works for a part of it.
	deleteTimeout = 15 * time.Second
	// outboxLease is for how long a pod that died keeps others from its work.
	outboxLease = 4 * deleteTimeout
	// The pause after a failure, doubled with each up to the longest.
	firstPause   = time.Second
	longestPause = time.Minute
)

// restDeletion is the body of the deletion of an account.
type restDeletion struct {
	Pin string `json:"pin"`
}

func (s *server) restDelete(r *http.Request, me accountsapi.Session) (any, error) {
	in, err := httpjson.ReadPublic[restDeletion](r)
	if err != nil {
		return nil, err
	}
	return httpjson.Done, s.deleteAccount(r.Context(), me, in.Pin, s.addressOf(r))
}

// deleteAccount deletes an account: its user, sessions and sockets at once, the rest,
// which is social's, by the outbox. Faults: Forbidden (the pin is wrong), TooMany,
// Unavailable.
func (s *server) deleteAccount(ctx context.Context, me accountsapi.Session, pin, address string) error {
	pinHash, err := s.proveAgain(ctx, me, pin, address)
	if err != nil {
		return err
	}
	if err := s.store.deleteUser(ctx, me.ID, pinHash); err != nil {
		return forbidden(err)
	}
	s.metrics.deletions.Inc()
	s.ringer.RingSessionsEnd(me.ID, "")
	select {
	case s.departed <- struct{}{}:
	default: // the outbox is about to be looked into anyway
	}
	return nil
}

// workOutbox tells social of deleted accounts until ctx ends. Several pods may do so
// at once.
func (s *server) workOutbox(ctx context.Context) error {
	tick := time.NewTicker(outboxPoll)
	defer tick.Stop()
	for {
		if err := s.emptyOutbox(ctx); err != nil && ctx.Err() == nil {
			s.complainOutbox.Do(func() { s.log.WarnContext(ctx, "outbox not worked on; tried again", "err", err) })
		}
		select {
		case <-s.departed:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// emptyOutbox works on all that is due.
func (s *server) emptyOutbox(ctx context.Context) error {
	for ctx.Err() == nil {
		d, ok, err := s.store.takeDeparture(ctx, outboxLease)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := s.tell(ctx, d); err != nil {
			return err
		}
	}
	waiting, err := s.store.departures(ctx)
	s.metrics.outboxLength.Set(float64(waiting))
	return err
}

// tell tells social of a deleted account. That social fails is not an error here: it
// is told again later.
func (s *server) tell(ctx context.Context, d departure) error {
	err := s.deleteContent(ctx, d)
	switch {
	case err != nil:
		s.metrics.outboxTries.WithLabelValues("failed").Inc()
		s.complainOutbox.Do(func() {
			s.log.WarnContext(ctx, "content of a deleted account not deleted; tried again", "tries", d.tries+1, "err", err)
		})
		pause := min(longestPause, firstPause<<min(d.tries, 10))
		return s.store.postponeDeparture(context.WithoutCancel(ctx), d, pause)
	case !d.told:
		s.metrics.outboxTries.WithLabelValues("ok").Inc()
		return s.store.tellDepartureAgain(ctx, d, s.deletionGrace)
	}
	s.metrics.outboxTries.WithLabelValues("ok").Inc()
	return s.store.forgetDeparture(ctx, d)
}

// deleteContent lets social delete, a part at a time, what it has of an account.
func (s *server) deleteContent(ctx context.Context, d departure) error {
	request := socialapi.DeleteRequest{User: d.user, Final: d.told}
	for {
		out, err := s.askDelete(ctx, request)
		if err != nil || out.Done {
			return err
		}
		request.After = out.After
		if err := s.store.extendDeparture(ctx, d, outboxLease); err != nil {
			return err
		}
	}
}

func (s *server) askDelete(ctx context.Context, r socialapi.DeleteRequest) (socialapi.DeleteResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	return s.social.Delete(ctx, r)
}
