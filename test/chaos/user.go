package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	// longestPause is that of a device before it connects again.
	longestPause = 400 * time.Millisecond
	// pin is everybody's.
	pin = "1234"
)

// user is somebody who chats.
type user interface {
	// run keeps the user connected until ctx ends.
	run(ctx context.Context)
	// ready gives the id, once there is one.
	ready(ctx context.Context) (int, error)
	// send sends a message, if the user can just now. It does not wait for the answer.
	send(ctx context.Context, to int, content string)
	// ask asks a user to be a friend, likewise.
	ask(ctx context.Context, to int)
	// leave logs the user out until back is called.
	leave() (back func())
	// leaveOne closes one of two sockets until back is called.
	leaveOne() (back func())
	// pending counts the sends that may still be answered.
	pending() int
}

// friendly is a user who also has friends and devices: one of version 2.
type friendly interface {
	user
	// do does something, if the user can just now. It does not wait for the answer;
	// done of the deed is closed then, and also if nothing was done.
	do(ctx context.Context, d *Deed)
}

// person is what users on raw sockets are, of either version.
type person struct {
	// static
	name    string
	address string // host:port
	version int    // of the protocol
	rec     *recorder
	gate    gate          // of the first device
	second  gate          // of the other
	made    chan struct{} // closed when the account is made

	id      int // set before made is closed
	sockets atomic.Int64
	deleted atomic.Bool    // the account is, or is about to be
	aside   sync.WaitGroup // what is done by REST
	asking  atomic.Int64   // how much
}

func newPerson(name, address string, rec *recorder, version int) *person {
	return &person{name: name, address: address, rec: rec, version: version, made: make(chan struct{})}
}

func (p *person) ready(ctx context.Context) (int, error) {
	select {
	case <-p.made:
		return p.id, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("making %s: %w", p.name, ctx.Err())
	}
}

func (p *person) leave() (back func()) {
	one, other := p.gate.leave(), p.second.leave()
	return func() { one(); other() }
}

func (p *person) leaveOne() (back func()) { return p.second.leave() }

func (p *person) isMade() bool {
	select {
	case <-p.made:
		return true
	default:
		return false
	}
}

// make notes the id of a new account.
func (p *person) make(id int) {
	p.id = id
	p.rec.user(id, p.version)
	close(p.made)
}

// keep connects a device again and again until ctx ends. Each time connect is given
// a context that ends when the device has to go.
func (p *person) keep(ctx context.Context, first bool, connect func(ctx context.Context)) {
	g := &p.gate
	if !first {
		g = &p.second
		if _, err := p.ready(ctx); err != nil {
			return
		}
	}
	for {
		stay, end, ok := g.enter(ctx)
		if !ok {
			return
		}
		if !p.deleted.Load() {
			connect(stay)
		}
		end()
		if p.deleted.Load() {
			return
		}
		if !sleepUntil(ctx, time.Now().Add(rand.N(longestPause))) {
			return
		}
	}
}

// dial opens a socket.
func (p *person) dial(ctx context.Context) (*websocket.Conn, error) {
	dialer := websocket.Dialer{HandshakeTimeout: dialPatience}
	if p.version == 2 {
		dialer.Subprotocols = []string{"pymessage.v2"}
	}
	ws, _, err := dialer.DialContext(ctx, "ws://"+p.address+"/", nil)
	return ws, err
}

// exchange sends a request on a new socket and reads the answer.
func exchange(ws *websocket.Conn, request, answer any) error {
	_ = ws.SetWriteDeadline(time.Now().Add(writePatience)) // a broken socket shows below
	if err := ws.WriteJSON(request); err != nil {
		return err
	}
	_ = ws.SetReadDeadline(time.Now().Add(dialPatience))
	return ws.ReadJSON(answer)
}

// gate is where a device waits while it is to be away. The zero value is open.
type gate struct {
	mu   sync.Mutex
	away chan struct{}              // closed when the user is back; nil is open
	ends map[int]context.CancelFunc // of those who entered
	next int
}

// enter waits until the gate is open; ok is false if ctx has ended. The context that
// it gives ends when the user leaves, or by end.
func (g *gate) enter(ctx context.Context) (stay context.Context, end func(), ok bool) {
	for ctx.Err() == nil {
		g.mu.Lock()
		away := g.away
		if away == nil {
			stay, end = g.let(ctx)
		}
		g.mu.Unlock()
		if away == nil {
			return stay, end, true
		}
		select {
		case <-away:
		case <-ctx.Done():
		}
	}
	return nil, nil, false
}

// let needs g.mu.
func (g *gate) let(ctx context.Context) (stay context.Context, end func()) {
	stay, cancel := context.WithCancel(ctx)
	if g.ends == nil {
		g.ends = map[int]context.CancelFunc{}
	}
	g.next++
	number := g.next
	g.ends[number] = cancel
	return stay, func() {
		cancel()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.ends, number)
	}
}

// leave closes the gate until back is called. Of leaves at the same time the first
// counts.
func (g *gate) leave() (back func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away != nil {
		return func() {}
	}
	g.away = make(chan struct{})
	for _, end := range g.ends {
		end()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(g.away)
		g.away = nil
	}
}
