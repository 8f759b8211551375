package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pymessage/internal/stores"
	"pymessage/internal/stores/child"
)

// patience bounds what a test waits for; it is long, as the machine may be busy.
const patience = 30 * time.Second

// standIn plays a replica of a service: it answers with its name and the address
// that it was told, and echoes what comes after an upgrade (the key and its answer
// are the example of RFC 6455).
type standIn struct {
	name        string
	public, ops *httptest.Server
	unready     atomic.Bool
}

func newStandIn(t *testing.T, name string) *standIn {
	t.Helper()
	s := &standIn{name: name}
	s.public = httptest.NewServer(http.HandlerFunc(s.serve))
	s.ops = httptest.NewServer(http.HandlerFunc(s.ready))
	t.Cleanup(s.public.Close)
	t.Cleanup(s.ops.Close)
	return s
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		fmt.Fprintf(w, "%s %s", s.name, strings.Join(r.Header.Values("X-Forwarded-For"), ","))
		return
	}
	conn, stream, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServed-By: %s\r\n\r\n", s.name)
	_, _ = io.Copy(conn, stream) // ends when the client goes
}

func (s *standIn) ready(w http.ResponseWriter, r *http.Request) {
	if s.unready.Load() || r.URL.Path != "/readyz" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// server is a line of the configuration that leads to the stand-in.
func (s *standIn) server() string {
	_, ops, _ := strings.Cut(s.ops.Listener.Addr().String(), ":")
	return fmt.Sprintf("server %s %s check port %s", s.name, s.public.Listener.Addr(), ops)
}

// balancer is a HAProxy with our configuration in front of stand-ins.
type balancer struct{ public, ops string }

// startBalancer replaces what cannot be here: the names, which Docker resolves, and
// the ports, which may be taken.
func startBalancer(t *testing.T, backends map[string][]*standIn) *balancer {
	t.Helper()
	b := &balancer{public: freeAddress(t), ops: freeAddress(t)}
	text := strings.NewReplacer(
		"bind :6969", "bind "+b.public,
		"bind :8404", "bind "+b.ops,
		" resolvers docker resolve-prefer ipv4 init-addr none", "",
		"log stdout format raw local0", "log 127.0.0.1 local0",
		"maxconn 100000", "maxconn 100",
	).Replace(read(t, haproxyConfig))
	text = regexp.MustCompile(`server-template (\w+)- .*`).ReplaceAllStringFunc(text, func(line string) string {
		name, _, _ := strings.Cut(strings.Fields(line)[1], "-")
		var servers []string
		for _, s := range backends[name] {
			servers = append(servers, s.server())
		}
		return strings.Join(servers, "\n    ")
	})
	b.start(t, text)
	return b
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := stores.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func (b *balancer) start(t *testing.T, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(haproxy(t), "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", out.String())
		}
	})
	b.await(t, "HAProxy to listen", func() bool {
		conn, err := net.Dial("tcp", b.ops)
		if err == nil {
			conn.Close()
		}
		return err == nil || !process.Running()
	})
	if !process.Running() {
		t.Fatalf("HAProxy ended: %v", process.Err())
	}
}

// await asks again and again: what HAProxy knows of its servers comes of its own
// checks, and nothing tells us when.
func (b *balancer) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *balancer) get(t *testing.T, address, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("X-Forwarded-For", "203.0.113.7")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (b *balancer) works(t *testing.T) bool {
	t.Helper()
	status, _ := b.get(t, b.ops, "/readyz")
	return status == http.StatusOK
}

// socket is a connection after its upgrade.
type socket struct {
	net.Conn
	in       *bufio.Reader
	servedBy string
}

func (b *balancer) dial(t *testing.T) *socket {
	t.Helper()
	conn, err := net.Dial("tcp", b.public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: chat.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", resp, err)
	}
	return &socket{conn, in, resp.Header.Get("Served-By")}
}

// echoes says whether the socket is alive in both directions.
func (s *socket) echoes(t *testing.T) bool {
	t.Helper()
	if _, err := fmt.Fprintln(s, "hello"); err != nil {
		return false
	}
	line, err := s.in.ReadString('\n')
	return err == nil && line == "hello\n"
}

func TestHAProxyRoutesAndTellsTheClientsAddress(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, map[string][]*standIn{
		"gateway": {newStandIn(t, "gateway1")}, "accounts": {newStandIn(t, "accounts1")}, "social": {newStandIn(t, "social1")},
	})
	for path, want := range map[string]string{
		"/get_user?id=12345678": "accounts1 127.0.0.1",
		"/":                     "gateway1 127.0.0.1",
		"/assets/app.js":        "gateway1 127.0.0.1",
		"/get_user/":            "gateway1 127.0.0.1",
		"/accounts/v1/me":       "accounts1 127.0.0.1",
		"/social/v1/friends":    "social1 127.0.0.1",
	} {
		if status, body := b.get(t, b.public, path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
	if status, body := b.get(t, b.ops, "/metrics"); status != http.StatusOK || !strings.Contains(body, "haproxy_backend_active_servers") {
		t.Errorf("/metrics: %d", status)
	}
}

func TestHAProxySpreadsSocketsAndSparesADrainingGateway(t *testing.T) {
	t.Parallel()
	one, two := newStandIn(t, "gateway1"), newStandIn(t, "gateway2")
	b := startBalancer(t, map[string][]*standIn{
		"gateway": {one, two}, "accounts": {newStandIn(t, "accounts1")}, "social": {newStandIn(t, "social1")},
	})
	sockets, on := []*socket{}, map[string]int{}
	for range 6 {
		s := b.dial(t)
		sockets = append(sockets, s)
		on[s.servedBy]++
	}
	if on["gateway1"] != 3 || on["gateway2"] != 3 {
		t.Fatalf("sockets: %v, want 3 each", on)
	}
	one.unready.Store(true)
	b.await(t, "HAProxy to notice", func() bool { return b.activeGateways(t) == "1" })
	for range 4 {
		if s := b.dial(t); s.servedBy != "gateway2" {
			t.Errorf("a new socket went to %s, which drains", s.servedBy)
		}
	}
	for _, s := range sockets {
		if !s.echoes(t) {
			t.Errorf("a socket on %s was cut", s.servedBy)
		}
	}
}

// activeGateways is the number that HAProxy's own metrics tell.
func (b *balancer) activeGateways(t *testing.T) string {
	t.Helper()
	_, body := b.get(t, b.ops, "/metrics")
	_, rest, _ := strings.Cut(body, `haproxy_backend_active_servers{proxy="gateway"} `)
	count, _, _ := strings.Cut(rest, "\n")
	return count
}

func TestHAProxyIsHealthyWhileEveryServiceHasAReadyReplica(t *testing.T) {
	t.Parallel()
	social := newStandIn(t, "social1")
	b := startBalancer(t, map[string][]*standIn{
		"gateway": {newStandIn(t, "gateway1")}, "accounts": {newStandIn(t, "accounts1")}, "social": {social},
	})
	b.await(t, "a healthy deployment", func() bool { return b.works(t) })
	social.unready.Store(true)
	b.await(t, "an unhealthy deployment", func() bool { return !b.works(t) })
	social.unready.Store(false)
	b.await(t, "a healthy deployment again", func() bool { return b.works(t) })
}
