package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// subprotocol asks for version 2.
const subprotocol = "pymessage.v2"

const (
	// dialTimeout bounds a connection attempt and its handshakes: a host that does not
	// answer must not keep us from the next.
	dialTimeout = 10 * time.Second
	readBuffer  = 4 << 10 // of each connection: frames are short
	writeBuffer = 4 << 10 // pooled: only a connection that is written to has one
)

var writeBuffers sync.Pool

var (
	// errResume ends a connection that logged in by pin although the user is somewhere
	// in the log already: only a resume says where.
	errResume = errors.New("logged in, to resume with the new token")
	// errBehind ends a connection that dropped events, when there is room for them.
	errBehind = errors.New("there is room again for the events that were dropped")
	// errGap ends a connection that has left out an event.
	errGap = errors.New("an event is missing")
)

// keepConnected makes one connection after the other. It returns when ctx ends, or
// the error after which there is no use in going on.
func (c *Client) keepConnected(ctx context.Context) error {
	for {
		url := c.cfg.URLs[c.turn%len(c.cfg.URLs)]
		err := c.connect(ctx, url)
		if isSessionOver(err) {
			c.forgetToken()
		}
		if ctx.Err() != nil || c.isFinal(err) {
			return err
		}
		pause := c.pauseAfter(err)
		c.cfg.Logger.Info("not connected", "url", url, "err", err, "pause", pause)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// connect makes a connection and serves it until it ends. The error is never nil.
func (c *Client) connect(ctx context.Context, url string) error {
	s, err := c.login(ctx, url)
	if err == nil {
		c.status(Status{Connected: true, URL: url})
		began := time.Now()
		err = s.run()
		if time.Since(began) >= stableAfter {
			c.failures = backoff{}
		}
	}
	c.status(Status{URL: url, Err: err})
	return err
}

func (c *Client) status(s Status) {
	if c.cfg.OnStatus != nil {
		c.cfg.OnStatus(s)
	}
}

// login makes a connection that is logged in.
func (c *Client) login(ctx context.Context, url string) (*session, error) {
	ws, err := c.dial(ctx, url)
	if err != nil {
		return nil, err
	}
	s := newSession(c, ws)
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	if err = s.enter(); err != nil && errorIsAnswer(err) {
		err = s.leave(err)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.cancel(err)
		ws.Close()
		return nil, err
	}
	return s, nil
}

func errorIsAnswer(err error) bool {
	var answer *Error
	return errors.As(err, &answer) || errors.Is(err, errResume)
}

// dial opens a WebSocket.
func (c *Client) dial(ctx context.Context, url string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	release := func() bool { return true }
	d := websocket.Dialer{
		TLSClientConfig: c.cfg.TLS, ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &writeBuffers,
		// The library notices the end of ctx only while it dials, not in the handshake.
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := c.cfg.DialContext(ctx, network, address)
			if err == nil {
				release = context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	}
	if !c.version1() {
		d.Subprotocols = []string{subprotocol}
	}
	ws, resp, err := d.DialContext(ctx, url, c.cfg.Header)
	if ended := !release(); ended && err == nil {
		ws.Close()
		err = ctx.Err()
	}
	switch {
	case err != nil && resp != nil:
		return nil, fmt.Errorf("connect: %w: status %d", err, resp.StatusCode)
	case err != nil:
		return nil, fmt.Errorf("connect: %w", err)
	case !c.version1() && ws.Subprotocol() != subprotocol:
		ws.Close() // an older gateway, while others are newer: any other may do
		return nil, errors.New("connect: the server does not speak version 2")
	}
	return ws, nil
}

// isFinal says that there is no use in coming back.
func (c *Client) isFinal(err error) bool {
	var closed *CloseError
	switch {
	case isSessionOver(err):
		return c.cfg.Pin == "" || c.loggedOut.Load()
	case errors.As(err, &closed):
		return closed.forGood()
	case errors.Is(err, ErrAccNotFound):
		// Also later: the pin was changed or the account deleted, and with a wrong pin
		// over and over we would lock the user out.
		return true
	case c.isReady():
		return false
	}
	return errors.Is(err, ErrUsernameTaken) || errors.Is(err, ErrCreateFailed) || errors.Is(err, ErrBadRequest)
}

// isSessionOver says that the token is of no use any more: it has run out or was
// revoked.
func isSessionOver(err error) bool { return errors.Is(err, ErrTokenInvalid) }

// isReady says that there was a login.
func (c *Client) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// pauseAfter says how long to wait before the next connection, and turns to the
// next URL where this one is to blame.
func (c *Client) pauseAfter(err error) time.Duration {
	if errors.Is(err, errResume) || errors.Is(err, errBehind) {
		return 0
	}
	c.turn++
	var closed *CloseError
	if errors.As(err, &closed) && closed.Code == closeRestart {
		return upTo(restartPause)
	}
	pause := c.failures.next()
	var answer *Error
	if errors.As(err, &answer) {
		pause += answer.RetryAfter
	}
	return pause
}
