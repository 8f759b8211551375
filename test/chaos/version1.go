package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// user1 speaks version 1 on one or more sockets, on the first of which it sends.
type user1 struct {
	*person
	devices []*device1
}

// device1 has one socket at a time.
type device1 struct {
	*person

	socket *Socket // that it has; owned by run

	mu      sync.Mutex // guards all below, and the order of writes
	ws      *websocket.Conn
	number  int     // of the socket
	waiting []*Send // without an answer, in order
}

func newUser1(p *person, devices int) *user1 {
	u := &user1{person: p}
	for range devices {
		u.devices = append(u.devices, &device1{person: p})
	}
	return u
}

func (u *user1) run(ctx context.Context) { runAll(ctx, u.person, u.devices) }

func (u *user1) send(_ context.Context, to int, content string) {
	u.devices[0].request(&Send{Sender: u.id, Recipient: to, Content: content},
		map[string]any{"type": "send_msg", "recipient": to, "content": content})
}

func (u *user1) ask(_ context.Context, to int) {
	u.devices[0].request(&Send{Sender: u.id, Recipient: to, Content: requestOf(u.id)},
		map[string]any{"type": "request_friend", "user": to})
}

func (u *user1) pending() int {
	d := u.devices[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting)
}

// login makes the account the first time.
func (d *device1) login(ws *websocket.Conn) (*Socket, error) {
	request := "login"
	if !d.isMade() {
		request = "create_acc"
	}
	d.socket = &Socket{Asked: d.rec.now(), Number: int(d.sockets.Add(1))}
	var answer struct {
		Type, Error string
		ID          int
	}
	if err := exchange(ws, map[string]string{"type": request, "username": d.name, "pin": pin}, &answer); err != nil {
		return nil, err
	}
	switch {
	case answer.Type == "error" && answer.Error != "":
		return nil, errors.New(answer.Error)
	case answer.Type == "create_acc_resp" && !d.isMade():
		d.make(answer.ID)
	case answer.Type != "resp" || answer.ID != d.id:
		d.rec.stray(d.id, "after login", fmt.Sprint(answer))
		return nil, errors.New("not the answer of a login")
	}
	d.socket.User = d.id
	return d.socket, nil
}

func (d *device1) open(ws *websocket.Conn) { d.use(ws, d.socket.Number) }

func (d *device1) shut() { d.use(nil, 0) }

// use gives requests a socket, or none. What waits stays without an answer.
func (d *device1) use(ws *websocket.Conn, number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ws, d.number, d.waiting = ws, number, nil
}

func (d *device1) goodbye(ws *websocket.Conn) { ws.Close() }

// take deals with a frame.
func (d *device1) take(data []byte) {
	var f struct {
		Type, Status, Error, Content string
		Sender, User                 int
	}
	if err := json.Unmarshal(data, &f); err != nil {
		d.rec.stray(d.id, "not JSON", string(data))
		return
	}
	switch {
	case f.Type == "message":
		d.rec.receipt(d.socket, Receipt{User: d.id, Kind: kindMessage, Sender: f.Sender, Content: f.Content})
	case f.Type == "friend_request":
		d.rec.receipt(d.socket, Receipt{User: d.id, Kind: kindRequest, Sender: f.User})
	case f.Type == "send_resp" && f.Status == "success":
		d.answered(Acknowledged, false, data)
	case f.Type == "request_resp" && f.Status == "sent":
		d.answered(Acknowledged, true, data)
	case f.Type == "error":
		d.refused(f.Error, data)
	default:
		d.rec.stray(d.id, "unknown", string(data))
	}
}

// refused finds out what an error says of the oldest request.
func (d *device1) refused(text string, data []byte) {
	d.mu.Lock()
	var oldest Send
	if len(d.waiting) > 0 {
		oldest = *d.waiting[0]
	}
	d.mu.Unlock()
	isRequest := oldest.Content == requestOf(d.id)
	switch {
	case text == fmt.Sprintf("%d is not connected to the network", oldest.Recipient):
		d.answered(Refused, false, data)
	case text == "failed to send message":
		d.answered(Failed, false, data)
	case text == fmt.Sprintf("failed to send friend request to %d", oldest.Recipient):
		d.answered(Failed, true, data)
	case text == "too many requests, slow down":
		d.answered(Failed, isRequest, data)
	default:
		d.rec.stray(d.id, "error", string(data))
	}
}

// answered ends the oldest request: answers come in order.
func (d *device1) answered(o Outcome, isRequest bool, data []byte) {
	d.mu.Lock()
	if len(d.waiting) == 0 || (d.waiting[0].Content == requestOf(d.id)) != isRequest {
		d.mu.Unlock()
		d.rec.stray(d.id, "an answer without a request", string(data))
		return
	}
	s := d.waiting[0]
	d.waiting = d.waiting[1:]
	d.mu.Unlock()
	d.rec.answer(s, o, "")
}

func (d *device1) request(s *Send, frame map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ws == nil || len(d.waiting) >= maxPending {
		return
	}
	s.Socket = d.number
	d.waiting = append(d.waiting, d.rec.send(s))
	_ = d.ws.SetWriteDeadline(time.Now().Add(writePatience))
	if err := d.ws.WriteJSON(frame); err != nil {
		d.ws.Close() // the reader notices
	}
}
