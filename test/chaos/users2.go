//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"pymessage/client"
)

// user2 speaks version 2 by the Go client.
type user2 struct {
	// static
	rec    *recorder
	client *client.Client

	id       int // set before any send
	inFlight atomic.Int64
	sends    sync.WaitGroup
	number   int     // of the socket; owned by the client's Run
	socket   *Socket // nil while not connected; owned by the client's Run
}

func newUser2(name, address string, rec *recorder) (*user2, error) {
	u := &user2{rec: rec}
	var err error
	u.client, err = client.New(client.Config{
		URLs: []string{"ws://" + address + "/"}, Username: name, Pin: "1234", Create: true,
		OnEvent: u.onEvent, OnResync: u.onResync, OnStatus: u.onStatus,
	})
	return u, err
}

func (u *user2) run(ctx context.Context) {
	err := u.client.Run(ctx)
	if ctx.Err() == nil {
		u.rec.stray(u.name(), "the client gave up", fmt.Sprint(err))
	}
	u.sends.Wait()
}

func (u *user2) ready(ctx context.Context) (int, error) {
	id, err := u.client.Ready(ctx)
	if err == nil {
		u.id = id
		u.rec.user(id, 2)
	}
	return id, err
}

// name is the id, before ready has given it too.
func (u *user2) name() int {
	id, err := u.client.Ready(context.Background())
	if err != nil {
		return 0
	}
	return id
}

func (u *user2) onEvent(_ context.Context, _ *client.Client, ev client.Event) {
	if ev.Kind != client.Message {
		u.rec.stray(u.name(), "event", fmt.Sprint(ev))
		return
	}
	if want := fmt.Sprintf("%d-%d", u.name(), ev.Seq); ev.ID != want {
		u.rec.stray(u.name(), "event with a wrong id", ev.ID)
	}
	u.rec.receipt(Receipt{User: u.name(), Seq: ev.Seq, Sender: ev.Peer, Content: ev.Content})
}

// onResync should never come: nothing is pruned here, and the log stays the same.
func (u *user2) onResync(_ context.Context, _ *client.Client, r client.Resync) {
	u.rec.stray(u.name(), "resync", fmt.Sprint(r))
}

func (u *user2) onStatus(s client.Status) {
	if u.socket != nil {
		u.rec.logout(u.socket)
		u.socket = nil
	}
	if s.Connected {
		u.number++
		now := u.rec.now()
		u.socket = u.rec.login(u.name(), u.number, now)
	}
}

func (u *user2) send(ctx context.Context, to int, content string) {
	if u.inFlight.Load() >= maxPending {
		return
	}
	u.inFlight.Add(1)
	s := u.rec.send(&Send{Sender: u.id, Recipient: to, Content: content})
	u.sends.Go(func() {
		defer u.inFlight.Add(-1)
		res, err := u.client.Send(ctx, to, content)
		switch {
		case err == nil:
			u.rec.answer(s, Acknowledged, res.ID)
		case errors.Is(err, client.ErrNotConnected):
			u.rec.answer(s, Refused, "")
		case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrClosed), ctx.Err() != nil:
		default:
			u.rec.answer(s, Failed, "")
			u.rec.stray(u.id, "error", err.Error())
		}
	})
}

func (u *user2) pending() int { return int(u.inFlight.Load()) }
