package stream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
)

const (
	dialTimeout = 2 * time.Second // a pod that is gone must not hold a call for long
	// connLife is after how long a connection is made anew, so that pods that came
	// meanwhile get their share of the calls.
	connLife = 5 * time.Minute
)

// ErrNotSpoken says that the service does not know this kind of call: it is of an
// earlier version.
var ErrNotSpoken = errors.New("the service does not speak " + protocol)

// Client makes calls, on as many connections as there are calls at a time.
type Client struct {
	url    string // static, as is the secret
	secret string

	mu     sync.Mutex // guards all below
	idle   []*conn    // the one used last is the last
	closed bool
}

// conn is a connection, owned by one call at a time.
type conn struct {
	net.Conn
	r      *bufio.Reader
	buf    []byte
	born   time.Time
	used   time.Time
	reused bool
}

// NewClient makes a client of the route at url, http or https.
func NewClient(url, secret string) *Client { return &Client{url: url, secret: secret} }

// Close gives up the connections that are idle, and the others after their calls.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.drop()
}

// drop closes what is idle. It needs mu.
func (c *Client) drop() {
	for _, each := range c.idle {
		each.Close()
	}
	c.idle = nil
}

// Call makes a call: encode appends it to b, decode is given the answer, which it must
// not keep. The error is a fault: the service's own, or Unavailable when it could not be
// reached, did not answer in time or broke off, after which the call may or may not have
// been carried out. Or it is ErrNotSpoken.
func (c *Client) Call(ctx context.Context, encode func(b []byte) []byte, decode func(answer []byte) error) error {
	conn, err := c.take(ctx)
	if err != nil {
		return err
	}
	answer, err := conn.call(ctx, encode)
	if err != nil && conn.reused && ctx.Err() == nil {
		// The service went away since the last call, and so did its other connections.
		c.forget()
		if conn, err = c.dial(ctx); err != nil {
			return err
		}
		answer, err = conn.call(ctx, encode)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "service unavailable")
	}
	if answer, err = readAnswer(answer); err == nil {
		if err = decode(answer); err != nil {
			err = fault.Wrap(fault.Unavailable, err, "service gave a broken answer")
		}
	}
	c.put(conn)
	return err
}

// take gives a connection that is idle, or a new one.
func (c *Client) take(ctx context.Context) (*conn, error) {
	now := time.Now()
	c.mu.Lock()
	for len(c.idle) > 0 {
		last := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		if now.Sub(last.used) < idleTime && now.Sub(last.born) < connLife {
			c.mu.Unlock()
			last.reused = true
			return last, nil
		}
		last.Close()
	}
	c.mu.Unlock()
	return c.dial(ctx)
}

// put makes a connection idle.
func (c *Client) put(conn *conn) {
	conn.used, conn.buf = time.Now(), keep(conn.buf)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return
	}
	c.idle = append(c.idle, conn)
}

func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// dial connects and asks for the upgrade.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	req.Header.Set(httpjson.SecretHeader, c.secret)
	tcp, err := connect(ctx, req.URL)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "service unavailable")
	}
	now := time.Now()
	opened := &conn{Conn: tcp, r: bufio.NewReader(tcp), born: now, used: now}
	if err := opened.upgrade(ctx, req); err != nil {
		tcp.Close()
		return nil, err
	}
	return opened, nil
}

func connect(ctx context.Context, to *url.URL) (net.Conn, error) {
	port := to.Port()
	if port == "" {
		port = to.Scheme
	}
	address := net.JoinHostPort(to.Hostname(), port)
	if to.Scheme == "https" {
		return new(tls.Dialer).DialContext(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func (c *conn) upgrade(ctx context.Context, req *http.Request) error {
	defer c.limit(ctx)()
	if err := req.Write(c); err != nil {
		return fault.Wrap(fault.Unavailable, err, "service unavailable")
	}
	resp, err := http.ReadResponse(c.r, req)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "service unavailable")
	}
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		return nil
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return ErrNotSpoken
	}
	return fault.New(fault.KindOfStatus(resp.StatusCode), "service answered with status %d", resp.StatusCode)
}

// call writes a call and reads its answer, which is good until the next call. After an
// error the connection is closed.
func (c *conn) call(ctx context.Context, encode func([]byte) []byte) (answer []byte, err error) {
	defer c.limit(ctx)()
	c.buf = finish(encode(newFrame(c.buf)))
	if _, err = c.Write(c.buf); err == nil {
		c.buf, err = readFrame(c.r, c.buf)
	}
	if err != nil {
		c.Close()
	}
	return c.buf, err
}

// limit ends reading and writing when ctx does. What it returns takes that back.
func (c *conn) limit(ctx context.Context) (done func()) {
	deadline, _ := ctx.Deadline() // or the zero time, which is none
	_ = c.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	return func() { stop() }
}
