package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/stream"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

const secret = "the secret of the tests"

// neighbours stand in for accounts and social in the tests of this package, so that
// each of their answers can be delayed, dropped or wrong. The real ones are met in
// test/e2e. Inboxes are as socialapi promises them.
type neighbours struct {
	url string

	mu        sync.Mutex
	epoch     string
	names     map[string]int
	left      map[int]bool   // who has deleted the account
	tokens    map[string]int // token, which here is the session too: user
	nonces    map[string]socialapi.Result
	inboxes   map[int][]bell.Event
	oldest    map[int]int64
	positions map[int]int64
	waiting   map[int][]int
	lanes     map[string]kept
	stored    []socialapi.Batch // in the order of being stored
	reads     int
	given     int                     // events, by reads
	moved     chan struct{}           // closed when positions have moved
	faults    map[string]func() error // by path: before the request is carried out
	drops     map[string]int          // by path: how many answers to drop after carrying out
	earlier   bool                    // they are of a version that is asked one by one
	together  map[string]int          // by path: what was asked for together with others
}

type kept struct {
	number int64
	result socialapi.BatchResult
}

func newNeighbours(t testing.TB) *neighbours {
	n := &neighbours{
		epoch: "epoch", tokens: map[string]int{}, nonces: map[string]socialapi.Result{},
		names: map[string]int{}, left: map[int]bool{}, inboxes: map[int][]bell.Event{}, oldest: map[int]int64{},
		positions: map[int]int64{}, waiting: map[int][]int{}, lanes: map[string]kept{},
		faults: map[string]func() error{}, drops: map[string]int{}, moved: make(chan struct{}), together: map[string]int{},
	}
	mux := http.NewServeMux()
	handle(mux, n, accountsapi.PathLogin, n.login)
	handle(mux, n, accountsapi.PathCreate, n.create)
	handle(mux, n, accountsapi.PathLookup, n.lookup)
	handle(mux, n, accountsapi.PathResume, n.resume)
	handleMany(mux, n, accountsapi.PathResumeMany, accountsapi.PathResume, n.resume)
	handle(mux, n, accountsapi.PathEnd, n.end)
	handle(mux, n, accountsapi.PathEnded, n.ended)
	handle(mux, n, socialapi.PathSend, n.send)
	handleSends(mux, n)
	handle(mux, n, socialapi.PathOpen, n.open)
	handleMany(mux, n, socialapi.PathOpenMany, socialapi.PathOpen, n.open)
	handle(mux, n, socialapi.PathRead, n.read)
	handleMany(mux, n, socialapi.PathReadMany, socialapi.PathRead, n.read)
	handle(mux, n, socialapi.PathHeads, n.heads)
	handle(mux, n, socialapi.PathPositions, n.setPositions)
	handle(mux, n, socialapi.PathFriends, func(socialapi.UserRequest) (socialapi.Friends, error) {
		return socialapi.Friends{Friends: []int{10000001}}, nil
	})
	srv := httptest.NewServer(httpjson.RequireSecret(secret)(mux))
	t.Cleanup(srv.Close)
	n.url = srv.URL
	return n
}

// handle serves one path, with the faults and drops that a test asked for.
func handle[In, Out any](mux *http.ServeMux, n *neighbours, path string, f func(In) (Out, error)) {
	mux.Handle(path, httpjson.Endpoint(slog.New(slog.DiscardHandler), func(_ *http.Request, in In) (Out, error) {
		return carryOut(n, path, in, f)
	}))
}

func carryOut[In, Out any](n *neighbours, path string, in In, f func(In) (Out, error)) (out Out, err error) {
	n.mu.Lock()
	before := n.faults[path]
	n.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return out, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	out, err = f(in)
	if n.drops[path] > 0 {
		n.drops[path]--
		panic(http.ErrAbortHandler)
	}
	return out, err
}

// handleMany serves at a path many of what is served at one, with the same faults and
// drops.
func handleMany[In, Out any](mux *http.ServeMux, n *neighbours, path, one string, f func(In) (Out, error)) {
	many := httpjson.ManyEndpoint(slog.New(slog.DiscardHandler), 1000, func(_ context.Context, in []In) (out []httpjson.Each[Out], err error) {
		n.noteTogether(one, len(in))
		for _, each := range in {
			out = append(out, httpjson.Answered(carryOut(n, one, each, f)))
		}
		return out, nil
	})
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if n.isEarlier() {
			http.NotFound(w, r)
			return
		}
		many(w, r)
	})
}

// handleSends serves by a stream what is served at PathSend, with the same faults and
// drops.
func handleSends(mux *http.ServeMux, n *neighbours) {
	streams := stream.NewServer(func(_ context.Context, call, out []byte) ([]byte, error) {
		b, err := socialapi.DecodeBatch(call)
		if err != nil {
			return nil, err
		}
		result, err := carryOut(n, socialapi.PathSend, b, n.send)
		return socialapi.AppendBatchResult(out, result), err
	}, slog.New(slog.DiscardHandler))
	mux.HandleFunc(socialapi.PathSendStream, func(w http.ResponseWriter, r *http.Request) {
		if n.isEarlier() {
			http.NotFound(w, r)
			return
		}
		streams.ServeHTTP(w, r)
	})
}

func (n *neighbours) isEarlier() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.earlier
}

func (n *neighbours) setEarlier(earlier bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.earlier = earlier
}

func (n *neighbours) noteTogether(path string, asked int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if asked > 1 {
		n.together[path] += asked
	}
}

// askedTogether is how much was asked for together with others.
func (n *neighbours) askedTogether(path string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.together[path]
}

func (n *neighbours) fail(path string, before func() error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[path] = before
}

func (n *neighbours) drop(path string, answers int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drops[path] = answers
}

// append adds a message to an inbox without ringing.
func (n *neighbours) append(user, sender int, content string) bell.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.add(user, sender, content)
}

func (n *neighbours) add(user, sender int, content string) bell.Event {
	ev := bell.Event{Seq: int64(len(n.inboxes[user])) + 1, Kind: bell.KindMessage, Peer: sender, Content: content}
	n.inboxes[user] = append(n.inboxes[user], ev)
	return ev
}

func (n *neighbours) position(user int) (seq int64, moved <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.positions[user], n.moved
}

// awaitPosition waits until seq is stored as a user's position.
func (n *neighbours) awaitPosition(t *testing.T, user int, seq int64) {
	t.Helper()
	for got, moved := n.position(user); got != seq; got, moved = n.position(user) {
		await(t, "a position", moved)
	}
}

func (n *neighbours) login(c accountsapi.Credentials) (accountsapi.Session, error) {
	id, ok := n.names[c.Username]
	if !ok || c.Pin != "1234" {
		return accountsapi.Session{}, fault.New(fault.Unauthorized, "acc not found")
	}
	return n.begin(id, c), nil
}

// begin begins a session where one is asked for.
func (n *neighbours) begin(id int, c accountsapi.Credentials) accountsapi.Session {
	s := accountsapi.Session{User: accountsapi.User{ID: id, Username: c.Username}}
	if c.Session {
		s.Token = fmt.Sprintf("token-%d", len(n.tokens))
		s.Session, s.ExpiresAt = s.Token, 1700000000123
		n.tokens[s.Token] = id
	}
	return s
}

func (n *neighbours) resume(t accountsapi.Token) (accountsapi.Session, error) {
	id := n.tokens[t.Token]
	if id == 0 {
		return accountsapi.Session{}, fault.New(fault.Unauthorized, "session is over")
	}
	return accountsapi.Session{User: accountsapi.User{ID: id}, Session: t.Token, ExpiresAt: 1700000000123}, nil
}

func (n *neighbours) end(r accountsapi.EndRequest) (struct{}, error) {
	n.tokens[r.Session] = 0
	return struct{}{}, nil
}

func (n *neighbours) ended(r accountsapi.EndedRequest) (out accountsapi.EndedResponse, err error) {
	for _, s := range r.Sessions {
		if n.tokens[s] == 0 {
			out.Ended = append(out.Ended, s)
		}
	}
	for _, u := range r.Users {
		if n.left[u] {
			out.Gone = append(out.Gone, u)
		}
	}
	return out, nil
}

// delete deletes an account without ringing.
func (n *neighbours) delete(user int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left[user] = true
}

func (n *neighbours) create(c accountsapi.Credentials) (accountsapi.Session, error) {
	if _, ok := n.names[c.Username]; ok {
		return accountsapi.Session{}, fault.New(fault.Conflict, "username is taken")
	}
	id := 10000001 + len(n.names)
	n.names[c.Username] = id
	return n.begin(id, c), nil
}

func (n *neighbours) lookup(r accountsapi.LookupRequest) (accountsapi.LookupResponse, error) {
	var out accountsapi.LookupResponse
	for name, id := range n.names {
		if slices.Contains(r.IDs, id) {
			out.Users = append(out.Users, accountsapi.User{ID: id, Username: name})
		}
	}
	return out, nil
}

func (n *neighbours) send(b socialapi.Batch) (socialapi.BatchResult, error) {
	last := n.lanes[b.Lane]
	if b.Number == last.number {
		return last.result, nil
	}
	if b.Number < last.number {
		return socialapi.BatchResult{}, fault.New(fault.Conflict, "batch is older than the last one")
	}
	res := socialapi.BatchResult{Epoch: n.epoch}
	for _, m := range b.Messages {
		if m.Content == "refuse" {
			res.Results = append(res.Results, socialapi.Result{Refused: socialapi.RefusedInvalid})
			continue
		}
		res.Results = append(res.Results, n.store(m))
	}
	n.stored = append(n.stored, b)
	n.lanes[b.Lane] = kept{b.Number, res}
	return res, nil
}

func (n *neighbours) store(m socialapi.Message) socialapi.Result {
	name := fmt.Sprint(m.Sender, m.Nonce)
	if first, ok := n.nonces[name]; ok {
		return first
	}
	r := socialapi.Result{Seq: n.add(m.Recipient, m.Sender, m.Content).Seq}
	if m.Nonce != "" {
		n.nonces[name] = socialapi.Result{Seq: r.Seq, First: &socialapi.First{Recipient: m.Recipient, SentAt: 5, Connected: m.Connected}}
	}
	return r
}

func (n *neighbours) head(user int) int64 { return int64(len(n.inboxes[user])) }

func (n *neighbours) open(r socialapi.UserRequest) (socialapi.Opening, error) {
	return socialapi.Opening{Epoch: n.epoch, Head: n.head(r.User), Oldest: max(1, n.oldest[r.User]),
		Position: n.positions[r.User], Waiting: n.waiting[r.User]}, nil
}

func (n *neighbours) read(r socialapi.ReadRequest) (socialapi.Page, error) {
	n.reads++
	page := socialapi.Page{Epoch: n.epoch, Head: n.head(r.User), Oldest: max(1, n.oldest[r.User])}
	from := max(r.After, page.Oldest-1)
	if from < page.Head {
		page.Events = n.inboxes[r.User][from:min(page.Head, from+int64(r.Limit))]
		n.given += len(page.Events)
	}
	return page, nil
}

func (n *neighbours) heads(r socialapi.HeadsRequest) (socialapi.Heads, error) {
	out := socialapi.Heads{Epoch: n.epoch}
	for _, u := range r.Users {
		out.Heads = append(out.Heads, socialapi.UserSeq{User: u, Seq: n.head(u)})
	}
	return out, nil
}

func (n *neighbours) setPositions(r socialapi.PositionsRequest) (struct{}, error) {
	if r.Epoch != n.epoch {
		return struct{}{}, nil
	}
	for _, p := range r.Positions {
		n.positions[p.User] = max(n.positions[p.User], p.Seq)
	}
	close(n.moved)
	n.moved = make(chan struct{})
	return struct{}{}, nil
}
