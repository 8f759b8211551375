package gateway

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/services/gateway/wire"
)

// enqueue adds f to the queue and starts a writer where there is none. It needs
// c.mu.
func (c *conn) enqueue(f frame) {
	if c.closed {
		return
	}
	c.queue = append(c.queue, f)
	c.queued += len(f.data)
	if !c.writing {
		c.writing = true
		c.tasks.Go(c.write)
	}
}

// write is the writer: it writes until the queue is empty, then ends.
func (c *conn) write() {
	var batch []frame
	for {
		var resume bool
		batch, resume = c.takeQueue(batch)
		if len(batch) == 0 {
			if resume {
				c.user.resume()
			}
			return
		}
		for _, f := range batch {
			if err := c.writeFrame(f); err != nil {
				c.countSlow(err)
				c.abort()
				return
			}
		}
		c.srv.metrics.wrote(batch, time.Now())
		c.wrote(batch)
	}
}

// countSlow counts a write that failed because the client did not read.
func (c *conn) countSlow(err error) {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		c.srv.metrics.slowCloses.Inc()
	}
}

// takeQueue gives what is queued, and takes done, the last batch, for reuse. When
// there is nothing left the writer is over, and resume says whether the socket has
// to go on from the store.
func (c *conn) takeQueue(done []frame) (batch []frame, resume bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || c.closed {
		resume = c.stalled && !c.closed
		c.stalled = false
		c.writing = false
		c.queue = nil
		c.room.Broadcast()
		return nil, resume
	}
	batch = c.queue
	clear(done)
	c.queue = done[:0]
	return batch, false
}

// writeFrame writes one frame within the patience for a client that does not read.
func (c *conn) writeFrame(f frame) error {
	deadline := time.Now().Add(c.srv.cfg.Patience)
	switch f.kind {
	case pingFrame:
		c.mu.Lock()
		payload := pingPayload(c.written, c.start)
		c.dirty, c.pinged = false, time.Now()
		c.mu.Unlock()
		return c.ws.WriteControl(websocket.PingMessage, []byte(payload), deadline)
	case closeFrame:
		err := c.ws.WriteControl(websocket.CloseMessage, f.data, deadline)
		time.AfterFunc(closeGrace, func() { c.ws.Close() })
		return err
	}
	if f.data != nil {
		if err := c.ws.SetWriteDeadline(deadline); err != nil {
			return err
		}
		if err := c.ws.WriteMessage(websocket.TextMessage, f.data); err != nil {
			return err
		}
	}
	if f.kind == eventFrame && f.seq > 0 {
		c.wroteEvent(f)
	}
	return nil
}

// wroteEvent notes the newest seq for the next ping, which version 1 confirms by its
// pong. It follows at once where the last one was a while ago, so that a client that
// only looks in confirms too; otherwise within pingTick.
func (c *conn) wroteEvent(f frame) {
	c.mu.Lock()
	if f.start != c.start { // of a log that is no more
		c.mu.Unlock()
		return
	}
	c.written = f.seq
	first := !c.dirty && c.version == wire.V1
	c.dirty = true
	late := time.Since(c.pinged) >= pingTick
	if first && late {
		c.enqueue(frame{kind: pingFrame})
	}
	c.mu.Unlock()
	if first && !late {
		c.srv.pings.add(c)
	}
}

// wrote accounts for a batch.
func (c *conn) wrote(batch []frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range batch {
		c.queued -= len(f.data)
		if f.kind == answerFrame {
			c.owed--
		}
	}
	c.room.Broadcast()
}

// abort ends the socket after a write that did not succeed.
func (c *conn) abort() {
	c.mu.Lock()
	c.closed = true
	c.writing = false
	c.queue = nil
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
	}
	if c.user == nil {
		return nil // the time for the login goes on
	}
	return c.ws.SetReadDeadline(time.Now().Add(c.srv.cfg.Heartbeat + c.srv.cfg.Patience))
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
