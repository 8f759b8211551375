package stream

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
)

// Answer carries out a call and appends the answer to out. It must not keep either. An
// error reaches the caller as the fault that it is; others are logged and reach it as
// Internal.
type Answer func(ctx context.Context, call, out []byte) ([]byte, error)

// Server answers calls. It is an http.Handler for the route that clients ask to upgrade.
type Server struct {
	// Static after construction.
	answer Answer
	log    *slog.Logger

	serving sync.WaitGroup

	mu      sync.Mutex // guards all below
	conns   map[net.Conn]struct{}
	stopped bool
}

// NewServer makes a Server; Run ends its connections.
func NewServer(answer Answer, log *slog.Logger) *Server {
	return &Server{answer: answer, log: log, conns: map[net.Conn]struct{}{}}
}

// stopTimeout is for the calls under way when a server stops.
const stopTimeout = 15 * time.Second

// Run waits until ctx ends, then ends all connections: once the calls under way on them
// are answered, or stopTimeout is over.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.stop((net.Conn).SetReadDeadline) // wakes who waits for a call
	answered := make(chan struct{})
	go func() { defer close(answered); s.serving.Wait() }()
	select {
	case <-answered:
		return ctx.Err()
	case <-time.After(stopTimeout):
		s.stop((net.Conn).SetDeadline)
		return errors.New("streams: calls under way were not answered in time")
	}
}

// stop takes no connections any more, and ends what waits for those there are.
func (s *Server) stop(end func(net.Conn, time.Time) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for conn := range s.conns {
		_ = end(conn, time.Now())
	}
}

// Asked says whether a request asks for a stream, and so lasts as long as one.
func Asked(r *http.Request) bool { return r.Header.Get("Upgrade") == protocol }

// ServeHTTP upgrades the connection of the request, and answers its calls until it ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !Asked(r) {
		w.Header().Set("Upgrade", protocol)
		w.WriteHeader(http.StatusUpgradeRequired)
		return
	}
	conn, buffers, err := http.NewResponseController(w).Hijack()
	if err != nil {
		httpjson.WriteError(w, fault.New(fault.Unavailable, "this connection cannot be upgraded"))
		return
	}
	defer conn.Close()
	if !s.add(conn) {
		return
	}
	defer s.remove(conn)
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
	if _, err := conn.Write([]byte(switching)); err == nil {
		s.serve(context.WithoutCancel(r.Context()), conn, buffers.Reader)
	}
}

// add is false when no connection is taken any more.
func (s *Server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.conns[conn] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) remove(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	s.serving.Done()
}

// serve answers calls until the connection ends.
func (s *Server) serve(ctx context.Context, conn net.Conn, r *bufio.Reader) {
	var call, out []byte
	var err error
	for s.await(conn) {
		if call, err = readFrame(r, call); err != nil {
			return
		}
		out = finish(s.carryOut(ctx, call, out))
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err = conn.Write(out); err != nil {
			return
		}
		call, out = keep(call), keep(out)
	}
}

// await gives the next call its time to come. It is false when the server stops.
func (s *Server) await(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.stopped && conn.SetReadDeadline(time.Now().Add(patience)) == nil
}

// carryOut makes the frame that answers a call, in buf.
func (s *Server) carryOut(ctx context.Context, call, buf []byte) []byte {
	begun := append(newFrame(buf), succeeded)
	out, err := s.answer(ctx, call, begun)
	if err == nil {
		return out
	}
	if fault.KindOf(err) == fault.Internal {
		s.log.ErrorContext(ctx, "call failed", "err", err)
	}
	return appendFault(newFrame(buf), err)
}
