package social

import (
	"context"
	_ "embed"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

// document describes the public interface to whoever wants to use it.
//
//go:embed openapi.json
var document []byte

// askTimeout bounds a question to accounts about who asks, and what users are called.
const askTimeout = 3 * time.Second

// publicHandler serves what users may ask: see document.
func (s *server) publicHandler(measure middleware) http.Handler {
	r := httpjson.NewRouter(measure)
	r.Get("/social/v1/openapi.json", httpjson.Document(document))
	r.Group(func(r chi.Router) {
		r.Use(httpjson.NoStore)
		r.Get("/social/v1/friends", s.known(s.restFriends))
		r.Delete("/social/v1/friends/{user}", s.known(s.restChange(actionRemove)))
		r.Get("/social/v1/requests", s.known(s.restRequests))
		r.Post("/social/v1/requests", s.known(s.restAsk))
		r.Post("/social/v1/requests/{user}/accept", s.known(s.restChange(actionAccept)))
		r.Post("/social/v1/requests/{user}/deny", s.known(s.restChange(actionDeny)))
		r.Delete("/social/v1/requests/{user}", s.known(s.restChange(actionCancel)))
		r.Get("/social/v1/blocks", s.known(s.restBlocks))
		r.Put("/social/v1/blocks/{user}", s.known(s.restChange(actionBlock)))
		r.Delete("/social/v1/blocks/{user}", s.known(s.restChange(actionUnblock)))
		r.Get("/social/v1/history", s.known(s.restHistory))
		r.Get("/social/v1/export", s.restExport)
	})
	return r
}

// known is for handlers that have to know which user asks.
func (s *server) known(h func(r *http.Request, me int) (any, error)) http.HandlerFunc {
	return httpjson.Handle(s.log, func(r *http.Request) (any, error) {
		me, err := s.whoAsks(r)
		if err != nil {
			return nil, err
		}
		return h(r, me)
	})
}

// whoAsks is the user of the token of a request. Accounts is asked each time, so that
// a session that has ended is of no use at once. Faults: Unauthorized, TooMany,
// Unavailable.
func (s *server) whoAsks(r *http.Request) (int, error) {
	token, ok := httpjson.Bearer(r)
	if !ok {
		return 0, fault.New(fault.Unauthorized, "this needs the token of a session: Authorization: Bearer TOKEN")
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	session, err := s.directory.accounts.Resume(ctx, accountsapi.Token{
		Token: token, Address: service.ClientAddress(r, s.trustedProxies),
	})
	return session.ID, err
}

// restUser is a user as others see one.
type restUser struct {
	ID       int    `json:"id"`
	Username string `json:"username"`
}

// names tells what users are called; those who are no more have no name.
func (s *server) names(ctx context.Context, users []int) (map[int]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	names := make(map[int]string, len(users))
	for chunk := range slices.Chunk(users, accountsapi.MaxLookup) {
		found, err := s.directory.accounts.Lookup(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, u := range found {
			names[u.ID] = u.Username
		}
	}
	return names, nil
}

// people are those of the users that there are, in the same order.
func (s *server) people(ctx context.Context, users []int) ([]restUser, error) {
	names, err := s.names(ctx, users)
	out := []restUser{}
	for _, id := range users {
		if name, ok := names[id]; ok {
			out = append(out, restUser{id, name})
		}
	}
	return out, err
}

type restFriends struct {
	Friends []restUser `json:"friends"`
}

func (s *server) restFriends(r *http.Request, me int) (any, error) {
	ids, err := s.store.friends(r.Context(), me)
	if err != nil {
		return nil, err
	}
	people, err := s.people(r.Context(), ids)
	return restFriends{people}, err
}

type restBlocks struct {
	Blocked []restUser `json:"blocked"`
}

func (s *server) restBlocks(r *http.Request, me int) (any, error) {
	ids, err := s.store.blocked(r.Context(), me)
	if err != nil {
		return nil, err
	}
	people, err := s.people(r.Context(), ids)
	return restBlocks{people}, err
}

// restWaiting is a friend request that waits for an answer, and the other user.
type restWaiting struct {
	restUser
	Since int64 `json:"since"` // Unix milliseconds
}

type restRequests struct {
	Incoming []restWaiting `json:"incoming"`
	Outgoing []restWaiting `json:"outgoing"`
}

func (s *server) restRequests(r *http.Request, me int) (any, error) {
	return s.requestsOf(r.Context(), me)
}

func (s *server) requestsOf(ctx context.Context, me int) (out restRequests, err error) {
	requests, err := s.store.requests(ctx, me)
	if err != nil {
		return out, err
	}
	var ids []int
	for _, w := range slices.Concat(requests.Incoming, requests.Outgoing) {
		ids = append(ids, w.User)
	}
	names, err := s.names(ctx, ids)
	return restRequests{named(requests.Incoming, names), named(requests.Outgoing, names)}, err
}

func named(waiting []socialapi.Waiting, names map[int]string) []restWaiting {
	out := []restWaiting{}
	for _, w := range waiting {
		if name, ok := names[w.User]; ok {
			out = append(out, restWaiting{restUser{w.User, name}, w.Since})
		}
	}
	return out
}

// restAsked is the body of a friend request.
type restAsked struct {
	User int `json:"user"`
}

// restAnswer tells what came of a friend request.
type restAnswer struct {
	Status string `json:"status"` // sent; or friends, since the other had asked as well
}

func (s *server) restAsk(r *http.Request, me int) (any, error) {
	in, err := httpjson.ReadPublic[restAsked](r)
	if err != nil {
		return nil, err
	}
	done, err := s.changeAndRing(r.Context(), change{actor: me, user: in.User, act: actionRequest})
	if err != nil {
		return nil, err
	}
	for _, ring := range done.Rings {
		if ring.Event.Kind == bell.KindFriendAdded {
			return restAnswer{"friends"}, nil
		}
	}
	return restAnswer{"sent"}, nil
}

// restChange does something about the user of the path.
func (s *server) restChange(act action) func(r *http.Request, me int) (any, error) {
	return func(r *http.Request, me int) (any, error) {
		user, err := httpjson.ID("user", chi.URLParam(r, "user"))
		if err != nil {
			return nil, err
		}
		_, err = s.changeAndRing(r.Context(), change{actor: me, user: user, act: act})
		return httpjson.Done, err
	}
}

// changeAndRing is change for requests that no gateway has sent, which would ring.
func (s *server) changeAndRing(ctx context.Context, c change) (socialapi.Change, error) {
	if !isID(c.user) {
		return socialapi.Change{}, noUser(c.user)
	}
	done, err := s.change(ctx, c)
	if err == nil {
		s.ring(done)
	}
	return done, err
}

// restMessage is a message as the protocol tells it in get_history.
type restMessage struct {
	ID      string          `json:"id"`
	Sender  int             `json:"sender"`
	Content string          `json:"content"`
	SentAt  int64           `json:"sent_at"`         // Unix milliseconds
	State   socialapi.State `json:"state,omitempty"` // of one's own
}

type restHistory struct {
	User     int           `json:"user"`
	Messages []restMessage `json:"messages"`
	More     bool          `json:"more"`
}

// defaultHistory is how many messages a page has if nobody says so.
const defaultHistory = 50

func (s *server) restHistory(r *http.Request, me int) (any, error) {
	request, err := historyRequest(r, me)
	if err != nil {
		return nil, err
	}
	page, err := s.store.history(r.Context(), request)
	if err != nil {
		return nil, err
	}
	out := restHistory{User: request.Peer, Messages: make([]restMessage, len(page.Messages)), More: page.More}
	for i, m := range page.Messages {
		out.Messages[i] = restMessage{ID: eventID(m.Recipient, m.Seq), Sender: m.Sender, Content: m.Content, SentAt: m.SentAt}
		if m.Sender == me {
			out.Messages[i].State = m.State
		}
	}
	return out, nil
}

// historyRequest reads the query of a request for history.
func historyRequest(r *http.Request, me int) (out socialapi.HistoryRequest, err error) {
	query := r.URL.Query()
	for name, given := range query {
		if len(given) > 1 {
			return out, fault.New(fault.Invalid, "give %s once", name)
		}
	}
	out = socialapi.HistoryRequest{User: me, Limit: defaultHistory}
	if out.Peer, err = httpjson.ID("user", query.Get("user")); err != nil {
		return out, err
	}
	if before := query.Get("before"); before != "" {
		user, seq, _ := strings.Cut(before, "-")
		var bad error
		out.BeforeSeq, bad = strconv.ParseInt(seq, 10, 64)
		if out.BeforeUser, err = httpjson.ID("before", user); err != nil || bad != nil || out.BeforeSeq < 1 {
			return out, fault.New(fault.Invalid, "before must be the id of a message")
		}
	}
	if limit := query.Get("limit"); limit != "" {
		out.Limit, err = strconv.Atoi(limit)
		if err != nil || out.Limit < 1 || out.Limit > socialapi.MaxHistory {
			return out, fault.New(fault.Invalid, "limit must be from 1 to %d", socialapi.MaxHistory)
		}
	}
	return out, nil
}

// eventID names an event, as the protocol does.
func eventID(user int, seq int64) string {
	return strconv.Itoa(user) + "-" + strconv.FormatInt(seq, 10)
}
