package accounts

import (
	"net/http"

	"pymessage/internal/httpjson"
	"pymessage/services/accounts/accountsapi"
)

type middleware = func(http.Handler) http.Handler

// internalHandler serves what the other services ask: package accountsapi.
func (s *server) internalHandler(secret string, measure middleware) http.Handler {
	r := httpjson.NewRouter(measure, httpjson.RequireSecret(secret))
	r.Post(accountsapi.PathLogin, httpjson.Endpoint(s.log, s.postLogin))
	r.Post(accountsapi.PathCreate, httpjson.Endpoint(s.log, s.postCreate))
	r.Post(accountsapi.PathLookup, httpjson.Endpoint(s.log, s.postLookup))
	r.Post(accountsapi.PathResume, httpjson.Endpoint(s.log, s.postResume))
	r.Post(accountsapi.PathResumeMany, httpjson.ManyEndpoint(s.log, accountsapi.MaxResumes, s.resumeMany))
	r.Post(accountsapi.PathEnd, httpjson.Endpoint(s.log, s.postEnd))
	r.Post(accountsapi.PathEnded, httpjson.Endpoint(s.log, s.postEnded))
	return r
}

func (s *server) postLogin(r *http.Request, cred accountsapi.Credentials) (accountsapi.Session, error) {
	return s.login(r.Context(), cred)
}

func (s *server) postCreate(r *http.Request, cred accountsapi.Credentials) (accountsapi.Session, error) {
	return s.create(r.Context(), cred)
}

func (s *server) postLookup(r *http.Request, in accountsapi.LookupRequest) (accountsapi.LookupResponse, error) {
	users, err := s.lookup(r.Context(), in.IDs)
	if err == nil && in.Name != "" {
		var named []accountsapi.User
		named, err = s.find(r.Context(), in.Name)
		users = append(users, named...)
	}
	return accountsapi.LookupResponse{Users: users}, err
}

func (s *server) postResume(r *http.Request, in accountsapi.Token) (accountsapi.Session, error) {
	return s.resume(r.Context(), in)
}

// postEnd answers with an empty object: that it did not fail says all.
func (s *server) postEnd(r *http.Request, in accountsapi.EndRequest) (struct{}, error) {
	return struct{}{}, s.end(r.Context(), in)
}

func (s *server) postEnded(r *http.Request, in accountsapi.EndedRequest) (accountsapi.EndedResponse, error) {
	ended, err := s.ended(r.Context(), in.Sessions)
	if err != nil {
		return accountsapi.EndedResponse{}, err
	}
	gone, err := s.gone(r.Context(), in.Users)
	return accountsapi.EndedResponse{Ended: ended, Gone: gone}, err
}
