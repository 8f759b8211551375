package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"pymessage/services/gateway/wire"
)

const (
	// hardFrameLimit is the size beyond which a frame closes the socket (1009).
	// Between wire.MaxFrame and this it is read, thrown away and answered with an
	// error.
	hardFrameLimit = 1 << 20
	// maxUnanswered bounds the answers that a socket may owe, so that a client that
	// does not read cannot make us hoard them. It is above the default burst of
	// requests.
	maxUnanswered = 1024
	// maxBadFrames in a row close a socket.
	maxBadFrames = 100
	// closeGrace is how long a client may take to answer a close frame.
	closeGrace = time.Second
	// extendStep is how long the read deadline is left alone after it was moved.
	extendStep = 200 * time.Millisecond
)

// errFrameTooLong is a frame that was read and thrown away.
var errFrameTooLong = wire.BadRequest("frame is longer than " + strconv.Itoa(wire.MaxFrame) + " bytes")

// frameBuffer holds a frame while it is decoded.
type frameBuffer struct {
	bytes.Buffer
	limited io.LimitedReader
}

var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

// fill reads a frame, or what is enough of it to see that it is too long.
func (b *frameBuffer) fill(frame io.Reader) error {
	b.Reset()
	b.limited = io.LimitedReader{R: frame, N: wire.MaxFrame + 1}
	_, err := b.ReadFrom(&b.limited)
	b.limited.R = nil
	return err
}

// conn is one socket. One goroutine reads it; the flusher writes to it, and a goroutine of
// its own only while the client does not take what was written.
type conn struct {
	// Static after construction.
	srv     *Server
	ws      *websocket.Conn
	raw     syscall.RawConn // of ws; nil where there is none
	address string
	version wire.Version
	place   int // counts the sockets; spreads what is done for each of them
	limiter *rate.Limiter
	tasks   sync.WaitGroup // writing, and the opening of the inbox

	unconfirmed unconfirmed

	// Owned by the read loop.
	loginLeft time.Duration     // of the time for the login
	badFrames int               // in a row
	ref       string            // of the request that is worked on; version 2
	watching  bool              // the presence of friends
	typed     map[int]time.Time // when a user was told last that this one types
	extended  time.Time         // when the read deadline was moved

	// Guarded by user.mu.
	last   int64 // newest seq that was queued for this socket
	opened int64 // the newest seq when the socket began to follow the inbox
	live   bool  // follows the inbox
	syncAt int64 // version 2 is told when last has come here; -1: it was told

	// Written by the read loop under mu; it reads them without.
	user    *follower // nil before the login
	session string    // names the session, version 2

	mu        sync.Mutex // guards all below
	room      sync.Cond  // on mu: fewer answers owed, fewer sends in flight, or closed
	out       *outbox    // nil: nothing is to be written
	queued    int        // bytes that wait and are being written
	writing   bool       // the flusher has it, or is about to
	closed    bool       // nothing more is queued or written
	owed      int        // answers not written yet
	inFlight  int        // sends in a lane
	lane      *lane      // where the last send went
	stalled   bool       // an event did not fit into the queue: go on from the store when it is empty
	busy      bool       // a request other than a send is being worked on
	draining  bool       // requests are no longer accepted
	closing   bool       // a close frame is queued or written: nothing follows it
	leaving   bool       // logout is being worked on: its answer comes before the end
	revoked   bool       // the session is over
	pong      []byte     // payload of the pong that is queued; nil: none is
	dirty     bool       // events were written since the last ping
	unasked   int        // bytes of events written since then
	pinged    int64      // slice of the last ping
	turn      bool       // a turn to be pinged is to come
	epoch     string     // of the log that written and confirmed count in
	start     int        // counts the times that this socket began to follow the inbox
	written   int64
	confirmed int64 // newest seq that the client is known to have read

	stopOpening context.CancelFunc // of the opening of the inbox; nil before
}

type frameKind uint8

const (
	answerFrame frameKind = iota
	eventFrame
	pingFrame
	pongFrame
	closeFrame
)

// frame waits to be written to a socket.
type frame struct {
	kind  frameKind
	data  []byte // of an event that its version does not see: nil
	seq   int64  // of an event
	start int    // the conn's, when an event was queued

	sentAt int64 // Unix milliseconds of an event that was stored while the socket was there, or 0
}

func newConn(srv *Server, ws *websocket.Conn, address string, place int) *conn {
	version := wire.V1
	if ws.Subprotocol() == wire.Subprotocol2 {
		version = wire.V2
	}
	c := &conn{
		srv: srv, ws: ws, address: address, version: version, place: place, syncAt: -1,
		limiter:   rate.NewLimiter(rate.Limit(srv.cfg.RequestsPerSec), srv.cfg.RequestBurst),
		loginLeft: srv.cfg.LoginTimeout,
		pinged:    srv.slice.Load() - pingSlices, // long ago, also where the gateway has just begun
	}
	c.room.L = &c.mu
	ws.SetReadLimit(hardFrameLimit)
	ws.SetPongHandler(c.onPong)
	ws.SetPingHandler(c.onPing)
	ws.SetCloseHandler(c.onClose)
	if tcp, ok := ws.NetConn().(syscall.Conn); ok {
		c.raw, _ = tcp.SyscallConn()
	}
	return c
}

// serve reads the socket until it ends, and cleans up.
func (c *conn) serve() {
	defer c.end()
	for {
		req, err := c.read()
		if _, ok := errors.AsType[wire.Error](err); err != nil && !ok {
			c.readFailed(err)
			return
		}
		c.handle(req, err)
		if !c.awaitRoom() {
			return
		}
	}
}

// read gives the next request. A frame that is none is a wire.Error; any other error
// is the end of the socket.
func (c *conn) read() (wire.Request, error) {
	kind, r, err := c.nextFrame()
	if err != nil {
		return wire.Request{}, err
	}
	if kind != websocket.TextMessage {
		return wire.Request{}, discard(r, wire.BadRequest("frame is binary, not text"))
	}
	buffer := frameBuffers.Get().(*frameBuffer) // taken as late as this: most sockets are idle
	defer frameBuffers.Put(buffer)
	if err := buffer.fill(r); err != nil {
		return wire.Request{}, err
	}
	if buffer.Len() > wire.MaxFrame {
		return wire.Request{}, discard(r, errFrameTooLong)
	}
	return wire.Decode(buffer.Bytes(), c.version)
}

// nextFrame waits for a frame. It owns the read deadline: before the login what is
// left of its time, later heartbeat and patience.
func (c *conn) nextFrame() (kind int, r io.Reader, err error) {
	if c.user != nil {
		err = c.extend()
	} else {
		began := time.Now()
		defer func() { c.loginLeft -= time.Since(began) }()
		err = c.ws.SetReadDeadline(began.Add(c.loginLeft))
	}
	if err != nil {
		return 0, nil, err
	}
	return c.ws.NextReader()
}

// extend moves the read deadline, though not with every frame: that would cost as
// much as decoding it.
func (c *conn) extend() error {
	now := time.Now()
	if now.Sub(c.extended) < extendStep {
		return nil
	}
	c.extended = now
	return c.ws.SetReadDeadline(now.Add(c.srv.cfg.Heartbeat + c.srv.cfg.Patience))
}

// discard reads the rest of a frame, and says why.
func discard(r io.Reader, why error) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return why
}

// readFailed says why to a client that was too slow.
func (c *conn) readFailed(err error) {
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return
	}
	if c.user == nil {
		c.close(wire.CloseNoLogin, "no login in time")
		return
	}
	c.close(wire.CloseNoHeartbeat, "no heartbeat")
}

// end runs when the read loop is over. Whoever still holds the conn finds it
// closed; the goroutines that belong to it are waited for.
func (c *conn) end() {
	c.flushClose()
	if c.user != nil {
		if c.watching {
			c.srv.presence.unwatch(c)
		}
		c.srv.hub.leave(c.user, c)
		c.srv.positions.flushSoon()
	}
	c.mu.Lock()
	c.closed = true
	c.room.Broadcast()
	if c.stopOpening != nil {
		c.stopOpening()
	}
	c.mu.Unlock()
	c.ws.Close()
	c.tasks.Wait()
	c.srv.forget(c)
}

// flushClose gives the writer a moment to write a close frame.
func (c *conn) flushClose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		return
	}
	stop := time.AfterFunc(closeGrace, func() { c.ws.Close() })
	defer stop.Stop()
	for c.writing && !c.closed {
		c.room.Wait()
	}
}

// awaitRoom blocks while the client owes too much reading. It is false when the
// socket is closed.
func (c *conn) awaitRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && c.owed+c.inFlight >= maxUnanswered {
		c.room.Wait()
	}
	return !c.closed
}

// begin says whether a request may still be worked on, and makes a drain wait for
// it until finish is called.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = !c.draining && !c.closed
	return c.busy
}

func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	c.room.Broadcast()
}

// awaitSends blocks until every send of this socket is answered, so that the next
// answer comes in its order.
func (c *conn) awaitSends() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && c.inFlight > 0 {
		c.room.Wait()
	}
}

// beginSend counts a send that enters a lane, and says which; nil if it must not. The
// next ones go to the same lane for as long as one may be stored yet, so that their
// order stays.
func (c *conn) beginSend() *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining || c.closed {
		return nil
	}
	if c.lane == nil || c.inFlight == 0 && !c.lane.inDoubt.Load() {
		c.lane = c.srv.lane()
	}
	c.inFlight++
	return c.lane
}

// endSend answers a send that comes out of a lane.
func (c *conn) endSend(answer []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight--
	c.enqueue(frame{kind: answerFrame, data: answer})
	c.room.Broadcast()
}

// answer queues an answer. Answers are never dropped.
func (c *conn) answer(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(frame{kind: answerFrame, data: data})
}

// event queues an event, or says that the queue is full: then the socket goes on
// from the store once the queue has drained.
func (c *conn) event(data []byte, seq, sentAt int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled || c.closing {
		return false
	}
	if c.queued > 0 && c.queued+len(data) > c.srv.cfg.QueueBytes {
		c.stalled = true
		c.srv.metrics.stalls.Inc()
		return false
	}
	c.enqueue(frame{kind: eventFrame, data: data, seq: seq, start: c.start, sentAt: sentAt})
	return true
}

// isStalled says whether the socket takes no events: it waits for its queue to drain,
// or is about to end.
func (c *conn) isStalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalled || c.closing
}

// notice queues what is no event of the inbox, however full the queue is: there is
// little of it.
func (c *conn) notice(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(frame{kind: eventFrame, data: data})
}

// follows is the follower of the socket's user, for other goroutines than the read
// loop.
func (c *conn) follows() *follower {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user
}

// ping queues a ping, which carries the newest seq written before it.
func (c *conn) ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(frame{kind: pingFrame})
}

// onPing queues a pong. The library's own would be written beside the writer, with a
// deadline that counts for the writer too. Of several pings the newest is answered.
func (c *conn) onPing(payload string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pong == nil {
		c.enqueue(frame{kind: pongFrame})
	}
	c.pong = []byte(payload)
	return nil
}

// onClose answers a close frame of the client's, unless that is itself the answer to ours.
func (c *conn) onClose(code int, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing = true
		c.enqueue(frame{kind: closeFrame, data: websocket.FormatCloseMessage(code, "")})
	}
	return nil
}

// close queues a close frame behind everything else; the client's answer to it, or
// closeGrace, ends the socket.
func (c *conn) close(code wire.CloseCode, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.draining, c.closing = true, true
	c.srv.metrics.closes.WithLabelValues(strconv.Itoa(int(code))).Inc()
	c.enqueue(frame{kind: closeFrame, data: websocket.FormatCloseMessage(int(code), why)})
}
