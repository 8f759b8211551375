package local

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/service"
)

// routes are the paths of the REST API and the services that answer them; all
// else is the gateways'. A slash at the end stands for all paths below.
var routes = map[string]string{
	"/get_user":  nameAccounts,
	"/accounts/": nameAccounts,
	"/social/":   nameSocial,
}

const (
	// checkPause is the pause between two rounds of questions whether the backends
	// are ready.
	checkPause = 500 * time.Millisecond

	// closeTimeout bounds the wait for plain requests in flight when the door
	// closes.
	closeTimeout = 5 * time.Second

	// lingerTimeout bounds the wait for a client to end a socket that its gateway
	// has ended: a round trip over a bad line.
	lingerTimeout = 2 * time.Second
)

// frontDoor is the load balancer of a local deployment.
type frontDoor struct {
	listener net.Listener
	server   *http.Server
	pools    []*pool
	cancel   context.CancelFunc
	running  sync.WaitGroup // the server, the checks, and the proxied sockets
}

// openDoor serves on listener.
func openDoor(listener net.Listener, services []Service) *frontDoor {
	ctx, cancel := context.WithCancel(context.Background())
	f := &frontDoor{listener: listener, cancel: cancel}
	f.server = service.NewHTTPServer(f.handler(services))
	f.server.BaseContext = func(net.Listener) context.Context { return ctx }
	f.running.Go(func() { _ = f.server.Serve(listener) }) // returns when the server is closed
	for _, p := range f.pools {
		f.running.Go(func() { p.check(ctx) })
	}
	return f
}

func (f *frontDoor) handler(services []Service) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", f.proxy(newPool(ofKind(services, nameGateway))))
	for path, kind := range routes {
		mux.Handle(path, f.proxy(newPool(ofKind(services, kind))))
	}
	return mux
}

// proxy hands requests and sockets on to a pool.
func (f *frontDoor) proxy(p *pool) http.Handler {
	f.pools = append(f.pools, p)
	proxy := &httputil.ReverseProxy{
		Transport: p,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()      // in place of what the client says of itself
			r.Out.Host = r.In.Host // the gateways compare it with the page's origin
		},
		ErrorHandler: unreachable,
		ErrorLog:     slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.running.Add(1)
		defer f.running.Done()
		proxy.ServeHTTP(&lingeringWriter{w}, r)
	})
}

// lingeringWriter is the client's side of a socket. When the gateway has ended
// the socket the client gets to read all of it, but has to end its side as well:
// one that is gone without a word would be kept for ever.
type lingeringWriter struct{ http.ResponseWriter }

// Unwrap is for http.ResponseController.
func (w *lingeringWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w *lingeringWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if tcp, ok := conn.(*net.TCPConn); ok {
		conn = &lingeringConn{tcp}
	}
	return conn, rw, err
}

type lingeringConn struct{ *net.TCPConn }

// CloseWrite is called by the proxy when the gateway has ended the socket.
func (c *lingeringConn) CloseWrite() error {
	return errors.Join(c.TCPConn.CloseWrite(), c.SetReadDeadline(time.Now().Add(lingerTimeout)))
}

func unreachable(w http.ResponseWriter, _ *http.Request, err error) {
	httpjson.WriteError(w, fault.Wrap(fault.Unavailable, err, "service unavailable, try again"))
}

// url is the door's address for a browser on this machine.
func (f *frontDoor) url() string {
	_, port, _ := net.SplitHostPort(f.listener.Addr().String()) // a listener's address is whole
	return "http://" + net.JoinHostPort("localhost", port)
}

// close lets nobody in any more. Open sockets stay until their gateway ends them.
func (f *frontDoor) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		return errors.Join(err, f.server.Close())
	}
	return nil
}

// wait cuts the sockets that are still open and waits for the end of everything.
func (f *frontDoor) wait() {
	f.cancel()
	f.running.Wait()
	for _, p := range f.pools {
		p.transport.CloseIdleConnections()
	}
}
