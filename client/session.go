package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// readPatience is how long nothing may come. The server pings every 25 s, and has
	// 10 s of patience of its own.
	readPatience = 40 * time.Second
	// writePatience is how long a frame may take to be written.
	writePatience = 10 * time.Second
	// closeGrace is how long the other side has to say goodbye, or why it left.
	closeGrace = time.Second
	// maxFrame bounds what the server may send. The longest is a list of friends, of
	// some 60 bytes each.
	maxFrame = 4 << 20
)

// session is one connection: a reader, in the goroutine that calls run, and a
// writer.
type session struct {
	c      *Client
	ws     *websocket.Conn
	ctx    context.Context // ends with the connection, with the reason as its cause
	cancel context.CancelCauseFunc

	// Owned by the reader.
	limit   time.Time // of the login or the goodbye; zero: none
	epoch   string    // of the log that events count in
	synced  bool      // what waited has come
	dropped bool      // events were dropped for want of room: all that follow are, too
	ahead   ahead
}

func newSession(c *Client, ws *websocket.Conn) *session {
	s := &session{c: c, ws: ws}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	ws.SetReadLimit(maxFrame)
	ws.SetPingHandler(s.onPing)
	return s
}

// onPing answers a ping, but in version 1 not after events were dropped: the pong
// would confirm them.
func (s *session) onPing(payload string) error {
	if s.c.version1() && s.dropped {
		return nil
	}
	// Where this fails the connection is over, and the reader may still find out why.
	_ = s.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writePatience))
	return s.ws.SetReadDeadline(s.deadline())
}

// run serves a connection that is logged in. It returns why the connection ended.
func (s *session) run() error {
	defer context.AfterFunc(s.ctx, func() { s.ws.Close() })()
	s.c.acks.begin(s.epoch)
	var writer sync.WaitGroup
	writer.Go(s.write)
	s.cancel(s.read())
	writer.Wait()
	s.ws.Close()
	s.c.calls.lost()
	return context.Cause(s.ctx)
}

// read is the reader.
func (s *session) read() error {
	for {
		f, err := s.next()
		if err == nil {
			err = s.dispatch(f)
		}
		if err == nil && s.ahead.isLate(s.c.track.at.seq) || isTimeout(err) && s.ahead.seq > 0 {
			err = s.missing()
		}
		if err != nil {
			return err
		}
	}
}

// deadline is until when something has to come.
func (s *session) deadline() time.Time {
	if !s.limit.IsZero() {
		return s.limit
	}
	limit := time.Now().Add(readPatience)
	if s.ahead.seq > 0 && s.ahead.until.Before(limit) {
		return s.ahead.until
	}
	return limit
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// next reads a frame.
func (s *session) next() (*frame, error) {
	if err := s.ws.SetReadDeadline(s.deadline()); err != nil {
		return nil, err
	}
	_, data, err := s.ws.ReadMessage()
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return nil, &CloseError{closed.Code, closed.Text}
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	f := new(frame)
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("the server sent what is no frame: %w", err)
	}
	f.raw = data
	return f, nil
}

// write is the writer: requests, and acks.
func (s *session) write() {
	err := s.writeCalls()
	// The reader may find out why, or get the answer to our goodbye.
	late := time.NewTimer(closeGrace)
	defer late.Stop()
	select {
	case <-late.C:
		s.cancel(err)
	case <-s.ctx.Done():
	}
}

// writeCalls ends with the connection, or with a goodbye when the handler is over.
func (s *session) writeCalls() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, err := s.putDue()
		if err != nil {
			return err
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-s.c.calls.more:
		case <-s.c.acks.more:
		case <-timer.C:
		case <-s.c.handled:
			return s.goodbye()
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// putDue writes all there is to write. wait is when there will be an ack, if it is
// not 0.
func (s *session) putDue() (wait time.Duration, err error) {
	for {
		seq, wait := s.c.acks.due(false)
		if err := s.ack(seq); err != nil {
			return 0, err
		}
		call := s.c.calls.take()
		if call == nil {
			return wait, nil
		}
		if err := s.put(call.data); err != nil {
			return 0, err
		}
	}
}

// ack confirms events up to seq. It is not answered; where it gets lost the next
// one says more.
func (s *session) ack(seq int64) error {
	if seq == 0 {
		return nil
	}
	return s.put(encode(&ackRequest{head{Type: "ack"}, seq}))
}

// goodbye confirms what was handled and begins the closing handshake.
func (s *session) goodbye() error {
	seq, _ := s.c.acks.due(true)
	if err := s.ack(seq); err != nil {
		return err
	}
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return s.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(writePatience))
}

func (s *session) put(data []byte) error {
	if err := s.ws.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	if err := s.ws.WriteMessage(websocket.TextMessage, data); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
