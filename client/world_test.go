package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// world is a server that does what version 2 promises, and no better: it cuts
// connections wherever it can, loses answers, repeats and leaves out events, and
// forgets sessions.
type world struct {
	t *testing.T

	mu        sync.Mutex // guards all below
	chance    *rand.Rand
	mishap    float64 // how likely each of them is
	calm      bool    // no more mishaps
	head      int
	confirmed int
	made      bool         // the account
	left      map[int]bool // seqs that were left out once
	tokens    map[string]bool
	nonces    map[string]int // the place of each message that was stored
	stored    []string
	rung      chan struct{} // closed when there is another event
}

func newWorld(t *testing.T, seed uint64) *world {
	chance := rand.New(rand.NewPCG(seed, 0))
	return &world{
		t: t, chance: chance, mishap: chance.Float64() * 0.1, left: map[int]bool{},
		tokens: map[string]bool{}, nonces: map[string]int{}, rung: make(chan struct{}),
	}
}

// happens says whether one of the things happens that should not.
func (w *world) happens() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.calm && w.chance.Float64() < w.mishap
}

func (w *world) below(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chance.IntN(n)
}

// append adds an event.
func (w *world) append() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head++
	close(w.rung)
	w.rung = make(chan struct{})
}

// store keeps a message, once for each nonce.
func (w *world) store(nonce, content string) (place int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nonces[nonce] == 0 {
		w.stored = append(w.stored, content)
		w.nonces[nonce] = len(w.stored)
	}
	return w.nonces[nonce]
}

// link is a connection to the world.
type link struct {
	w    *world
	ws   *websocket.Conn
	turn chan struct{} // in it while one writes; the clock stops for who waits for a Mutex

	mu      sync.Mutex
	written int // the newest seq

	first bool // the first event says where the client is: it cannot miss one before
	over  chan struct{}
	tasks sync.WaitGroup
}

var errCut = errors.New("cut")

func (w *world) serve(ws *websocket.Conn) {
	l := &link{w: w, ws: ws, over: make(chan struct{}), turn: make(chan struct{}, 1)}
	defer l.tasks.Wait()
	defer close(l.over)
	defer ws.Close()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil || w.happens() {
			return
		}
		var r request
		if err := json.Unmarshal(data, &r); err != nil {
			w.t.Errorf("not a request: %s", data)
			return
		}
		if l.handle(r) != nil {
			return
		}
	}
}

type request struct {
	Type, Token, Epoch, Content, Nonce string
	Since, Seq                         int
	Ref                                int64
}

func (l *link) handle(r request) error {
	w := l.w
	switch r.Type {
	case "create_acc":
		w.mu.Lock()
		taken := w.made
		w.made = true
		w.mu.Unlock()
		if taken {
			return l.write(`{"type":"error","error":"username is taken","code":"username_taken","ref":%d}`, r.Ref)
		}
		return l.enter("create_acc_resp", w.newToken(), 0, r.Ref)
	case "login":
		l.first = true
		return l.enter("resp", w.newToken(), w.position(), r.Ref)
	case "resume":
		w.mu.Lock()
		known := w.tokens[r.Token]
		w.mu.Unlock()
		if !known || w.happens() {
			w.mu.Lock()
			w.tokens[r.Token] = false
			w.mu.Unlock()
			return l.write(`{"type":"error","error":"session is over","code":"token_invalid","ref":%d}`, r.Ref)
		}
		if r.Epoch == "" {
			l.first = true
			r.Since = w.position()
		}
		return l.enter("resume_resp", "", r.Since, r.Ref)
	case "ack":
		l.ack(r.Seq)
		return nil
	case "send_msg":
		return l.message(r)
	}
	w.t.Errorf("unexpected request %s", r.Type)
	return errCut
}

func (w *world) newToken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	token := fmt.Sprint("token ", len(w.tokens))
	w.tokens[token] = true
	return token
}

// position is what was confirmed.
func (w *world) position() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.confirmed
}

func (l *link) enter(kind, token string, since int, ref int64) error {
	l.mu.Lock()
	l.written = since
	l.mu.Unlock()
	w := l.w
	w.mu.Lock()
	head := w.head
	w.mu.Unlock()
	err := l.write(`{"type":"%s","id":%d,"token":"%s","expires_at":%d,"seq":%d,"epoch":"e","ref":%d}`,
		kind, me, token, time.Now().Add(expiry).UnixMilli(), head, ref)
	if err == nil {
		l.tasks.Go(func() { l.follow(since, head) })
	}
	return err
}

func (l *link) ack(seq int) {
	l.mu.Lock()
	if seq > l.written {
		l.w.t.Errorf("%d was confirmed, %d was written", seq, l.written)
	}
	l.mu.Unlock()
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.confirmed = max(l.w.confirmed, seq)
}

// message stores a message, or answers that it may not have been, or that it was
// not.
func (l *link) message(r request) error {
	if l.w.happens() {
		return l.refuse("too_many_requests", r.Ref)
	}
	place := l.w.store(r.Nonce, r.Content)
	if l.w.happens() {
		return l.refuse("send_failed", r.Ref)
	}
	return l.write(`{"type":"send_resp","status":"queued","id":"%d","sent_at":1,"ref":%d}`, place, r.Ref)
}

func (l *link) refuse(code string, ref int64) error {
	return l.write(`{"type":"error","error":"no","code":"%s","retry_after_ms":%d,"ref":%d}`, code, l.w.below(2000), ref)
}

// follow sends events, and at times one that it has sent before, or not the one
// that is next.
func (l *link) follow(at, head int) {
	defer l.ws.Close()
	told := false
	for {
		l.w.mu.Lock()
		newest, rung := l.w.head, l.w.rung
		l.w.mu.Unlock()
		for ; at < newest; at++ {
			if l.leaveOut(at + 1) {
				continue
			}
			if l.event(at+1) != nil || l.w.happens() && at > 0 && l.event(1+l.w.below(at)) != nil {
				return
			}
		}
		if !told && at >= head {
			told = true
			if l.write(`{"type":"synced","seq":%d}`, at) != nil {
				return
			}
		}
		select {
		case <-rung:
		case <-time.After(25 * time.Second):
			if l.write(`{"type":"heartbeat","seq":%d}`, at) != nil {
				return
			}
		case <-l.over:
			return
		}
	}
}

// leaveOut leaves an event out, but not twice: that would be the word of the store.
func (l *link) leaveOut(seq int) bool {
	if l.first || !l.w.happens() {
		l.first = false
		return false
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	again := l.w.left[seq]
	l.w.left[seq] = true
	return !again
}

func (l *link) event(seq int) error {
	l.mu.Lock()
	l.written = max(l.written, seq)
	l.mu.Unlock()
	return l.write("%s", eventFrame(seq))
}

// write writes a frame, and may cut the connection before or after, or close it.
func (l *link) write(format string, args ...any) error {
	if l.w.happens() {
		l.ws.Close()
		return errCut
	}
	l.turn <- struct{}{}
	err := l.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
	<-l.turn
	if err == nil && l.w.happens() {
		code := []int{1001, 1012, 4001, 0}[l.w.below(4)]
		if code > 0 {
			_ = l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
		}
		l.ws.Close()
		return errCut
	}
	return err
}
