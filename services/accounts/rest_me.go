package accounts

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/services/accounts/accountsapi"
)

// restSession is a session as its user may see it.
type restSession struct {
	ID        string `json:"id"`
	CreatedAt int64  `json:"created_at"` // Unix milliseconds
	ExpiresAt int64  `json:"expires_at"`
	Current   bool   `json:"current"` // the one whose token came with the request
}

type restSessionsAnswer struct {
	Sessions []restSession `json:"sessions"`
}

// restProfile is an account as its user may see it.
type restProfile struct {
	ID        int    `json:"id"`
	Username  string `json:"username"`
	CreatedAt int64  `json:"created_at"` // Unix milliseconds
}

func (s *server) restLogin(r *http.Request) (any, error) {
	cred, err := s.credentials(r)
	if err != nil {
		return nil, err
	}
	session, err := s.login(r.Context(), cred)
	if err != nil {
		return nil, err
	}
	return entered(session), nil
}

func (s *server) restSessions(r *http.Request, me accountsapi.Session) (any, error) {
	sessions, err := s.sessionsOf(r.Context(), me)
	return restSessionsAnswer{sessions}, err
}

func (s *server) sessionsOf(ctx context.Context, me accountsapi.Session) ([]restSession, error) {
	sessions, err := s.store.sessions(ctx, me.ID)
	for i := range sessions {
		sessions[i].Current = sessions[i].ID == me.Session
	}
	return sessions, err
}

func (s *server) restEndAll(r *http.Request, me accountsapi.Session) (any, error) {
	return httpjson.Done, s.endAll(r.Context(), me.ID)
}

// restEnd does not tell whether somebody else has such a session.
func (s *server) restEnd(r *http.Request, me accountsapi.Session) (any, error) {
	session := chi.URLParam(r, "session")
	if !isSession(session) {
		return nil, errNoSession
	}
	was, err := s.endOne(r.Context(), me.ID, session)
	if err == nil && !was {
		return nil, errNoSession
	}
	return httpjson.Done, err
}

var errNoSession = fault.New(fault.NotFound, "you have no such session")

func (s *server) restMe(r *http.Request, me accountsapi.Session) (any, error) {
	return s.store.profile(r.Context(), me.ID)
}

// restPins is the body of a change of the pin.
type restPins struct {
	Pin    string `json:"pin"`
	NewPin string `json:"new_pin"`
}

func (s *server) restChangePin(r *http.Request, me accountsapi.Session) (any, error) {
	in, err := httpjson.ReadPublic[restPins](r)
	if err != nil {
		return nil, err
	}
	return httpjson.Done, s.changePin(r.Context(), me, in, s.addressOf(r))
}

// changePin ends all sessions but that of who asks, and closes the sockets that have
// none: whoever knew the old pin is out. Faults: Invalid, Forbidden (the old pin is
// wrong), TooMany, Unavailable.
func (s *server) changePin(ctx context.Context, me accountsapi.Session, in restPins, address string) error {
	if err := checkPin(in.NewPin); err != nil {
		return err
	}
	old, err := s.proveAgain(ctx, me, in.Pin, address)
	if err != nil {
		return err
	}
	pinHash, err := s.pins.hash(ctx, in.NewPin)
	if err != nil {
		return err
	}
	ended, err := s.store.changePin(ctx, me, old, pinHash)
	if err != nil {
		return forbidden(err)
	}
	s.haveEnded(me.ID, ended, me.Session, endedByPin)
	return nil
}

// proveAgain checks the pin of somebody who has shown a token, and gives its hash. A
// token may have been stolen, so guesses are throttled as those of logins are.
// Faults: Forbidden, TooMany, Unavailable.
func (s *server) proveAgain(ctx context.Context, me accountsapi.Session, pin, address string) (pinHash string, err error) {
	u, err := checkUsername(me.Username)
	if err != nil {
		return "", err
	}
	if checkPin(pin) != nil {
		return "", errWrongPin // by rules that everybody may know
	}
	attempt, err := s.throttle.login(ctx, u, address)
	if err != nil {
		return "", err
	}
	_, pinHash, err = s.authenticate(ctx, u, pin)
	if !errors.Is(err, fault.Unauthorized) {
		attempt.forgive(ctx)
	}
	return pinHash, forbidden(err)
}

var errWrongPin = fault.New(fault.Forbidden, "the pin is wrong")

// forbidden makes a wrong pin another fault than a session that is over.
func forbidden(err error) error {
	if errors.Is(err, fault.Unauthorized) {
		return errWrongPin
	}
	return err
}

// restExported is all that this service knows of an account, but for what proves its
// user: hashes.
type restExported struct {
	Profile  restProfile   `json:"profile"`
	Sessions []restSession `json:"sessions"`
}

func (s *server) restExport(r *http.Request, me accountsapi.Session) (any, error) {
	profile, err := s.store.profile(r.Context(), me.ID)
	if err != nil {
		return nil, err
	}
	sessions, err := s.sessionsOf(r.Context(), me)
	return restExported{profile, sessions}, err
}
