// Package chaos breaks a whole deployment while people chat, and checks afterwards
// that every promise of docs/protocol.md was kept.
//
//	plan (seed) ──▶ faults ──▶ deployment: gateways, social, accounts, Redis, Postgres
//	                   │             ▲
//	                   ▼             │
//	users ──▶ relay of each user ──▶ front door          relay ──▶ social
//	  │
//	  └──▶ history: sends, deeds, answers, receipts, sockets, faults ──┐
//	                                     the log, read from Postgres ──┴──▶ Check ──▶ violations
//
// Users speak version 1 and version 2 on raw sockets, one or two at once, or are
// Clients of client/. Each comes through a relay of its own, in which its network
// breaks. Those of version 2 do all that there is to do, by sockets and REST: some
// delete their accounts. That the harness finds what is broken is shown by mutants.
package chaos

import (
	"fmt"
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

// Send is a message, or a friend request, on its way to another user. Each has a
// content that nothing else in the recipient's log has.
type Send struct {
	Sender, Recipient int
	Socket            int // of the sender; 0 where a send may be repeated on the next one
	Content           string
	At, Answered      Instant
	Outcome           Outcome
	ID                string // of the event, in version 2
}

// The kinds of events that are told apart here.
const (
	kindMessage   = "message"
	kindRequest   = "friend_request"
	kindAdded     = "friend_added"
	kindRemoved   = "friend_removed"
	kindSent      = "request_sent"
	kindClosed    = "request_closed"
	kindBlocked   = "blocked"
	kindUnblocked = "unblocked"
	kindTombstone = "tombstone"
)

// requestOf is the content that stands for a friend request of which version 1 is a
// side. Nobody makes it twice, and no such request is answered.
func requestOf(user int) string { return fmt.Sprintf("the request of %d", user) }

// wording is the content that stands for an event: unlike any other in its log, and
// empty for what the user does not see.
func (h *History) wording(user, peer int, kind string, seq int64, content string) string {
	switch {
	case kind == kindMessage:
		return content
	case kind == kindRequest && (h.Versions[user] == 1 || h.Versions[peer] == 1):
		return requestOf(peer)
	case kind == kindTombstone, h.Versions[user] == 1:
		return ""
	}
	return fmt.Sprintf("%s %d, seq %d", kind, peer, seq)
}

// Receipt is an event that came to a user.
type Receipt struct {
	User, Socket int // the socket is 0 for a Client, which hides them
	Kind         string
	Seq          int64 // in version 2
	Sender       int
	Content      string
	At           Instant
}

// Socket is a time in which a user was logged in. Number counts the user's sockets.
type Socket struct {
	User, Number int
	Resumed      bool    // it goes on after After, and not where the server thinks
	After        int64   // the newest seq that its device had
	Asked        Instant // when the login was sent
	Since        Instant // when it was answered
	Until        Instant // when the user noticed the end; 0 while it lasts
	Code         int     // with which the server closed it
	Newest       string  // message that came on it
	Hidden       bool    // a Client's, which does not say what came on it

	watching bool         // presence
	online   map[int]bool // what it was told of friends
}

// Passing is what came to a socket of version 2 and is in no log.
type Passing struct {
	User, Socket int // the socket is 0 for a Client
	Kind         string
	Peer         int // or recipient
	State        string
	ID, Content  string
	At           Instant
}

// View is what a socket was told of the presence of friends, when everybody had been
// quiet for as long as that may take.
type View struct {
	User, Socket  int
	Online, Truth []int // friends, sorted
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

// Stored is an event as the log has it. The content is empty if its user does not see
// it.
type Stored struct {
	Seq     int64
	Kind    string
	Sender  int // or who else it is about
	Content string
	At      Instant // when the transaction that stored it began
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
	Receipts []Receipt // in the order in which they came
	Sockets  []*Socket
	Windows  []*Window
	Strays   []Stray
	Deeds    []*Deed
	Passings []Passing
	Views    []View
	Beats    clock
	Inboxes  map[int]Inbox // by user; read when everything was over
	End      Instant       // when everything should have come
}

// longestGap is for how long nothing was acknowledged while there was traffic, and from
// when.
func (h *History) longestGap(began, ended Instant) (longest time.Duration, from Instant) {
	acknowledged := []Instant{ended}
	for _, s := range h.Sends {
		if s.Outcome == Acknowledged && s.Answered > began && s.Answered < ended {
			acknowledged = append(acknowledged, s.Answered)
		}
	}
	slices.Sort(acknowledged)
	last := began
	for _, at := range acknowledged {
		if at-last > longest {
			longest, from = at-last, last
		}
		last = at
	}
	return longest, from
}

// recorder writes a History. What it hands out is changed only through it.
type recorder struct {
	began time.Time

	mu      sync.Mutex
	h       History
	got     map[int]map[string]bool // contents that each user has
	changed chan struct{}           // closed at the next receipt or answer
	follows map[int]*following      // what users of version 2 know
}

func newRecorder() *recorder {
	return &recorder{
		began: time.Now(), changed: make(chan struct{}), got: map[int]map[string]bool{}, follows: map[int]*following{},
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

// send notes that something is about to be sent.
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

// receipt notes what came on a socket, which is nil for a Client.
func (r *recorder) receipt(s *Socket, got Receipt) {
	r.record(func(h *History, now Instant) {
		got.At, got.Content = now, h.wording(got.User, got.Sender, got.Kind, got.Seq, got.Content)
		if s != nil {
			s.take(&got)
		}
		h.Receipts = append(h.Receipts, got)
		r.follow(got)
		if r.got[got.User] == nil {
			r.got[got.User] = map[string]bool{}
		}
		r.got[got.User][got.Content] = true
		r.tell()
	})
}

// login notes the begin of a socket.
func (r *recorder) login(s *Socket) {
	r.record(func(h *History, now Instant) {
		s.Since = now
		h.Sockets = append(h.Sockets, s)
	})
}

// take notes what came on the socket.
func (s *Socket) take(got *Receipt) {
	got.Socket = s.Number
	switch got.Kind {
	case kindMessage:
		s.Newest = got.Content
	case kindRemoved: // who becomes a friend again is told of again
		delete(s.online, got.Sender)
	}
}

// logout notes the end of a socket, and the code with which the server closed it.
func (r *recorder) logout(s *Socket, code int) {
	r.record(func(_ *History, now Instant) {
		s.Until, s.Code = now, code
		r.tell()
	})
}

func (r *recorder) now() Instant { return time.Since(r.began) }

func (r *recorder) beat() {
	r.record(func(h *History, now Instant) { h.Beats = append(h.Beats, now) })
}

// worked is the time since a moment, in beats.
func (r *recorder) worked(since Instant) (beats time.Duration) {
	r.record(func(h *History, now Instant) { beats = h.Beats.between(since, now) })
	return beats
}

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

// lacking names a user who has not got something that is stored, or a socket that has
// lasted since before a moment and does not have as the newest message what its user
// should get last. It is empty if there is neither. What came is taken out of stored.
func (r *recorder) lacking(stored map[int][]string, before Instant, newest func(user int) string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for user, contents := range stored {
		n := len(contents)
		for n > 0 && r.got[user][contents[n-1]] {
			n--
		}
		if stored[user] = contents[:n]; n > 0 {
			return fmt.Sprintf("user %d of version %d, who lacks %.24q", user, r.h.Versions[user], contents[n-1])
		}
	}
	for _, s := range r.h.Sockets {
		if !s.Hidden && s.Until == 0 && s.Since < before && s.Newest != newest(s.User) {
			return fmt.Sprintf("socket %d of user %d, since %v, at %.24q", s.Number, s.User, s.Since, s.Newest)
		}
	}
	return ""
}

// word puts the contents that stand for events into what was read from the store.
func (r *recorder) word(inboxes map[int]Inbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for user, inbox := range inboxes {
		for i := range inbox.Stored {
			m := &inbox.Stored[i]
			m.Content = r.h.wording(user, m.Sender, m.Kind, m.Seq, m.Content)
		}
	}
}

// change is closed when something more has happened.
func (r *recorder) change() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// finish gives the history, once nobody writes it any more.
func (r *recorder) finish(inboxes map[int]Inbox, end Instant) History {
	r.word(inboxes)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Inboxes, r.h.End = inboxes, end
	h := r.h
	h.Windows = slices.Clone(h.Windows)
	return h
}
