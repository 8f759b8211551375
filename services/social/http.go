package social

import (
	"context"
	"net/http"
	"slices"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/services/social/socialapi"
)

type middleware = func(http.Handler) http.Handler

// internalHandler serves what the gateways ask: package socialapi.
func (s *server) internalHandler(secret string, measure middleware) http.Handler {
	r := httpjson.NewRouter(measure, httpjson.RequireSecret(secret))
	r.Method(http.MethodGet, socialapi.PathSendStream, s.sends)
	r.Post(socialapi.PathSend, httpjson.Endpoint(s.log, s.postSend))
	r.Post(socialapi.PathOpen, httpjson.Endpoint(s.log, s.postOpen))
	r.Post(socialapi.PathRead, httpjson.Endpoint(s.log, s.postRead))
	r.Post(socialapi.PathOpenMany, httpjson.ManyEndpoint(s.log, socialapi.MaxOpens, s.openMany))
	r.Post(socialapi.PathReadMany, httpjson.ManyEndpoint(s.log, socialapi.MaxReads, s.readMany))
	r.Post(socialapi.PathHeads, httpjson.Endpoint(s.log, s.postHeads))
	r.Post(socialapi.PathPositions, httpjson.Endpoint(s.log, s.postPositions))
	r.Post(socialapi.PathFriends, httpjson.Endpoint(s.log, s.postFriends))
	r.Post(socialapi.PathFriendsOf, httpjson.Endpoint(s.log, s.postFriendsOf))
	r.Post(socialapi.PathBetween, httpjson.Endpoint(s.log, s.postBetween))
	r.Post(socialapi.PathRequests, httpjson.Endpoint(s.log, s.postRequests))
	r.Post(socialapi.PathBlocked, httpjson.Endpoint(s.log, s.postBlocked))
	r.Post(socialapi.PathHistory, httpjson.Endpoint(s.log, s.postHistory))
	r.Post(socialapi.PathDelete, httpjson.Endpoint(s.log, s.postDelete))
	r.Post(socialapi.PathMarkRead, httpjson.Endpoint(s.log, s.postMarkRead))
	for path, act := range map[string]action{
		socialapi.PathRequest: actionRequest, socialapi.PathAccept: actionAccept, socialapi.PathDeny: actionDeny,
		socialapi.PathCancel: actionCancel, socialapi.PathRemove: actionRemove,
		socialapi.PathBlock: actionBlock, socialapi.PathUnblock: actionUnblock,
	} {
		r.Post(path, httpjson.Endpoint(s.log, s.postChange(act)))
	}
	return r
}

func (s *server) postSend(r *http.Request, b socialapi.Batch) (out socialapi.BatchResult, err error) {
	return s.takeBatch(r.Context(), b)
}

// callSend is postSend by a stream.
func (s *server) callSend(ctx context.Context, call, out []byte) ([]byte, error) {
	b, err := socialapi.DecodeBatch(call)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the call is not a batch")
	}
	result, err := s.takeBatch(ctx, b)
	if err != nil {
		return nil, err
	}
	return socialapi.AppendBatchResult(out, result), nil
}

func (s *server) takeBatch(ctx context.Context, b socialapi.Batch) (out socialapi.BatchResult, err error) {
	switch n := len(b.Messages); {
	case b.Lane == "" || len(b.Lane) > socialapi.MaxLaneName || !isText(b.Lane):
		return out, fault.New(fault.Invalid, "lane must be a text of 1 to %d bytes", socialapi.MaxLaneName)
	case b.Number < 1:
		return out, fault.New(fault.Invalid, "number must be at least 1")
	case n < 1 || n > socialapi.MaxBatch:
		return out, fault.New(fault.Invalid, "a batch has 1 to %d messages", socialapi.MaxBatch)
	}
	return s.send(ctx, b)
}

func (s *server) postOpen(r *http.Request, in socialapi.UserRequest) (out socialapi.Opening, err error) {
	if err := checkUser(in.User); err != nil {
		return out, err
	}
	return s.store.open(r.Context(), in.User)
}

func (s *server) postRead(r *http.Request, in socialapi.ReadRequest) (out socialapi.Page, err error) {
	if err := checkRead(in); err != nil {
		return out, err
	}
	return s.store.read(r.Context(), in)
}

func (s *server) postHeads(r *http.Request, in socialapi.HeadsRequest) (out socialapi.Heads, err error) {
	if err := checkCount(len(in.Users)); err != nil {
		return out, err
	}
	// Nobody has an id out of range, hence no inbox.
	users := slices.DeleteFunc(in.Users, func(u int) bool { return !isID(u) })
	return s.store.heads(r.Context(), users)
}

func (s *server) postPositions(r *http.Request, in socialapi.PositionsRequest) (struct{}, error) {
	if err := checkCount(len(in.Positions)); err != nil {
		return struct{}{}, err
	}
	if !isText(in.Epoch) {
		return struct{}{}, fault.New(fault.Invalid, "the epoch is not a text")
	}
	in.Positions = slices.DeleteFunc(in.Positions, func(p socialapi.UserSeq) bool { return !isID(p.User) || p.Seq < 1 })
	return struct{}{}, s.store.setPositions(r.Context(), in)
}

func (s *server) postFriends(r *http.Request, in socialapi.UserRequest) (out socialapi.Friends, err error) {
	if err := checkUser(in.User); err != nil {
		return out, err
	}
	out.Friends, err = s.store.friends(r.Context(), in.User)
	return out, err
}

func (s *server) postFriendsOf(r *http.Request, in socialapi.FriendsOfRequest) (out socialapi.FriendsOf, err error) {
	if len(in.Users) > socialapi.MaxFriends {
		return out, fault.New(fault.Invalid, "at most %d users at once", socialapi.MaxFriends)
	}
	users := slices.DeleteFunc(in.Users, func(u int) bool { return !isID(u) })
	out.Friends, err = s.store.friendsOf(r.Context(), users)
	return out, err
}

func (s *server) postBetween(r *http.Request, in socialapi.FriendRequest) (out socialapi.Between, err error) {
	if err := checkPair(in); err != nil {
		return out, err
	}
	out.Friends, err = s.store.areFriends(r.Context(), in.Actor, in.User)
	return out, err
}

func (s *server) postRequests(r *http.Request, in socialapi.UserRequest) (out socialapi.Requests, err error) {
	if err := checkUser(in.User); err != nil {
		return out, err
	}
	return s.store.requests(r.Context(), in.User)
}

func (s *server) postBlocked(r *http.Request, in socialapi.UserRequest) (out socialapi.Blocked, err error) {
	if err := checkUser(in.User); err != nil {
		return out, err
	}
	out.Blocked, err = s.store.blocked(r.Context(), in.User)
	return out, err
}

func (s *server) postChange(act action) func(*http.Request, socialapi.FriendRequest) (socialapi.Change, error) {
	return func(r *http.Request, in socialapi.FriendRequest) (out socialapi.Change, err error) {
		if err := checkPair(in); err != nil {
			return out, err
		}
		return s.change(r.Context(), change{actor: in.Actor, user: in.User, act: act, again: in.Again})
	}
}

func (s *server) postHistory(r *http.Request, in socialapi.HistoryRequest) (out socialapi.History, err error) {
	switch {
	case !isID(in.User):
		return out, checkUser(in.User)
	case !isID(in.Peer): // nobody, with whom there is no conversation
		return socialapi.History{Messages: []socialapi.HistoryMessage{}}, nil
	case in.Limit < 1 || in.Limit > socialapi.MaxHistory:
		return out, fault.New(fault.Invalid, "limit must be from 1 to %d", socialapi.MaxHistory)
	case in.BeforeSeq < 0 || in.BeforeSeq > 0 && !isID(in.BeforeUser):
		return out, fault.New(fault.Invalid, "before names no event")
	}
	return s.store.history(r.Context(), in)
}

func (s *server) postMarkRead(r *http.Request, in socialapi.ReadMark) (out socialapi.Marked, err error) {
	switch {
	case !isID(in.Reader):
		return out, checkUser(in.Reader)
	case !isID(in.Peer):
		return out, noUser(in.Peer)
	case in.Seq < 1:
		return out, fault.New(fault.Invalid, "seq must be at least 1")
	}
	return s.store.markRead(r.Context(), in)
}

// checkPair lets an actor who cannot exist be a fault of the caller, and a user
// who cannot exist one who is not there.
func checkPair(in socialapi.FriendRequest) error {
	if err := checkUser(in.Actor); err != nil {
		return err
	}
	if !isID(in.User) {
		return noUser(in.User)
	}
	return nil
}

func checkUser(user int) error {
	if !isID(user) {
		return fault.New(fault.Invalid, "%d is not the id of a user", user)
	}
	return nil
}

func checkCount(users int) error {
	if users > socialapi.MaxUsers {
		return fault.New(fault.Invalid, "at most %d users at once", socialapi.MaxUsers)
	}
	return nil
}
