package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
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
	names     map[string]int
	inboxes   map[int][]bell.Event
	oldest    map[int]int64
	positions map[int]int64
	waiting   map[int][]int
	lanes     map[string]kept
	stored    []socialapi.Batch // in the order of being stored
	reads     int
	faults    map[string]func() error // by path: before the request is carried out
	drops     map[string]int          // by path: how many answers to drop after carrying out
}

type kept struct {
	number int64
	result socialapi.BatchResult
}

func newNeighbours(t *testing.T) *neighbours {
	n := &neighbours{
		names: map[string]int{}, inboxes: map[int][]bell.Event{}, oldest: map[int]int64{},
		positions: map[int]int64{}, waiting: map[int][]int{}, lanes: map[string]kept{},
		faults: map[string]func() error{}, drops: map[string]int{},
	}
	mux := http.NewServeMux()
	handle(mux, n, accountsapi.PathLogin, n.login)
	handle(mux, n, accountsapi.PathCreate, n.create)
	handle(mux, n, accountsapi.PathLookup, n.lookup)
	handle(mux, n, socialapi.PathSend, n.send)
	handle(mux, n, socialapi.PathOpen, n.open)
	handle(mux, n, socialapi.PathRead, n.read)
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
		var none Out
		n.mu.Lock()
		before := n.faults[path]
		n.mu.Unlock()
		if before != nil {
			if err := before(); err != nil {
				return none, err
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		out, err := f(in)
		if n.drops[path] > 0 {
			n.drops[path]--
			panic(http.ErrAbortHandler)
		}
		return out, err
	}))
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

func (n *neighbours) position(user int) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.positions[user]
}

func (n *neighbours) login(c accountsapi.Credentials) (accountsapi.User, error) {
	id, ok := n.names[c.Username]
	if !ok || c.Pin != "1234" {
		return accountsapi.User{}, fault.New(fault.Unauthorized, "acc not found")
	}
	return accountsapi.User{ID: id, Username: c.Username}, nil
}

func (n *neighbours) create(c accountsapi.Credentials) (accountsapi.User, error) {
	if _, ok := n.names[c.Username]; ok {
		return accountsapi.User{}, fault.New(fault.Conflict, "username is taken")
	}
	id := 10000001 + len(n.names)
	n.names[c.Username] = id
	return accountsapi.User{ID: id, Username: c.Username}, nil
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
	res := socialapi.BatchResult{Epoch: "epoch"}
	for _, m := range b.Messages {
		if m.Content == "refuse" {
			res.Results = append(res.Results, socialapi.Result{Refused: socialapi.RefusedInvalid})
			continue
		}
		res.Results = append(res.Results, socialapi.Result{Seq: n.add(m.Recipient, m.Sender, m.Content).Seq})
	}
	n.stored = append(n.stored, b)
	n.lanes[b.Lane] = kept{b.Number, res}
	return res, nil
}

func (n *neighbours) head(user int) int64 { return int64(len(n.inboxes[user])) }

func (n *neighbours) open(r socialapi.UserRequest) (socialapi.Opening, error) {
	return socialapi.Opening{Epoch: "epoch", Head: n.head(r.User), Oldest: max(1, n.oldest[r.User]),
		Position: n.positions[r.User], Waiting: n.waiting[r.User]}, nil
}

func (n *neighbours) read(r socialapi.ReadRequest) (socialapi.Page, error) {
	n.reads++
	page := socialapi.Page{Epoch: "epoch", Head: n.head(r.User), Oldest: max(1, n.oldest[r.User])}
	from := max(r.After, page.Oldest-1)
	if from < page.Head {
		page.Events = n.inboxes[r.User][from:min(page.Head, from+int64(r.Limit))]
	}
	return page, nil
}

func (n *neighbours) heads(r socialapi.HeadsRequest) (socialapi.Heads, error) {
	out := socialapi.Heads{Epoch: "epoch"}
	for _, u := range r.Users {
		out.Heads = append(out.Heads, socialapi.UserSeq{User: u, Seq: n.head(u)})
	}
	return out, nil
}

func (n *neighbours) setPositions(r socialapi.PositionsRequest) (struct{}, error) {
	for _, p := range r.Positions {
		n.positions[p.User] = max(n.positions[p.User], p.Seq)
	}
	return struct{}{}, nil
}
