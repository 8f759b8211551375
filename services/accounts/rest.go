package accounts

import (
	_ "embed"
	"net/http"

	"github.com/go-chi/chi/v5"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
)

// document describes the public interface to whoever wants to use it.
//
//go:embed openapi.json
var document []byte

// maxUserQuery is how many ids one question may name.
const maxUserQuery = 100

// publicHandler serves what everybody may ask: see document.
func (s *server) publicHandler(measure middleware) http.Handler {
	r := httpjson.NewRouter(measure)
	r.Get("/get_user", httpjson.Handle(s.log, s.getUser))
	r.Get("/accounts/v1/openapi.json", httpjson.Document(document))
	r.Group(func(r chi.Router) {
		r.Use(httpjson.NoStore)
		r.Post("/accounts/v1/users", httpjson.Handle(s.log, s.restSignUp))
		r.Get("/accounts/v1/users", s.known(s.restUsers))
		r.Post("/accounts/v1/sessions", httpjson.Handle(s.log, s.restLogin))
		r.Get("/accounts/v1/sessions", s.known(s.restSessions))
		r.Delete("/accounts/v1/sessions", s.known(s.restEndAll))
		r.Delete("/accounts/v1/sessions/{session}", s.known(s.restEnd))
		r.Get("/accounts/v1/me", s.known(s.restMe))
		r.Put("/accounts/v1/me/pin", s.known(s.restChangePin))
		r.Post("/accounts/v1/me/deletion", s.known(s.restDelete))
		r.Get("/accounts/v1/me/export", s.known(s.restExport))
	})
	return r
}

// known is for handlers that have to know who asks: by the token of a session.
func (s *server) known(h func(r *http.Request, me accountsapi.Session) (any, error)) http.HandlerFunc {
	return httpjson.Handle(s.log, func(r *http.Request) (any, error) {
		token, ok := httpjson.Bearer(r)
		if !ok {
			return nil, fault.New(fault.Unauthorized, "this needs the token of a session: Authorization: Bearer TOKEN")
		}
		me, err := s.resume(r.Context(), accountsapi.Token{Token: token, Address: s.addressOf(r)})
		if err != nil {
			return nil, err
		}
		return h(r, me)
	})
}

func (s *server) addressOf(r *http.Request) string {
	return service.ClientAddress(r, s.trustedProxies)
}

// userAnswer is the answer of GET /get_user. Its shape is the contract's.
type userAnswer struct {
	User userName `json:"user"`
}

type userName struct {
	Username string `json:"username"`
}

func (s *server) getUser(r *http.Request) (any, error) {
	given := r.URL.Query()["id"]
	if len(given) != 1 {
		given = []string{""}
	}
	id, err := httpjson.ID("id", given[0])
	if err != nil {
		return nil, err
	}
	users, err := s.lookup(r.Context(), []int{id})
	if err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, fault.New(fault.NotFound, "no user has this id")
	}
	return userAnswer{userName{users[0].Username}}, nil
}

// restCredentials is the body of a sign up and of a login.
type restCredentials struct {
	Username string `json:"username"`
	Pin      string `json:"pin"`
}

func (s *server) credentials(r *http.Request) (accountsapi.Credentials, error) {
	in, err := httpjson.ReadPublic[restCredentials](r)
	return accountsapi.Credentials{
		Username: in.Username, Pin: in.Pin, Address: s.addressOf(r), Session: true,
	}, err
}

// restEntry is the answer to a sign up and to a login: the one time that a token is
// told.
type restEntry struct {
	User    accountsapi.User `json:"user"`
	Session restToken        `json:"session"`
}

type restToken struct {
	ID        string `json:"id"`
	Token     string `json:"token"`
	ExpiresAt int64  `json:"expires_at"`
}

func entered(s accountsapi.Session) httpjson.Answer {
	return httpjson.Answer{Status: http.StatusCreated, Body: restEntry{
		User: s.User, Session: restToken{s.Session, s.Token, s.ExpiresAt},
	}}
}

func (s *server) restSignUp(r *http.Request) (any, error) {
	cred, err := s.credentials(r)
	if err != nil {
		return nil, err
	}
	session, err := s.create(r.Context(), cred)
	if err != nil {
		return nil, err
	}
	return entered(session), nil
}

// restUsersAnswer has those of the users asked for that there are.
type restUsersAnswer struct {
	Users []accountsapi.User `json:"users"`
}

// restUsers finds users by ids, or one by the name.
func (s *server) restUsers(r *http.Request, _ accountsapi.Session) (any, error) {
	query := r.URL.Query()
	texts, names := query["id"], query["username"]
	switch {
	case len(texts) > 0 && len(names) == 0 && len(texts) <= maxUserQuery:
		return s.restUsersByID(r, texts)
	case len(texts) == 0 && len(names) == 1:
		return s.restUsersByName(r, names[0])
	}
	return nil, fault.New(fault.Invalid, "give 1 to %d times id, or once username", maxUserQuery)
}

func (s *server) restUsersByID(r *http.Request, texts []string) (any, error) {
	ids := make([]int, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = httpjson.ID("id", text); err != nil {
			return nil, err
		}
	}
	users, err := s.lookup(r.Context(), ids)
	return restUsersAnswer{users}, err
}

func (s *server) restUsersByName(r *http.Request, name string) (any, error) {
	users, err := s.find(r.Context(), name)
	return restUsersAnswer{users}, err
}
