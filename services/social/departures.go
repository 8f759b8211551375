package social

import (
	"context"
	"net/http"
	"time"

	"pymessage/services/social/socialapi"
)

// The parts in which the content of a deleted account is deleted: each in a
// transaction of its own, so that it is short, and each may be done again.
const (
	deletedRows     = 5000 // of each table
	deletedPairs    = 100
	deletedContacts = 100
	searchedEvents  = 10000 // of the inbox of somebody to whom the user wrote
	// deletionTurn is about how long one request works before it answers that there is
	// more.
	deletionTurn = 3 * time.Second
)

func (s *server) postDelete(r *http.Request, in socialapi.DeleteRequest) (out socialapi.DeleteResponse, err error) {
	if err := checkUser(in.User); err != nil {
		return out, err
	}
	return s.deleteUser(r.Context(), in, time.Now().Add(deletionTurn))
}

// deleteUser deletes what there is of a user whose account is deleted. It begins no
// new part after until.
//
// First the inbox is closed, so that nothing comes in; what others were told is told
// to be over; and what the user wrote to others becomes tombstones, since their logs
// must have no gaps. What was under way meanwhile is found when it is done again,
// the last time of which is final.
func (s *server) deleteUser(ctx context.Context, r socialapi.DeleteRequest, until time.Time) (out socialapi.DeleteResponse, err error) {
	if r.After == 0 {
		if err := s.store.closeInbox(ctx, r.User); err != nil {
			return out, err
		}
		for _, part := range []func(context.Context, int) (bool, error){s.leavePart, s.deleteOwnPart} {
			for more := true; more; {
				if time.Now().After(until) {
					return out, nil
				}
				if more, err = part(ctx, r.User); err != nil {
					return out, err
				}
			}
		}
	}
	out.After = r.After
	for {
		recipients, err := s.store.recipients(ctx, r.User, out.After, deletedContacts)
		if err != nil {
			return out, err
		}
		for _, recipient := range recipients {
			if time.Now().After(until) && out.After > r.After {
				return out, nil
			}
			if err := s.store.deleteMessages(ctx, r.User, recipient, searchedEvents); err != nil {
				return out, err
			}
			out.After = recipient
		}
		if len(recipients) < deletedContacts {
			break
		}
	}
	if r.Final {
		err = s.store.forgetContacts(ctx, r.User)
	}
	return socialapi.DeleteResponse{Done: true}, err
}

func (s *server) leavePart(ctx context.Context, user int) (more bool, err error) {
	change, more, err := s.store.leave(ctx, user, deletedPairs)
	s.ring(change) // also of those that came before an error
	return more, err
}

func (s *server) deleteOwnPart(ctx context.Context, user int) (more bool, err error) {
	return s.store.deleteOwn(ctx, user, deletedRows)
}

// ring tells the gateways of events that no gateway knows of.
func (s *server) ring(change socialapi.Change) {
	for _, r := range change.Rings {
		s.ringer.Ring(r.User, change.Epoch, r.Event)
	}
}
