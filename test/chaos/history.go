//go:build chaos

// Package chaos breaks a whole deployment while people chat, and checks afterwards
// that every promise of docs/protocol.md was kept.
//
//	plan (seed) ──▶ faults ──▶ deployment: gateways, social, accounts, Redis, Postgres
//	                   │             ▲
//	                   ▼             │
//	users ──▶ relay of each user ──▶ front door          relay ──▶ social
//	  │
//	  └──▶ history: sends, answers, receipts, sockets, faults ──┐
//	                              the log, read from Postgres ──┴──▶ Check ──▶ violations
//
// Users of version 1 are raw sockets; those of version 2 are Clients of client/.
// Each comes through a relay of its own, in which its network breaks.
package chaos

import (
	"slices"
	"sync"
	"time"
)

// Instant is the monotonic time since the history began.
type Instant = time.Duration

// Outcome is what the sender of a message knows of it.
type Outcome int

// The outcomes of a send.
const (
	Unanswered   Outcome = iota // may or may not be stored
	Acknowledged                // success or queued
	Refused                     // the recipient is not connected: not stored
	Failed                      // any other error: may or may not be stored
)

// Send is one attempt to send a message. Each has a content that no other has.
type Send struct {
	Sender, Recipient int
	Socket            int // of the sender, in version 1
	Content           string
	At, Answered      Instant
	Outcome           Outcome
	ID                string // of the event, in version 2
}

// Receipt is a message that came to a user.
type Receipt struct {
	User, Socket int // the socket is 0 in version 2, whose client hides them
	Seq          int64
	Sender       int
	Content      string
	At           Instant
}

// Socket is a time in which a user was logged in. Number counts the user's sockets.
type Socket struct {
	User, Number int
	Asked        Instant // when the login was sent
	Since        Instant // when it was answered
	Until        Instant // when the user noticed the end; 0 while it lasts
}

// Window is a time in which something was broken, for one user or, where User is 0,
// for all.
type Window struct {
	Kind     Kind
	Target   string
	User     int
	From, To Instant
}

// Stray is a frame that should not have come.
type Stray struct {
	User  int
	What  string
	Frame string
	At    Instant
}

// Stored is a message as the log has it.
type Stored struct {
	Seq     int64
	Sender  int
	Content string
}

// Inbox is a user's log at the end.
type Inbox struct {
	Head   int64
	Stored []Stored // by seq
}

// History is everything that happened.
type History struct {
	Versions map[int]int // of the protocol, by user
	Sends    []*Send
	Receipts []Receipt // in the order in which each user got them
	Sockets  []*Socket
	Windows  []*Window
	Strays   []Stray
	Inboxes  map[int]Inbox // by user; read when everything was over
	Skipped  int64         // events that clients of version 2 gave up waiting for
	End      Instant
}

// recorder writes a History. What it hands out is changed only through it.
type recorder struct {
	began time.Time

	mu      sync.Mutex
	h       History
	got     map[int]map[string]bool // contents that each user has
	changed chan struct{}           // closed at the next receipt or answer
}

func newRecorder() *recorder {
	return &recorder{
		began: time.Now(), changed: make(chan struct{}), got: map[int]map[string]bool{},
		h: History{Versions: map[int]int{}, Inboxes: map[int]Inbox{}},
	}
}

// record changes the history, at the time that it is given.
func (r *recorder) record(change func(h *History, now Instant)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.h, time.Since(r.began))
}

// tell wakes those who wait for something to happen. It needs r.mu.
func (r *recorder) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) user(id, version int) {
	r.record(func(h *History, _ Instant) { h.Versions[id] = version })
}

// send notes that a message is about to be sent.
func (r *recorder) send(s *Send) *Send {
	r.record(func(h *History, now Instant) {
		s.At = now
		h.Sends = append(h.Sends, s)
	})
	return s
}

func (r *recorder) answer(s *Send, o Outcome, id string) {
	r.record(func(_ *History, now Instant) {
		s.Outcome, s.ID, s.Answered = o, id, now
		r.tell()
	})
}

func (r *recorder) receipt(got Receipt) {
	r.record(func(h *History, now Instant) {
		got.At = now
		h.Receipts = append(h.Receipts, got)
		if r.got[got.User] == nil {
			r.got[got.User] = map[string]bool{}
		}
		r.got[got.User][got.Content] = true
		r.tell()
	})
}

// login notes the begin of a socket; asked is when the login was sent.
func (r *recorder) login(user, number int, asked Instant) *Socket {
	s := &Socket{User: user, Number: number, Asked: asked}
	r.record(func(h *History, now Instant) {
		s.Since = now
		h.Sockets = append(h.Sockets, s)
	})
	return s
}

func (r *recorder) logout(s *Socket) {
	r.record(func(_ *History, now Instant) { s.Until = now })
}

func (r *recorder) now() Instant { return time.Since(r.began) }

func (r *recorder) stray(user int, what, frame string) {
	r.record(func(h *History, now Instant) {
		h.Strays = append(h.Strays, Stray{User: user, What: what, Frame: frame, At: now})
	})
}

// window notes the begin of a fault; end is to be called at its end.
func (r *recorder) window(kind Kind, target string, user int) (end func()) {
	w := &Window{Kind: kind, Target: target, User: user}
	r.record(func(h *History, now Instant) {
		w.From = now
		h.Windows = append(h.Windows, w)
	})
	return func() { r.record(func(_ *History, now Instant) { w.To = now }) }
}

// has counts the different messages that a user got.
func (r *recorder) has(user int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got[user])
}

// change is closed when something more has happened.
func (r *recorder) change() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// finish gives the history, once nobody writes it any more.
func (r *recorder) finish(inboxes map[int]Inbox, skipped int64) History {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Inboxes, r.h.Skipped, r.h.End = inboxes, skipped, time.Since(r.began)
	h := r.h
	h.Windows = slices.Clone(h.Windows)
	return h
}
