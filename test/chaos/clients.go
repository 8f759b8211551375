package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"pymessage/client"
)

// userC speaks version 2 by the Go client. When it leaves, the client is closed, and
// another one goes on where it was.
type userC struct {
	// static
	rec    *recorder
	rest   rest
	config client.Config
	gate   gate
	made   chan struct{} // closed when there is an id

	id       int // set before made is closed
	inFlight atomic.Int64
	sends    sync.WaitGroup
	newest   sync.Map // int to int64: the seq of the newest message of each user
	number   int      // of the socket; owned by the client's Run
	socket   *Socket  // nil while not connected; owned by the client's Run

	mu     sync.Mutex // guards client
	client *client.Client
}

func newUserC(name, address string, rec *recorder) (*userC, error) {
	u := &userC{rec: rec, rest: rest(address), made: make(chan struct{})}
	u.config = client.Config{
		URLs: []string{"ws://" + address + "/"}, Username: name, Pin: pin,
		OnEvent: u.onEvent, OnPassing: u.onPassing, OnResync: u.onResync, OnStatus: u.onStatus,
	}
	first := u.config
	first.Create = true
	var err error
	u.client, err = client.New(first)
	return u, err
}

func (u *userC) run(ctx context.Context) {
	for {
		stay, end, ok := u.gate.enter(ctx)
		if !ok {
			break
		}
		u.runOnce(ctx, stay)
		end()
		if err := u.renew(); err != nil {
			u.rec.stray(u.id, "no client can go on", err.Error())
			break
		}
	}
	u.sends.Wait()
}

// runOnce runs a client until ctx ends or the user leaves.
func (u *userC) runOnce(ctx, stay context.Context) {
	c := u.current()
	defer context.AfterFunc(stay, c.Close)()
	if err := c.Run(ctx); err != nil && ctx.Err() == nil {
		u.rec.stray(u.id, "the client gave up", fmt.Sprint(err))
		wait(ctx, longestPause)
	}
}

// renew makes a client that goes on where the last one was.
func (u *userC) renew() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.config.State = u.client.State()
	next, err := client.New(u.config)
	if err == nil {
		u.client = next
	}
	return err
}

func (u *userC) current() *client.Client {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.client
}

func (u *userC) ready(ctx context.Context) (int, error) {
	id, err := u.current().Ready(ctx)
	if err == nil {
		u.id = id
		u.rec.user(id, 2)
		close(u.made)
	}
	return id, err
}

func (u *userC) onEvent(ctx context.Context, _ *client.Client, ev client.Event) {
	select {
	case <-u.made:
	case <-ctx.Done():
		return
	}
	if want := fmt.Sprintf("%d-%d", u.id, ev.Seq); ev.ID != want {
		u.rec.stray(u.id, "event with a wrong id", ev.ID)
	}
	u.rec.receipt(nil, Receipt{User: u.id, Kind: string(ev.Kind), Seq: ev.Seq, Sender: ev.Peer, Content: ev.Content})
	if ev.Kind == client.Message {
		u.newest.Store(ev.Peer, ev.Seq)
	}
}

func (u *userC) onPassing(_ context.Context, _ *client.Client, p client.Passing) {
	u.rec.passing(Passing{User: u.id, Kind: string(p.Kind), Peer: p.Peer, State: string(p.State), ID: p.ID, Content: p.Content})
}

// onResync should never come: nothing is pruned here, and the log stays the same.
func (u *userC) onResync(_ context.Context, _ *client.Client, r client.Resync) {
	u.rec.stray(u.id, "resync", fmt.Sprint(r))
}

func (u *userC) onStatus(s client.Status) {
	if u.socket != nil {
		u.rec.logout(u.socket, 0)
		u.socket = nil
	}
	if !s.Connected {
		return
	}
	id, err := u.current().Ready(context.Background())
	if err != nil {
		return
	}
	u.number++
	u.socket = &Socket{User: id, Number: u.number, Hidden: true, Asked: u.rec.now()}
	u.rec.login(u.socket)
}

func (u *userC) send(ctx context.Context, to int, content string) {
	u.try(ctx, &Send{Sender: u.id, Recipient: to, Content: content}, func(c *client.Client) (string, error) {
		res, err := c.Send(ctx, to, content)
		return res.ID, err
	})
}

func (u *userC) ask(ctx context.Context, to int) {
	u.try(ctx, &Send{Sender: u.id, Recipient: to, Content: requestOf(u.id)}, func(c *client.Client) (string, error) {
		return "", c.RequestFriend(ctx, to)
	})
}

func (u *userC) try(ctx context.Context, s *Send, request func(c *client.Client) (id string, err error)) {
	if u.inFlight.Load() >= maxPending {
		return
	}
	u.inFlight.Add(1)
	u.rec.send(s)
	u.sends.Go(func() {
		defer u.inFlight.Add(-1)
		id, err := request(u.current())
		switch {
		case err == nil:
			u.rec.answer(s, Acknowledged, id)
		case errors.Is(err, client.ErrNotConnected):
			u.rec.answer(s, Refused, "")
		case errors.Is(err, client.ErrRequestFailed):
			u.rec.answer(s, Failed, "")
		case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrClosed), ctx.Err() != nil:
		default:
			u.rec.answer(s, Failed, "")
			u.rec.stray(u.id, "error", err.Error())
		}
	})
}

func (u *userC) leave() (back func()) { return u.gate.leave() }

// leaveOne does nothing: there is only one.
func (u *userC) leaveOne() (back func()) { return func() {} }

func (u *userC) pending() int { return int(u.inFlight.Load()) }
