package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ackPause is how often version 2 says what it has: as version 1 does, by its
	// pongs, without being asked.
	ackPause = int64(time.Second)

	pin = "1234"
)

// user is one account, on at most one socket at a time.
type user struct {
	// static after the world is made
	w        *world
	n        int // place among the users
	name     string
	version  int
	home     int // gateway to go to
	dialer   dialer
	outgoing *stream           // nil: sends nothing
	incoming map[int64]*stream // by the sender's id
	window   int               // sends that are kept without an answer; 0: sends when told to

	state atomic.Int32                  // what the socket has come to
	gate  atomic.Pointer[chan struct{}] // frozen until it is closed
	loose atomic.Bool                   // the socket may end
	timed bool                          // the recorder is about what this user gets; static

	mu   sync.Mutex // guards all below
	sock *socket
	out  []byte // frames that are not written yet

	id      int64
	token   string
	epoch   string
	last    int64 // newest seq; version 2
	ackedAt int64
	again   bool // has logged in by pin, and not acknowledged everything before
	wrong   int  // events of version 2 out of their seq
}

// The states of a socket.
const (
	away   = iota
	inside // logged in
	synced // and caught up: in version 2 by the gateway's word
)

// refusal is an error frame.
type refusal struct{ text string }

func (r refusal) Error() string { return "refused: " + r.text }

// how a user logs in.
type entrance int

const (
	creating entrance = iota
	byPin
	resuming
)

func (u *user) request(how entrance) []byte {
	switch how {
	case creating:
		return fmt.Appendf(nil, `{"type":"create_acc","username":%q,"pin":%q}`, u.name, pin)
	case resuming:
		return fmt.Appendf(nil, `{"type":"resume","token":%q,"since":%d,"epoch":%q}`, u.token, u.last, u.epoch)
	}
	return fmt.Appendf(nil, `{"type":"login","username":%q,"pin":%q}`, u.name, pin)
}

// enter opens a socket and logs in. What comes after the answer is for follow.
func (u *user) enter(ctx context.Context, address string, how entrance) error {
	d := u.dialer
	d.version = u.version
	s, err := d.dial(ctx, address)
	if err != nil {
		return err
	}
	if err := u.logIn(s, how); err != nil {
		s.conn.Close()
		return err
	}
	return nil
}

func (u *user) logIn(s *socket, how entrance) error {
	if err := s.conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := s.conn.Write(appendFrame(nil, opText, u.request(how))); err != nil {
		return err
	}
	r, err := firstText(s)
	if err != nil {
		return err
	}
	if string(r.kind) == "error" {
		return refusal{string(r.error)}
	}
	if u.id = number(r.id); u.id < 0 || r.seq < 0 {
		return fmt.Errorf("a strange answer to a login: %+v", r)
	}
	if len(r.token) > 0 {
		u.token = string(r.token)
	}
	u.epoch = string(r.epoch)
	u.again = how == byPin
	u.sock, u.out = s, u.out[:0]
	u.state.Store(inside)
	if u.version == 1 { // which is not told when it has caught up
		u.state.Store(synced)
	}
	return s.conn.SetDeadline(time.Time{})
}

func firstText(s *socket) (received, error) {
	for {
		op, payload, err := s.next()
		if err != nil {
			return received{}, err
		}
		if op == opClose {
			return received{}, fmt.Errorf("closed: %q", payload)
		}
		if op != opText {
			continue
		}
		r, ok := scan(payload)
		if !ok {
			return r, fmt.Errorf("cannot read %q", payload)
		}
		return r, nil
	}
}

// follow reads the socket until it ends, and says why.
func (u *user) follow() error {
	u.mu.Lock()
	s := u.sock
	u.mu.Unlock()
	err := u.readAll(s)
	s.conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.Store(away)
	if u.outgoing != nil {
		u.outgoing.broke()
	}
	u.sock = nil
	return err
}

func (u *user) readAll(s *socket) error {
	for {
		if gate := u.gate.Load(); gate != nil {
			<-*gate
		}
		op, payload, err := s.next()
		if err != nil {
			return err
		}
		if err := u.handleAll(s, op, payload); err != nil {
			return err
		}
	}
}

// handleAll handles a frame and those that were read with it, and writes what
// follows from them at once.
func (u *user) handleAll(s *socket, op byte, payload []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		if err := u.handle(s, op, payload); err != nil {
			return err
		}
		if !s.ready() || u.gate.Load() != nil {
			return u.flush()
		}
		var err error
		if op, payload, err = s.next(); err != nil {
			return err
		}
	}
}

func (u *user) handle(s *socket, op byte, payload []byte) error {
	switch op {
	case opText:
		return u.text(s, payload)
	case opPing:
		u.out = appendFrame(u.out, opPong, payload)
	case opClose:
		return fmt.Errorf("closed by the gateway: %q", payload)
	}
	return nil
}

func (u *user) text(s *socket, payload []byte) error {
	r, ok := scan(payload)
	if !ok {
		return fmt.Errorf("cannot read %q", payload)
	}
	switch string(r.kind) {
	case "message":
		return u.message(s, r)
	case "send_resp":
		return u.answered(true, nil)
	case "error":
		return u.answered(false, r.error)
	case "synced":
		u.state.Store(synced)
		u.again = false
	case "resync":
		return fmt.Errorf("the log is not continuous: %s", payload)
	}
	return nil
}

// message checks a message that came.
func (u *user) message(s *socket, r received) error {
	m, ok := readStamp(r.content)
	if ok && m.run != u.w.run { // of an earlier run, not confirmed then
		u.last = max(u.last, r.seq)
		return nil
	}
	from := u.incoming[r.sender]
	if !ok || from == nil {
		return fmt.Errorf("a message that nobody sent, from %d: %q", r.sender, r.content)
	}
	isNew := from.arrive(m.number, u.again)
	if isNew && u.timed {
		u.w.recorder.Load().record(u.n, m.at, s.readAt)
	}
	if u.version == 1 {
		u.again = u.again && !isNew
		return nil
	}
	if isNew && r.seq <= u.last {
		u.wrong++
	}
	u.last = max(u.last, r.seq)
	if s.readAt-u.ackedAt >= ackPause {
		u.ackedAt = s.readAt
		u.out = appendFrame(u.out, opText, fmt.Appendf(nil, `{"type":"ack","seq":%d}`, u.last))
	}
	return nil
}

// answered notes an answer to a send, and in a closed loop sends the next.
func (u *user) answered(stored bool, why []byte) error {
	if u.outgoing == nil || u.outgoing.answered == u.outgoing.sent {
		return fmt.Errorf("an answer to nothing: %q", why)
	}
	u.outgoing.answer(stored)
	if !stored {
		u.w.note("refused: " + string(why))
	}
	if u.window > 0 && u.w.sending.Load() {
		u.put(clock())
	}
	return nil
}

// put queues the next message, which counts as sent at the time given. It needs mu.
func (u *user) put(at int64) {
	s := u.outgoing
	s.sent++
	start := len(u.out)
	u.out = append(u.out, s.template...)
	stamped{u.w.run, s.sent, at}.write(u.out[start+s.stampAt:])
}

// flush writes what is queued. It needs mu.
func (u *user) flush() error {
	if len(u.out) == 0 || u.sock == nil {
		return nil
	}
	_, err := u.sock.conn.Write(u.out)
	u.out = u.out[:0]
	return err
}

// send sends n messages, which count as sent at the time given; false without a
// socket. That the socket breaks is noticed by its reader.
func (u *user) send(n int, at int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sock == nil {
		return false
	}
	for range n {
		u.put(at)
	}
	_ = u.flush()
	return true
}

// cut ends the socket without a word.
func (u *user) cut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sock != nil {
		u.sock.conn.Close()
	}
}

// freeze stops the reading of the socket until thaw is called.
func (u *user) freeze() (thaw func()) {
	gate := make(chan struct{})
	u.gate.Store(&gate)
	return func() {
		u.gate.Store(nil)
		close(gate)
	}
}

// quiet says that nothing that was sent is without an answer.
func (u *user) quiet() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.outgoing == nil || u.outgoing.answered == u.outgoing.sent
}

// makeTemplate prepares the frame of a message of size bytes.
func (s *stream) makeTemplate(size int) {
	head := `{"type":"send_msg","recipient":` + strconv.FormatInt(s.to.id, 10) + `,"content":"`
	frame := []byte(head)
	for i := range size {
		frame = append(frame, "0123456789 the quick brown fox jumps over the lazy dog "[i%55])
	}
	s.template = appendFrame(nil, opText, append(frame, `"}`...))
	s.stampAt = len(s.template) - size - len(`"}`)
}
