//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// dialPatience bounds a connection and a login: a gateway that hangs is left.
	dialPatience = 8 * time.Second
	// readPatience is longer than the heartbeat and its patience.
	readPatience = 40 * time.Second
	// writePatience bounds a write, which waits for nothing but the gateway.
	writePatience = 5 * time.Second
	// maxPending is how many sends of a user may be without an answer.
	maxPending = 200
	// longestPause is that of version 1 before it connects again.
	longestPause = 400 * time.Millisecond
)

// user is somebody who chats.
type user interface {
	// run keeps the user connected until ctx ends.
	run(ctx context.Context)
	// ready gives the id, once there is one.
	ready(ctx context.Context) (int, error)
	// send sends a message, if the user can just now. It does not wait for the answer.
	send(ctx context.Context, to int, content string)
	// pending counts the sends that may still be answered.
	pending() int
}

// user1 speaks version 1 on raw sockets.
type user1 struct {
	// static
	name string
	url  string
	rec  *recorder
	made chan struct{} // closed when the account is made

	// Owned by run.
	id     int
	number int // of the socket

	mu      sync.Mutex // guards all below, and the order of writes
	ws      *websocket.Conn
	socket  int
	waiting []*Send // without an answer, in order
}

func newUser1(name, address string, rec *recorder) *user1 {
	return &user1{name: name, url: "ws://" + address + "/", rec: rec, made: make(chan struct{})}
}

func (u *user1) run(ctx context.Context) {
	for ctx.Err() == nil {
		u.connect(ctx)
		pause := time.NewTimer(rand.N(longestPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

func (u *user1) ready(ctx context.Context) (int, error) {
	select {
	case <-u.made:
		return u.id, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("making %s: %w", u.name, ctx.Err())
	}
}

func (u *user1) isMade() bool {
	select {
	case <-u.made:
		return true
	default:
		return false
	}
}

// connect logs in and reads until the socket ends.
func (u *user1) connect(ctx context.Context) {
	dialer := websocket.Dialer{HandshakeTimeout: dialPatience}
	ws, _, err := dialer.DialContext(ctx, u.url, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	asked := u.rec.now()
	if err := u.login(ws); err != nil {
		return
	}
	u.number++
	s := u.rec.login(u.id, u.number, asked)
	u.open(ws)
	u.read(ws)
	u.close()
	u.rec.logout(s)
}

// login makes the account the first time.
func (u *user1) login(ws *websocket.Conn) error {
	request := "login"
	if !u.isMade() {
		request = "create_acc"
	}
	_ = ws.SetWriteDeadline(time.Now().Add(writePatience)) // a broken socket shows below
	err := ws.WriteJSON(map[string]string{"type": request, "username": u.name, "pin": "1234"})
	if err != nil {
		return err
	}
	var answer struct {
		Type, Error string
		ID          int
	}
	_ = ws.SetReadDeadline(time.Now().Add(dialPatience))
	if err := ws.ReadJSON(&answer); err != nil {
		return err
	}
	switch {
	case answer.Type == "error" && answer.Error != "":
		return errors.New(answer.Error)
	case answer.Type == "create_acc_resp" && !u.isMade():
		u.id = answer.ID
		u.rec.user(u.id, 1)
		close(u.made)
	case answer.Type != "resp" || answer.ID != u.id:
		u.rec.stray(u.id, "after login", fmt.Sprint(answer))
		return errors.New("not the answer of a login")
	}
	return nil
}

func (u *user1) open(ws *websocket.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ws, u.socket = ws, u.number
}

// close leaves what waits without an answer.
func (u *user1) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ws, u.waiting = nil, nil
}

func (u *user1) read(ws *websocket.Conn) {
	for {
		_ = ws.SetReadDeadline(time.Now().Add(readPatience))
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		u.take(data)
	}
}

// take deals with a frame.
func (u *user1) take(data []byte) {
	var f struct {
		Type, Status, Error, Content string
		Sender                       int
	}
	if err := json.Unmarshal(data, &f); err != nil {
		u.rec.stray(u.id, "not JSON", string(data))
		return
	}
	switch {
	case f.Type == "message":
		u.rec.receipt(Receipt{User: u.id, Socket: u.number, Sender: f.Sender, Content: f.Content})
	case f.Type == "send_resp" && f.Status == "success":
		u.answered(Acknowledged, data)
	case f.Type == "error":
		u.refused(f.Error, data)
	default:
		u.rec.stray(u.id, "unknown", string(data))
	}
}

// refused finds out what an error says of the oldest send.
func (u *user1) refused(text string, data []byte) {
	u.mu.Lock()
	var offline string
	if len(u.waiting) > 0 {
		offline = fmt.Sprintf("%d is not connected to the network", u.waiting[0].Recipient)
	}
	u.mu.Unlock()
	switch text {
	case offline:
		u.answered(Refused, data)
	case "failed to send message", "too many requests, slow down":
		u.answered(Failed, data)
	default:
		u.rec.stray(u.id, "error", string(data))
	}
}

// answered ends the oldest send: answers come in order.
func (u *user1) answered(o Outcome, data []byte) {
	u.mu.Lock()
	if len(u.waiting) == 0 {
		u.mu.Unlock()
		u.rec.stray(u.id, "an answer without a request", string(data))
		return
	}
	s := u.waiting[0]
	u.waiting = u.waiting[1:]
	u.mu.Unlock()
	u.rec.answer(s, o, "")
}

func (u *user1) send(_ context.Context, to int, content string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ws == nil || len(u.waiting) >= maxPending {
		return
	}
	s := &Send{Sender: u.id, Recipient: to, Socket: u.socket, Content: content}
	u.waiting = append(u.waiting, u.rec.send(s))
	_ = u.ws.SetWriteDeadline(time.Now().Add(writePatience))
	err := u.ws.WriteJSON(map[string]any{"type": "send_msg", "recipient": to, "content": content})
	if err != nil {
		u.ws.Close() // the reader notices
	}
}

func (u *user1) pending() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.waiting)
}
