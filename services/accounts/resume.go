package accounts

import (
	"context"

	"pymessage/internal/httpjson"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
)

// resuming is one resume of many: undecided until it has a session or an error.
type resuming struct {
	hash    tokenHash
	address string
	session accountsapi.Session
	err     error
}

// resume finds the session of a token. Faults: Unauthorized, TooMany, Unavailable.
func (s *server) resume(ctx context.Context, in accountsapi.Token) (accountsapi.Session, error) {
	resumes, err := s.resumeAll(ctx, []accountsapi.Token{in})
	if err != nil {
		return accountsapi.Session{}, err
	}
	return resumes[0].session, resumes[0].err
}

// resumeMany finds the sessions of tokens, each by itself: when a gateway dies, all who
// were on it come at once. Its error is that of all of them. Fault: Unavailable.
func (s *server) resumeMany(ctx context.Context, in []accountsapi.Token) ([]httpjson.Each[accountsapi.Session], error) {
	resumes, err := s.resumeAll(ctx, in)
	if err != nil {
		return nil, err
	}
	answers := make([]httpjson.Each[accountsapi.Session], len(resumes))
	for i, r := range resumes {
		answers[i] = httpjson.Answered(r.session, r.err)
	}
	return answers, nil
}

func (s *server) resumeAll(ctx context.Context, in []accountsapi.Token) ([]*resuming, error) {
	resumes := make([]*resuming, len(in))
	for i, t := range in {
		r := &resuming{address: t.Address}
		if hash, ok := hashToken(t.Token); ok {
			r.hash = hash
		} else {
			r.err = errOver // which costs nothing, and so is not counted
		}
		resumes[i] = r
	}
	err := s.decide(ctx, undecided(resumes))
	for _, r := range resumes {
		if err != nil && r.err == nil {
			r.err = err
		}
		s.metrics.resumes.WithLabelValues(service.Outcome(r.err)).Inc()
	}
	return resumes, err
}

// decide gives each its session or an error.
func (s *server) decide(ctx context.Context, resumes []*resuming) error {
	if err := refuse(ctx, resumes, s.throttle.resumes); err != nil {
		return err
	}
	resumes = undecided(resumes)
	if err := s.findSessions(ctx, resumes); err != nil {
		return err
	}
	resumes = undecided(resumes)
	if err := refuse(ctx, resumes, s.throttle.resumesFailed); err != nil {
		return err
	}
	for _, r := range undecided(resumes) {
		r.err = errOver
	}
	return nil
}

// refuse gives an error to those whose addresses have made too many attempts.
func refuse(ctx context.Context, resumes []*resuming, ask func(context.Context, []string) ([]error, error)) error {
	if len(resumes) == 0 {
		return nil
	}
	addresses := make([]string, len(resumes))
	for i, r := range resumes {
		addresses[i] = r.address
	}
	refused, err := ask(ctx, addresses)
	if err != nil {
		return err
	}
	for i, r := range resumes {
		r.err = refused[i]
	}
	return nil
}

func (s *server) findSessions(ctx context.Context, resumes []*resuming) error {
	if len(resumes) == 0 {
		return nil
	}
	hashes := make([][]byte, len(resumes))
	for i, r := range resumes {
		hashes[i] = r.hash[:]
	}
	sessions, err := s.store.byTokens(ctx, hashes)
	if err != nil {
		return err
	}
	for _, r := range resumes {
		r.session = sessions[r.hash]
	}
	return nil
}

// undecided leaves out those that have a session or an error.
func undecided(resumes []*resuming) (left []*resuming) {
	for _, r := range resumes {
		if r.session.Session == "" && r.err == nil {
			left = append(left, r)
		}
	}
	return left
}
