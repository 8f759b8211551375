package chaos

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// relayBuffer is small, so that a side that does not read is soon felt by the other,
// but not less than two segments of the loopback, which would go at a snail's pace.
const relayBuffer = 128 << 10

// pumpBuffer is what a relay carries at once.
const pumpBuffer = 64 << 10

// relay is a network that breaks on demand: it hands the bytes of each connection on
// to a target, and cuts or holds them up when told.
type relay struct {
	listener net.Listener
	narrow   bool                   // it holds no more than relayBuffer
	target   atomic.Pointer[string] // host:port
	dropping atomic.Bool            // what comes from the target ends the connection
	running  sync.WaitGroup

	mu     sync.Mutex // guards all below
	closed bool
	links  map[*link]struct{}
	freed  chan struct{} // closed while answers may pass; nil is never frozen
}

// link is one connection through a relay.
type link struct {
	relay            *relay
	client, upstream *net.TCPConn
}

// newRelay listens on a free port of this machine. One that is narrow holds little
// while it is frozen.
func newRelay(narrow bool) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, narrow: narrow, links: map[*link]struct{}{}, freed: make(chan struct{})}
	close(r.freed)
	r.running.Go(r.accept)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) lead(target string) { r.target.Store(&target) }

// close cuts everything and waits for the end.
func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cut(nil)
	r.thaw()
	r.running.Wait()
	return err
}

func (r *relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.running.Go(func() { r.connect(conn.(*net.TCPConn)) })
	}
}

func (r *relay) connect(client *net.TCPConn) {
	target := r.target.Load()
	if target == nil {
		reset(client)
		return
	}
	upstream, err := net.Dial("tcp", *target)
	if err != nil {
		reset(client)
		return
	}
	l := &link{relay: r, client: client, upstream: upstream.(*net.TCPConn)}
	if r.narrow {
		_ = l.client.SetWriteBuffer(relayBuffer) // it works without, only less well
		_ = l.upstream.SetReadBuffer(relayBuffer)
	}
	if !r.add(l) {
		reset(l.client)
		reset(l.upstream)
		return
	}
	r.running.Go(l.pumpRequests)
	l.pumpAnswers()
	r.remove(l)
}

func (r *relay) add(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.links[l] = struct{}{}
	}
	return !r.closed
}

func (r *relay) remove(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
}

// reset closes a connection so that the other side gets a RST, and loses what it has
// not read.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails only on a connection that is closed
	conn.Close()
}

// pumpRequests hands on what the client sends, until either side has ended.
func (l *link) pumpRequests() {
	buffer := make([]byte, pumpBuffer)
	for {
		n, err := l.client.Read(buffer)
		if err == nil {
			_, err = l.upstream.Write(buffer[:n])
		}
		if err != nil {
			l.endBoth(err)
			return
		}
	}
}

// pumpAnswers hands on what the target sends.
func (l *link) pumpAnswers() {
	buffer := make([]byte, pumpBuffer)
	for {
		<-l.relay.passage()
		n, err := l.upstream.Read(buffer)
		if err == nil && l.relay.dropping.Load() {
			err = errors.New("the answer is lost")
		}
		if err == nil {
			<-l.relay.passage()
			_, err = l.client.Write(buffer[:n])
		}
		if err != nil {
			l.endBoth(err)
			return
		}
	}
}

// endBoth passes an end on. A side that was cut leaves the other alone until heal.
func (l *link) endBoth(err error) {
	switch {
	case errors.Is(err, net.ErrClosed):
	case errors.Is(err, io.EOF): // in good order, or killed: what was sent before arrives
		l.client.Close()
		l.upstream.Close()
	default:
		reset(l.client)
		reset(l.upstream)
	}
}

// passage is closed while answers may pass.
func (r *relay) passage() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.freed
}

// freeze holds up what comes from the target, as if the client did not read.
func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.freed:
		r.freed = make(chan struct{})
	default: // is frozen
	}
}

func (r *relay) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.freed:
	default:
		close(r.freed)
	}
}

// side is an end of a connection.
type side int

const (
	clientSide side = iota
	serverSide
)

// cut resets connections: of both sides if only is nil. Otherwise that side alone
// learns of it, and heal tells the other.
func (r *relay) cut(only *side) (heal func()) {
	r.mu.Lock()
	var links []*link
	for l := range r.links {
		links = append(links, l)
	}
	r.mu.Unlock()
	for _, l := range links {
		if only == nil || *only == clientSide {
			reset(l.client)
		}
		if only == nil || *only == serverSide {
			reset(l.upstream)
		}
	}
	return func() {
		for _, l := range links {
			reset(l.client)
			reset(l.upstream)
		}
	}
}
