// Package accounts is the service that knows who people are: it makes accounts,
// checks pins, keeps sessions and tells names. It owns the Postgres schema accounts.
package accounts

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

// server answers the requests of this service.
type server struct {
	store    *store
	pins     *hasher
	throttle *throttle
	ringer   *bell.Ringer
	metrics  *metrics
	log      *slog.Logger

	trustedProxies []netip.Prefix // who may tell a client's address

	social         *socialapi.Client
	deletionGrace  time.Duration
	departed       chan struct{} // capacity 1: look into the outbox now
	complainOutbox rate.Sometimes
}

// errNobody is the answer to every login that fails, so that it does not tell
// which names exist.
var errNobody = fault.New(fault.Unauthorized, "acc not found")

// login finds out who somebody is, and begins a session if that is asked for.
// Faults: Unauthorized, TooMany, Unavailable.
func (s *server) login(ctx context.Context, cred accountsapi.Credentials) (session accountsapi.Session, err error) {
	defer func() { s.metrics.logins.WithLabelValues(service.Outcome(err)).Inc() }()
	u, err := checkUsername(cred.Username)
	if err != nil || checkPin(cred.Pin) != nil {
		return accountsapi.Session{}, errNobody // by rules that everybody may know
	}
	attempt, err := s.throttle.login(ctx, u, cred.Address)
	if err != nil {
		return accountsapi.Session{}, err
	}
	user, pinHash, err := s.authenticate(ctx, u, cred.Pin)
	if !errors.Is(err, fault.Unauthorized) {
		attempt.forgive(ctx)
	}
	if err != nil || !cred.Session {
		return accountsapi.Session{User: user}, err
	}
	return s.begin(ctx, user, pinHash)
}

// authenticate finds out who has this name and this pin, and the hash of the pin. It
// does the same work whether or not somebody has the name.
func (s *server) authenticate(ctx context.Context, u username, pin string) (accountsapi.User, string, error) {
	user, pinHash, err := s.store.byName(ctx, u)
	if err != nil {
		return accountsapi.User{}, "", err
	}
	right, err := s.pins.verify(ctx, pin, pinHash)
	if err != nil {
		return accountsapi.User{}, "", err
	}
	if !right {
		return accountsapi.User{}, "", errNobody
	}
	return user, pinHash, nil
}

// create makes an account, and begins a session of it if that is asked for.
// Faults: Invalid, Conflict, TooMany, Unavailable.
func (s *server) create(ctx context.Context, cred accountsapi.Credentials) (session accountsapi.Session, err error) {
	defer func() { s.metrics.creations.WithLabelValues(service.Outcome(err)).Inc() }()
	u, err := checkUsername(cred.Username)
	if err != nil {
		return accountsapi.Session{}, err
	}
	if err := checkPin(cred.Pin); err != nil {
		return accountsapi.Session{}, err
	}
	attempt, err := s.throttle.create(ctx, cred.Address)
	if err != nil {
		return accountsapi.Session{}, err
	}
	session, err = s.register(ctx, u, cred)
	if errors.Is(err, fault.Unavailable) {
		attempt.forgive(ctx)
	}
	return session, err
}

// register stores an account with the pin of cred.
func (s *server) register(ctx context.Context, u username, cred accountsapi.Credentials) (accountsapi.Session, error) {
	pinHash, err := s.pins.hash(ctx, cred.Pin)
	if err != nil {
		return accountsapi.Session{}, err
	}
	user := accountsapi.User{Username: u.shown}
	if !cred.Session {
		if user.ID, err = s.store.insert(ctx, u, pinHash); err != nil {
			return accountsapi.Session{}, err
		}
		return accountsapi.Session{User: user}, nil
	}
	t := newToken()
	var b begun
	if user.ID, b, err = s.store.insertWithSession(ctx, u, pinHash, t.hash); err != nil {
		return accountsapi.Session{}, err
	}
	return s.hasBegun(user, t, b), nil
}

// find finds the account of a name, if there is one.
func (s *server) find(ctx context.Context, name string) ([]accountsapi.User, error) {
	u, err := checkUsername(name)
	if err != nil {
		return []accountsapi.User{}, nil // nobody can be called like this
	}
	user, _, err := s.store.byName(ctx, u)
	if err != nil || user.ID == 0 {
		return []accountsapi.User{}, err
	}
	return []accountsapi.User{user}, nil
}

// lookup finds accounts by id; ids that nobody has are left out.
func (s *server) lookup(ctx context.Context, ids []int) ([]accountsapi.User, error) {
	if len(ids) > accountsapi.MaxLookup {
		return nil, fault.New(fault.Invalid, "at most %d ids at once", accountsapi.MaxLookup)
	}
	var possible []int // the rest would not fit into the column
	for _, id := range ids {
		if id >= minID && id <= maxID {
			possible = append(possible, id)
		}
	}
	if len(possible) == 0 {
		return []accountsapi.User{}, nil
	}
	return s.store.byIDs(ctx, possible)
}
