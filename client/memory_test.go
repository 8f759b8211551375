package client_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// memory is a network in memory: dialing gives the listener the other end.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

// serve is a WebSocket server on a network in memory.
func serve(t *testing.T, subprotocols []string, handle func(ws *websocket.Conn)) *memory {
	t.Helper()
	network := newMemory()
	upgrader := websocket.Upgrader{Subprotocols: subprotocols}
	srv := &httptest.Server{Listener: network, Config: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				t.Errorf("no upgrade: %v", err)
				return
			}
			defer ws.Close()
			handle(ws)
		}),
	}}
	srv.Start()
	t.Cleanup(srv.Close)
	return network
}
