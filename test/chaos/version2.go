package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// ackPause is how often a device acknowledges what came, and sends again what the
	// store could not take.
	ackPause = 250 * time.Millisecond
	// goodbyePatience is how long a logout may take before the socket is closed.
	goodbyePatience = 2 * time.Second
	// logoutRef is the ref of a logout; those of sends are numbers.
	logoutRef = "logout"
)

// user2 speaks version 2 on raw sockets, on the first of which it sends. Each device
// has a session of its own and its own place in the log.
type user2 struct {
	*person
	devices []*device2
}

// session is what a device knows of its token.
type session int

const (
	noSession session = iota
	live              // it has to be good for a resume
	doubtful          // it was logged out, and the answer did not come: it may end at any time
	over              // it was logged out, and must not be good for anything
)

// device2 has one socket at a time.
type device2 struct {
	*person
	first bool

	// owned by run
	token, epoch string
	last         int64   // newest seq that came
	socket       *Socket // that it has
	synced       int64   // the seq from which on it may be told that it has all; -1: it was told

	mu      sync.Mutex // guards all below, and writes
	session session
	leaving bool // the user does, and sends no more
	ws      *websocket.Conn
	waiting []*request // without an answer, in order
	refs    int
	got     int64 // as last, for the acknowledgement
	acked   int64
}

// request is on its way.
type request struct {
	send  *Send
	ref   string
	frame map[string]any
	again bool // the store could not take it
}

func newUser2(p *person, devices int) *user2 {
	u := &user2{person: p}
	for i := range devices {
		u.devices = append(u.devices, &device2{person: p, first: i == 0})
	}
	return u
}

func (u *user2) run(ctx context.Context) {
	var running sync.WaitGroup
	for _, d := range u.devices {
		running.Go(func() {
			u.keep(ctx, d.first, func(stay context.Context) { d.connect(ctx, stay) })
		})
	}
	running.Wait()
}

func (u *user2) send(_ context.Context, to int, content string) {
	u.devices[0].request(&Send{Sender: u.id, Recipient: to, Content: content},
		map[string]any{"type": "send_msg", "recipient": to, "content": content})
}

func (u *user2) ask(_ context.Context, to int) {
	u.devices[0].request(&Send{Sender: u.id, Recipient: to, Content: requestOf(u.id)},
		map[string]any{"type": "request_friend", "user": to})
}

func (u *user2) pending() int {
	d := u.devices[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting)
}

// connect logs in and reads until the socket ends. When the user leaves, the first
// device logs out; the end of ctx just ends it.
func (d *device2) connect(ctx, stay context.Context) {
	ws, err := d.dial(ctx, "pymessage.v2")
	if err != nil {
		return
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	if err := d.login(ws); err != nil {
		return
	}
	d.rec.login(d.socket)
	d.open(ws)
	defer context.AfterFunc(stay, func() { d.goodbye(ctx, ws) })()
	ended := make(chan struct{})
	var acking sync.WaitGroup
	acking.Go(func() { d.keepAcking(ended) })
	receive(ws, d.take)
	close(ended)
	acking.Wait()
	d.shut()
	d.rec.logout(d.socket)
}

// frame2 is any frame of version 2.
type frame2 struct {
	Type, Status, Error, Code, Content, Token, Epoch string

	Ref          string
	ID           json.RawMessage // of a user or an event
	Seq          int64
	Sender, User int
}

// login resumes if there is a session. One that is over must be refused.
func (d *device2) login(ws *websocket.Conn) error {
	state := d.state()
	if state == noSession {
		return d.loginByPin(ws)
	}
	asked := d.rec.now()
	var answer frame2
	err := exchange(ws, map[string]any{"type": "resume", "token": d.token, "since": d.last, "epoch": d.epoch}, &answer)
	switch {
	case err != nil:
		return err
	case answer.Code == "token_invalid" && state != live:
		d.setState(noSession)
		return d.loginByPin(ws)
	case answer.Code == "token_invalid" || answer.Type == "resume_resp" && state == over:
		d.rec.stray(d.id, "after resume", fmt.Sprint(answer))
		d.setState(noSession)
		return errors.New("not the answer of a resume")
	case answer.Type != "resume_resp":
		return errors.New(answer.Error)
	}
	d.entered(answer, &Socket{Asked: asked, Resumed: true, After: d.last})
	return nil
}

// loginByPin begins a session, and makes the account the first time.
func (d *device2) loginByPin(ws *websocket.Conn) error {
	request, made := "login", d.isMade()
	if !made {
		request = "create_acc"
	}
	asked := d.rec.now()
	var answer frame2
	err := exchange(ws, map[string]string{"type": request, "username": d.name, "pin": pin}, &answer)
	if err != nil {
		return err
	}
	id, _ := strconv.Atoi(string(answer.ID)) // 0 is nobody's
	switch {
	case answer.Error != "":
		return errors.New(answer.Error)
	case answer.Type == "create_acc_resp" && !made && id != 0:
		d.make(id, 2)
	case answer.Type != "resp" || id != d.id:
		d.rec.stray(d.id, "after login", fmt.Sprint(answer))
		return errors.New("not the answer of a login")
	}
	d.token = answer.Token
	d.setState(live)
	d.entered(answer, &Socket{Asked: asked, Resumed: !made})
	return nil
}

func (d *device2) entered(answer frame2, s *Socket) {
	s.User, s.Number = d.id, int(d.sockets.Add(1))
	d.socket, d.epoch, d.synced = s, answer.Epoch, answer.Seq
}

func (d *device2) state() session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.session
}

func (d *device2) setState(s session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = s
}

// open gives requests a socket, and sends again what may be: messages, by their
// nonces.
func (d *device2) open(ws *websocket.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ws, d.leaving, d.got, d.acked = ws, false, 0, 0
	d.waiting = slices.DeleteFunc(d.waiting, func(r *request) bool { return r.frame["nonce"] == nil })
	for _, r := range d.waiting {
		r.again = false
		d.write(r.frame)
	}
}

func (d *device2) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ws = nil
}

// write needs d.mu.
func (d *device2) write(frame any) {
	if d.ws == nil {
		return
	}
	_ = d.ws.SetWriteDeadline(time.Now().Add(writePatience))
	if err := d.ws.WriteJSON(frame); err != nil {
		d.ws.Close() // the reader notices
	}
}

// goodbye ends the session, or only the socket.
func (d *device2) goodbye(ctx context.Context, ws *websocket.Conn) {
	if ctx.Err() != nil || !d.first {
		ws.Close()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ws != ws {
		return // it has ended by itself
	}
	d.session, d.leaving = doubtful, true
	d.write(map[string]string{"type": "logout", "ref": logoutRef})
	time.AfterFunc(goodbyePatience, func() { ws.Close() })
}

func (d *device2) keepAcking(ended <-chan struct{}) {
	tick := time.NewTicker(ackPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.ack()
		case <-ended:
			return
		}
	}
}

// ack acknowledges what came, and sends again what failed.
func (d *device2) ack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.got > d.acked {
		d.acked = d.got
		d.write(map[string]any{"type": "ack", "seq": d.acked})
	}
	for _, r := range d.waiting {
		if r.again {
			r.again = false
			d.write(r.frame)
		}
	}
}

func (d *device2) request(s *Send, frame map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ws == nil || d.leaving || len(d.waiting) >= maxPending {
		return
	}
	d.refs++
	r := &request{send: d.rec.send(s), ref: strconv.Itoa(d.refs), frame: frame}
	frame["ref"] = r.ref
	if frame["type"] == "send_msg" {
		frame["nonce"] = r.ref
	}
	d.waiting = append(d.waiting, r)
	d.write(frame)
}

// take deals with a frame.
func (d *device2) take(data []byte) {
	var f frame2
	if err := json.Unmarshal(data, &f); err != nil {
		d.rec.stray(d.id, "not what version 2 has", string(data))
		return
	}
	switch {
	case f.Ref == logoutRef && f.Type == "logout_resp":
		d.setState(over)
	case f.Ref == logoutRef && f.Code == "unavailable":
	case f.Ref != "":
		d.answered(f, data)
	case f.Type == "synced" && d.synced >= 0 && f.Seq >= d.synced:
		d.synced = -1
	case f.Type == "synced", f.Type == "resync", f.Type == "error":
		d.rec.stray(d.id, f.Type, string(data))
	case f.Seq > 0 && f.ID != nil:
		d.event(f, data)
	}
}

// event takes an event of the log. What is neither a message nor a friend request
// only moves the place.
func (d *device2) event(f frame2, data []byte) {
	if want := fmt.Sprintf(`"%d-%d"`, d.id, f.Seq); string(f.ID) != want {
		d.rec.stray(d.id, "event with a wrong id", string(data))
	}
	switch f.Type {
	case "message", "friend_request":
		got := Receipt{User: d.id, Seq: f.Seq, Sender: cmp.Or(f.Sender, f.User), Content: f.Content}
		if f.Type == "friend_request" {
			got.Content = requestOf(f.User)
		}
		d.rec.receipt(d.socket, got)
	}
	d.last = f.Seq
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = f.Seq
}

// answered ends a request.
func (d *device2) answered(f frame2, data []byte) {
	d.mu.Lock()
	i := slices.IndexFunc(d.waiting, func(r *request) bool { return r.ref == f.Ref })
	if i < 0 {
		d.mu.Unlock()
		d.rec.stray(d.id, "an answer without a request", string(data))
		return
	}
	r := d.waiting[i]
	isMessage := r.frame["nonce"] != nil
	if isMessage && (f.Code == "send_failed" || f.Code == "too_many_requests") {
		r.again = true
		d.mu.Unlock()
		return
	}
	d.waiting = slices.Delete(d.waiting, i, i+1)
	d.mu.Unlock()
	switch {
	case isMessage && f.Type == "send_resp" && (f.Status == "success" || f.Status == "queued"):
		d.rec.answer(r.send, Acknowledged, strings.Trim(string(f.ID), `"`))
	case !isMessage && f.Type == "request_resp" && f.Status == "sent":
		d.rec.answer(r.send, Acknowledged, "")
	case f.Code == "not_connected":
		d.rec.answer(r.send, Refused, "")
	case !isMessage && (f.Code == "request_failed" || f.Code == "too_many_requests"):
		d.rec.answer(r.send, Failed, "")
	default:
		d.rec.answer(r.send, Failed, "")
		d.rec.stray(d.id, "error", string(data))
	}
}
