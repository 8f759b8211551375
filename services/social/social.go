// Package social is the service that owns friendships and every user's inbox: an
// append-only log of the messages and friend requests for the user. Package
// socialapi is what it can be asked for.
package social

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/stream"
	"pymessage/services/social/socialapi"
)

// server is the service: the rules between its HTTP interface and its store.
type server struct {
	store      *store
	merger     *merger
	sends      *stream.Server // of batches
	directory  *directory
	maxWaiting int           // friend requests that may wait for one user's answer
	messageAge time.Duration // from which what is delivered is deleted; 0: never
	nonceAge   time.Duration // from which a nonce is forgotten
	metrics    *metrics
	log        *slog.Logger

	ringer         *bell.Ringer
	trustedProxies []netip.Prefix // who may tell a client's address
}

// send stores a batch. Each message is judged by itself: a bad one never fails
// its neighbours.
func (s *server) send(ctx context.Context, b socialapi.Batch) (socialapi.BatchResult, error) {
	refused := make([]socialapi.Refusal, len(b.Messages))
	for i, m := range b.Messages {
		refused[i] = judge(m)
	}
	if err := s.refuseStrangers(ctx, b.Messages, refused); err != nil {
		return socialapi.BatchResult{}, err
	}
	sent := &sending{batch: b, refused: refused}
	s.merger.send(sent)
	if sent.err != nil {
		return socialapi.BatchResult{}, sent.err
	}
	s.metrics.count(sent.result.Results, sent.repeated)
	return sent.result, nil
}

// judge refuses what needs no look at anything but the message.
func judge(m socialapi.Message) socialapi.Refusal {
	switch {
	case !isID(m.Sender), !isText(m.Content), utf8.RuneCountInString(m.Content) > socialapi.MaxContent,
		!isText(m.Nonce), len(m.Nonce) > socialapi.MaxNonce:
		return socialapi.RefusedInvalid
	case !isID(m.Recipient):
		return socialapi.RefusedUnknown
	}
	return ""
}

// refuseStrangers refuses the messages to users who do not exist, or of whom that
// cannot be found out.
func (s *server) refuseStrangers(ctx context.Context, messages []socialapi.Message, refused []socialapi.Refusal) error {
	var users []int
	for i, m := range messages {
		if refused[i] == "" {
			users = append(users, m.Recipient)
		}
	}
	found, err := s.directory.find(ctx, users)
	if err != nil {
		return err
	}
	why := socialapi.RefusedUnknown
	if !found.sure {
		why = socialapi.RefusedUnavailable
	}
	for i, m := range messages {
		if refused[i] == "" && !found.known[m.Recipient] {
			refused[i] = why
		}
	}
	return nil
}

// change carries out what a user does about another. For a request and a block both
// must exist; for the rest they need not be looked up, as there is nothing between
// users who do not.
func (s *server) change(ctx context.Context, c change) (socialapi.Change, error) {
	if c.actor != c.user && (c.act == actionRequest || c.act == actionBlock) {
		if err := s.mustExist(ctx, c.actor, c.user); err != nil {
			return socialapi.Change{}, err
		}
	}
	return s.store.change(ctx, c, s.maxWaiting)
}

func (s *server) mustExist(ctx context.Context, users ...int) error {
	found, err := s.directory.find(ctx, users)
	if err != nil {
		return err
	}
	for _, u := range users {
		switch {
		case found.known[u]:
		case found.sure:
			return noUser(u)
		default:
			return fault.New(fault.Unavailable, "whether there is a user %d could not be found out", u)
		}
	}
	return nil
}

func noUser(user int) error { return fault.New(fault.NotFound, "there is no user %d", user) }

func isID(user int) bool { return user >= minID && user <= maxID }

// isText says whether Postgres can hold s: its texts have no NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
