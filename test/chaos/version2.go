package chaos

import (
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
	ends    endings

	mu    sync.Mutex
	heard map[int]int64 // the seq of the newest message of each user
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
	ends  *endings // of all the user's sessions
	heard func(sender int, seq int64)

	// owned by run
	token, epoch string
	last         int64   // newest seq that came
	socket       *Socket // that it has
	synced       int64   // the seq from which on it may be told that it has all; -1: it was told

	mu      sync.Mutex // guards all below, and writes
	session session
	since   Instant // when it had begun
	bearer  string  // as token, for REST
	leaving bool    // the user does, and sends no more
	ws      *websocket.Conn
	waiting []*request // without an answer, in order
	refs    int
	got     int64 // as last, for the acknowledgement
	acked   int64
	watch   bool // presence is to be watched, and the socket does not yet

	ended  chan struct{} // closed when the socket has; owned by run
	acking sync.WaitGroup
}

// request is on its way: a send or a deed.
type request struct {
	send  *Send
	deed  *Deed
	ref   string
	frame map[string]any
	again bool // the store could not take it
}

func newUser2(p *person, devices int) *user2 {
	u := &user2{person: p, heard: map[int]int64{}}
	for i := range devices {
		u.devices = append(u.devices, &device2{person: p, first: i == 0, ends: &u.ends, heard: u.hear})
	}
	return u
}

func (u *user2) run(ctx context.Context) { runAll(ctx, u.person, u.devices) }

func (u *user2) send(_ context.Context, to int, content string) {
	u.devices[0].request(&Send{Sender: u.id, Recipient: to, Content: content},
		map[string]any{"type": "send_msg", "recipient": to, "content": content})
}

func (u *user2) ask(_ context.Context, to int) {
	u.devices[0].request(&Send{Sender: u.id, Recipient: to, Content: requestOf(u.id)},
		map[string]any{"type": "request_friend", "user": to})
}

func (u *user2) pending() int {
	if u.deleted.Load() {
		return 0
	}
	n := int(u.asking.Load())
	for _, d := range u.devices {
		d.mu.Lock()
		n += len(d.waiting)
		d.mu.Unlock()
	}
	return n
}

// frame2 is any frame of version 2.
type frame2 struct {
	Type, Status, Error, Code, Content, Token, Epoch string

	Ref               string
	ID                json.RawMessage // of a user or an event
	Seq               int64
	Sender, Recipient int
	User              someone
	State             string
	RetryAfterMS      int `json:"retry_after_ms"`
}

// event is the id of an event.
func (f frame2) event() string { return strings.Trim(string(f.ID), `"`) }

// login resumes if there is a session. One that is over must be refused.
func (d *device2) login(ws *websocket.Conn) (*Socket, error) {
	state := d.state()
	if state == noSession {
		return d.loginByPin(ws)
	}
	asked := d.rec.now()
	var answer frame2
	err := exchange(ws, map[string]any{"type": "resume", "token": d.token, "since": d.last, "epoch": d.epoch}, &answer)
	if answer.Type != "resume_resp" {
		state = d.state() // it may have ended meanwhile
	}
	switch {
	case err != nil:
		return nil, err
	case answer.Code == "token_invalid" && state != live:
		d.setState(noSession)
		return d.loginByPin(ws)
	case answer.Code == "token_invalid" || answer.Type == "resume_resp" && state == over:
		d.rec.stray(d.id, "after resume", fmt.Sprint(answer))
		d.setState(noSession)
		return nil, errors.New("not the answer of a resume")
	case answer.Type != "resume_resp":
		return nil, errors.New(answer.Error)
	}
	return d.entered(answer, &Socket{Asked: asked, Resumed: true, After: d.last}), nil
}

// loginByPin begins a session, and makes the account the first time.
func (d *device2) loginByPin(ws *websocket.Conn) (*Socket, error) {
	request, made := "login", d.isMade()
	if !made {
		request = "create_acc"
	}
	asked, surely := d.rec.now(), d.ends.watch()
	var answer frame2
	err := exchange(ws, map[string]string{"type": request, "username": d.name, "pin": pin}, &answer)
	if err != nil {
		return nil, err
	}
	id, _ := strconv.Atoi(string(answer.ID)) // 0 is nobody's
	switch {
	case answer.Error != "":
		return nil, errors.New(answer.Error)
	case answer.Type == "create_acc_resp" && !made && id != 0:
		d.make(id)
	case answer.Type != "resp" || id != d.id:
		d.rec.stray(d.id, "after login", fmt.Sprint(answer))
		return nil, errors.New("not the answer of a login")
	}
	d.token = answer.Token
	d.begin(answer.Token, surely)
	return d.entered(answer, &Socket{Asked: asked, Resumed: !made}), nil
}

func (d *device2) entered(answer frame2, s *Socket) *Socket {
	s.User, s.Number = d.id, int(d.sockets.Add(1))
	d.socket, d.epoch, d.synced = s, answer.Epoch, answer.Seq
	return s
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
	d.ws, d.leaving, d.got, d.acked, d.watch = ws, false, 0, 0, false
	for _, r := range d.waiting {
		r.again = false
		d.write(r.frame)
	}
	d.ended = make(chan struct{})
	d.acking.Go(func() { d.keepAcking(d.ended) })
}

// shut takes the socket away. What must not be done twice is not asked for again.
func (d *device2) shut() {
	close(d.ended)
	d.acking.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ws = nil
	d.waiting = slices.DeleteFunc(d.waiting, func(r *request) bool {
		if r.deed != nil {
			d.rec.abandon(r.deed)
		}
		return r.frame["nonce"] == nil
	})
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
func (d *device2) goodbye(ws *websocket.Conn) {
	if !d.first {
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
	if d.watch && !d.leaving {
		d.watch = false
		d.put(&request{deed: d.rec.deed(&Deed{User: d.id, Act: ActWatch})})
	}
}

// wantWatch has presence be watched, soon.
func (d *device2) wantWatch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = true
}

// put sends a request. It needs d.mu.
func (d *device2) put(r *request) {
	d.refs++
	r.ref = strconv.Itoa(d.refs)
	if r.deed != nil {
		r.frame = r.deed.request(r.ref)
	}
	r.frame["ref"] = r.ref
	if r.frame["type"] == "send_msg" {
		r.frame["nonce"] = r.ref
	}
	d.waiting = append(d.waiting, r)
	d.write(r.frame)
}

func (d *device2) request(s *Send, frame map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ws == nil || d.leaving || len(d.waiting) >= maxPending {
		return
	}
	d.put(&request{send: d.rec.send(s), frame: frame})
}
