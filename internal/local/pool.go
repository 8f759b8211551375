package local

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// errNoBackend says that every backend refused the connection.
var errNoBackend = errors.New("no backend is up")

// pool spreads requests over the processes of one service: each goes to the one
// that serves the fewest, where an open socket is a request that lasts.
type pool struct {
	transport *http.Transport
	backends  []*backend
	turn      atomic.Uint32 // spreads requests over equals
}

// backend is one process.
type backend struct {
	host   string // of its public address
	ops    string // the URL of its ops address
	down   atomic.Bool
	active atomic.Int64 // requests and sockets
}

func newPool(services []Service) *pool {
	p := &pool{transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}}
	for _, s := range services {
		p.backends = append(p.backends, &backend{host: strings.TrimPrefix(s.PublicURL, "http://"), ops: s.OpsURL})
	}
	return p
}

// RoundTrip implements http.RoundTripper. A backend that refuses the connection
// is passed over: the request has not left us then, so the next one may have it.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	defer closeBody(req)
	for _, b := range p.order() {
		resp, err := b.try(p.transport, req)
		if err == nil || !refused(err) {
			return resp, err
		}
	}
	return nil, errNoBackend
}

// order is the backends as they should be tried: the least busy of those that are
// ready, then the others, as what we know of their readiness may be old.
func (p *pool) order() []*backend {
	type candidate struct {
		*backend
		down   bool
		active int64
	}
	n := len(p.backends)
	turn := int(p.turn.Add(1))
	candidates := make([]candidate, n)
	for i := range candidates {
		b := p.backends[(turn+i)%n]
		candidates[i] = candidate{b, b.down.Load(), b.active.Load()}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		if a.down != b.down {
			if b.down {
				return -1
			}
			return 1
		}
		return int(a.active - b.active)
	})
	ordered := make([]*backend, n)
	for i, c := range candidates {
		ordered[i] = c.backend
	}
	return ordered
}

// try sends the request to this backend, which counts as busy until the response
// has been read or the socket is closed.
func (b *backend) try(transport *http.Transport, req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host = "http", b.host
	if req.Body != nil {
		out.Body = io.NopCloser(req.Body) // the next try may need it
	}
	b.active.Add(1)
	resp, err := transport.RoundTrip(out)
	if err != nil {
		b.active.Add(-1)
		return nil, err
	}
	resp.Body = b.counted(resp.Body)
	return resp, nil
}

// counted counts the backend's load down when body is closed. The body of an
// upgraded connection is written to as well, and has to stay writable.
func (b *backend) counted(body io.ReadCloser) io.ReadCloser {
	done := sync.OnceFunc(func() { b.active.Add(-1) })
	if socket, ok := body.(io.ReadWriteCloser); ok {
		return &countedSocket{socket, done}
	}
	return &countedBody{body, done}
}

type countedBody struct {
	io.ReadCloser
	done func()
}

func (c *countedBody) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

// countedSocket has no CloseWrite on purpose: the proxy then ends the whole
// connection when the client's side ends, as WebSockets have no half that goes on.
type countedSocket struct {
	io.ReadWriteCloser
	done func()
}

// Read counts as the end when the backend has ended its side, however long the
// client takes to notice.
func (c *countedSocket) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	if err != nil {
		c.done()
	}
	return n, err
}

func (c *countedSocket) Close() error {
	defer c.done()
	return c.ReadWriteCloser.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// refused says that there was no connection to the backend.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// check asks the backends over and over whether they are ready: one that drains
// or hangs still takes connections.
func (p *pool) check(ctx context.Context) {
	ticker := time.NewTicker(checkPause)
	defer ticker.Stop()
	for {
		var asked sync.WaitGroup
		for _, b := range p.backends {
			asked.Go(func() { b.down.Store(!isReady(ctx, b.ops)) })
		}
		asked.Wait()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
