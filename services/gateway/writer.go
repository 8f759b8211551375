package gateway

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/services/gateway/wire"
)

// writeSize is how many bytes of frames are joined into one write, and so what a
// client has to take within the patience.
const writeSize = 16 << 10

// pingBytes is how many bytes of events go between two pings at most. Over a slow line
// a ping of every pingTick would come late, behind all that the line holds, and what
// the client has read long before would not be confirmed.
const pingBytes = 64 << 10

// errFull is a write that would have to wait.
var errFull = errors.New("the socket takes no more for now")

// outbox is what a socket is written from. Only one that is written to has an outbox.
type outbox struct {
	waiting []frame // guarded by the conn's mu; all below is the writer's

	writing []frame // what was taken
	left    []frame // the part of writing that is not in joined yet
	joined  []byte  // frames are joined in it
	unsent  []byte  // the part of joined that is to be written

	try   func(fd uintptr) // tryWrite, for a syscall.RawConn
	tried error
}

var outboxes = sync.Pool{New: func() any {
	o := new(outbox)
	o.try = o.tryWrite
	return o
}}

// keptFrames is how long the lists of an outbox may be that is used again.
const keptFrames = 1024

// giveBack gives an outbox to the next socket. It must hold nothing.
func (o *outbox) giveBack() {
	if cap(o.waiting) <= keptFrames && cap(o.writing) <= keptFrames {
		outboxes.Put(o)
	}
}

// tryWrite writes as much as the socket takes at once.
func (o *outbox) tryWrite(fd uintptr) {
	for len(o.unsent) > 0 {
		n, err := syscall.Write(int(fd), o.unsent)
		if n > 0 {
			o.unsent = o.unsent[n:]
		}
		if o.tried = err; err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// enqueue adds f to what waits, unless a close frame is the last of it, and has it
// written. It needs c.mu.
func (c *conn) enqueue(f frame) {
	if c.closed || c.closing && f.kind != closeFrame {
		return
	}
	if f.kind == answerFrame {
		c.owed++
	}
	if c.out == nil {
		c.out = outboxes.Get().(*outbox)
	}
	c.out.waiting = append(c.out.waiting, f)
	c.queued += len(f.data)
	if !c.writing {
		c.writing = true
		c.tasks.Add(1)
		c.srv.flusher.add(c)
	}
}

// write is the writer: it writes all that waits, in as few writes as writeSize allows: a
// write costs more than all else that is done for a frame. It does not wait for a client
// that reads slowly; a goroutine of the socket's own does, until the client has taken this
// much.
func (c *conn) write() {
	out := c.takeWaiting()
	err := c.writeOut(out, c.writeNow)
	if errors.Is(err, errFull) {
		go func() { c.wrote(out, c.writeOut(out, c.writePatiently)) }()
		return
	}
	c.wrote(out, err)
}

// takeWaiting takes what waits to be written: nothing once the socket is closed.
func (c *conn) takeWaiting() *outbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	if !c.closed {
		out.waiting, out.writing = out.writing, out.waiting
		out.left = out.writing
	}
	return out
}

// wrote goes on after a write: with what came meanwhile, if the write succeeded.
func (c *conn) wrote(out *outbox, err error) {
	if err != nil {
		c.countSlow(err)
		c.abort()
		c.tasks.Done()
		return
	}
	c.srv.metrics.wrote(out.writing)
	if n := len(out.writing); n > 0 && out.writing[n-1].kind == closeFrame {
		time.AfterFunc(closeGrace, func() { c.ws.Close() })
	}
	more, resume := c.settle(out)
	if more {
		c.srv.flusher.add(c)
		return
	}
	out.giveBack()
	if resume {
		c.user.resume()
	}
	c.tasks.Done()
}

// countSlow counts a write that failed because the client did not read.
func (c *conn) countSlow(err error) {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		c.srv.metrics.slowCloses.Inc()
	}
}

// settle counts as done what was written. When there is nothing more the writer is over,
// and resume says whether the socket has to go on from the store.
func (c *conn) settle(out *outbox) (more, resume bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range out.writing {
		c.queued -= len(f.data)
		if f.kind == answerFrame {
			c.owed--
		}
	}
	c.room.Broadcast()
	clear(out.writing)
	out.writing = out.writing[:0]
	if len(out.waiting) > 0 && !c.closed {
		return true, false
	}
	resume = c.stalled && !c.closed && !c.closing
	c.stalled = false
	c.writing = false
	c.out = nil
	clear(out.waiting)
	out.waiting = out.waiting[:0]
	return false, resume
}

// writeOut writes what was taken, by write, or what of it is left.
func (c *conn) writeOut(out *outbox, write func(*outbox) error) error {
	for {
		if len(out.unsent) > 0 {
			if err := write(out); err != nil {
				return err
			}
		}
		if len(out.left) == 0 {
			return nil
		}
		out.joined, out.left = c.assemble(out.joined[:0], out.left)
		out.unsent = out.joined
	}
}

// writeNow writes what the socket takes at once. It is errFull when that is not all.
func (c *conn) writeNow(out *outbox) error {
	if c.raw == nil {
		return errFull
	}
	if err := c.raw.Control(out.try); err != nil { // heeds no deadline, and nobody else who writes
		return err
	}
	if errors.Is(out.tried, syscall.EAGAIN) {
		return errFull
	}
	return out.tried
}

// writePatiently writes within the patience for a client that does not read.
func (c *conn) writePatiently(out *outbox) error {
	tcp := c.ws.NetConn()
	if err := tcp.SetWriteDeadline(time.Now().Add(c.srv.cfg.Patience)); err != nil {
		return err
	}
	n, err := tcp.Write(out.unsent)
	out.unsent = out.unsent[n:]
	return err
}

// assemble adds frames of batch to out, as many as make a write, and gives the rest. What
// it adds counts as written: whoever hears of it hears it from the client.
func (c *conn) assemble(out []byte, batch []frame) (bytes []byte, rest []frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range batch {
		if len(out) > 0 && len(out)+len(f.data) > writeSize {
			return c.appendDue(out), batch[i:]
		}
		switch {
		case f.kind == pingFrame:
			out = c.appendPing(out)
		case f.kind == pongFrame:
			out = appendFrame(out, websocket.PongMessage, c.pong)
			c.pong = nil
		case f.kind == closeFrame:
			return appendFrame(c.appendDue(out), websocket.CloseMessage, f.data), nil // nothing follows it
		case f.data != nil:
			out = appendFrame(out, websocket.TextMessage, f.data)
		}
		if f.kind == eventFrame && f.seq > 0 {
			c.wroteEvent(f)
			if c.unasked += len(f.data); c.unasked >= pingBytes && c.version == wire.V1 {
				out = c.appendPing(out)
			}
		}
	}
	return c.appendDue(out), nil
}

// appendDue has version 1 asked for the events that were written: at once where the last
// ping was a while ago, and so in the write of the events, which costs far less than a
// ping by itself, and lets a client that only looks in confirm too; otherwise in turn. It
// needs c.mu.
func (c *conn) appendDue(out []byte) []byte {
	if !c.dirty || c.version != wire.V1 {
		return out
	}
	if c.sincePing() >= pingAfter {
		return c.appendPing(out)
	}
	c.srv.pingInTurn(c)
	return out
}

// sincePing is how many slices ago the last ping was written. It needs c.mu.
func (c *conn) sincePing() int64 { return c.srv.slice.Load() - c.pinged }

// appendPing adds a ping, which asks for all events before it. It needs c.mu.
func (c *conn) appendPing(out []byte) []byte {
	c.dirty, c.pinged, c.unasked = false, c.srv.slice.Load(), 0
	return appendFrame(out, websocket.PingMessage, pingPayload(c.written, c.start))
}

// wroteEvent notes the newest seq for the next ping, which version 1 confirms by its
// pong. It needs c.mu.
func (c *conn) wroteEvent(f frame) {
	if f.start == c.start { // else it is of a log that is no more
		c.written, c.dirty = f.seq, true
	}
}

// appendFrame adds a frame of a server, which is not masked (RFC 6455 section 5.2).
func appendFrame[Payload []byte | string](out []byte, opcode int, payload Payload) []byte {
	const final = 0x80
	out = append(out, final|byte(opcode))
	switch n := len(payload); {
	case n < 126:
		out = append(out, byte(n))
	case n <= math.MaxUint16:
		out = binary.BigEndian.AppendUint16(append(out, 126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 127), uint64(n))
	}
	return append(out, payload...)
}

// abort ends the socket after a write that did not succeed.
func (c *conn) abort() {
	c.mu.Lock()
	c.closed = true
	c.writing = false
	c.out = nil
	c.room.Broadcast()
	c.mu.Unlock()
	c.ws.Close() // ends the read loop too
}

// onPong learns from a pong what the client has read: everything that was written
// before the ping of the same payload. It runs in the read loop.
func (c *conn) onPong(payload string) error {
	c.mu.Lock()
	seq, ok := readPing(payload, c.start)
	news := ok && seq <= c.written && seq > c.confirmed
	if news {
		c.confirmed = seq
	}
	epoch := c.epoch
	c.room.Broadcast() // a drain may be waiting for it
	c.mu.Unlock()
	if news && c.user != nil && c.version == wire.V1 { // version 2 acknowledges by itself
		c.srv.positions.note(c.user.id, epoch, seq)
		c.tellSenders(seq)
	}
	if c.user == nil {
		return nil // the time for the login goes on
	}
	return c.extend()
}

// pingPayload says what a pong of the same payload confirms: everything up to seq,
// since the socket last began to follow the inbox.
func pingPayload(seq int64, start int) string {
	return strconv.FormatInt(seq, 10) + "." + strconv.Itoa(start)
}

// readPing is the seq of a payload, if it is of this start.
func readPing(payload string, start int) (seq int64, ok bool) {
	number, of, _ := strings.Cut(payload, ".")
	seq, err := strconv.ParseInt(number, 10, 64)
	return seq, err == nil && of == strconv.Itoa(start)
}
