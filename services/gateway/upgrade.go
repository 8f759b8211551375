package gateway

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/service"
	"pymessage/services/gateway/web"
	"pymessage/services/gateway/wire"
)

const (
	readBuffer  = 512     // of each socket: most frames are shorter, longer ones are read past it
	writeBuffer = 4 << 10 // pooled: only a socket that is written to has one
	// kernelBuffer bounds what the kernel takes for a client that does not read.
	// Left to itself it grows to megabytes, and a write to a slow client then waits
	// for a third of them to go, which looks like no progress at all.
	kernelBuffer = 128 << 10
)

// routes is the public interface: sockets and the web page at /.
func (s *Server) routes() http.Handler {
	upgrader := &websocket.Upgrader{
		ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &sync.Pool{},
		CheckOrigin: s.originAllowed, Subprotocols: []string{wire.Subprotocol2},
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			httpjson.WriteError(w, fault.New(fault.KindOfStatus(status), "%v", reason))
		},
	}
	page := web.Handler()
	r := httpjson.NewRouter()
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) {
			s.upgrade(upgrader, w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
	r.Method(http.MethodHead, "/", page)
	r.Handle("/assets/*", page)
	return r
}

// upgrade makes a socket of a request. The handler returns at once, so that
// net/http's buffers and stack go; the socket lives in a goroutine of its own.
func (s *Server) upgrade(u *websocket.Upgrader, w http.ResponseWriter, r *http.Request) {
	if s.isDraining() {
		w.Header().Set("Retry-After", "1")
		httpjson.WriteError(w, fault.New(fault.Unavailable, "this gateway is stopping, try again"))
		return
	}
	ws, err := u.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	if tcp, ok := ws.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(kernelBuffer) // it works without, only less well
	}
	c := newConn(s, ws, service.ClientAddress(r, s.cfg.TrustedProxies), int(s.next.Add(1)))
	if !s.remember(c) {
		ws.Close()
		return
	}
	go c.serve() // awaitConns waits for it
}

// originAllowed keeps foreign web pages from using a visitor's browser. Clients that
// are no browsers send no Origin.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.cfg.AllowedOrigins, "*") || slices.Contains(s.cfg.AllowedOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && len(s.cfg.AllowedOrigins) == 0 && strings.EqualFold(u.Host, r.Host)
}
