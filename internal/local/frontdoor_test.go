package local

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience bounds waits for what must happen.
const patience = 20 * time.Second

// startBackend is a process of a service within the test; its public and ops
// ports are the same.
func startBackend(t *testing.T, kind string, h http.Handler) (Service, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return Service{Name: kind, Kind: kind, PublicURL: server.URL, OpsURL: server.URL}, server
}

func startDoor(t *testing.T, services ...Service) *frontDoor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := openDoor(l, services)
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
		f.wait()
	})
	return f
}

func (f *frontDoor) address() string { return f.listener.Addr().String() }

// gateways are the backends of the pool that all paths but the routes go to.
func (f *frontDoor) gateways() []*backend { return f.pools[0].backends }

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("X-Forwarded-For", "203.0.113.9") // a lie, which must not get through
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func dial(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+address+"/", nil)
	if err != nil {
		t.Fatalf("%v, %v", err, resp)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// say sends a frame and wants it back.
func say(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, frame, err := conn.ReadMessage(); err != nil || string(frame) != text {
		t.Fatalf("said %q, heard %q, %v", text, frame, err)
	}
}

func TestDoorRoutesByPath(t *testing.T) {
	t.Parallel()
	gateway, _ := startBackend(t, nameGateway, echoService("gateway"))
	accounts, _ := startBackend(t, nameAccounts, echoService("accounts"))
	social, _ := startBackend(t, nameSocial, echoService("social"))
	door := startDoor(t, gateway, accounts, social)
	for path, want := range map[string]string{
		"/":                 "gateway /",
		"/app.js":           "gateway /app.js",
		"/get_user?id=1":    "accounts /get_user",
		"/get_users":        "gateway /get_users",
		"/accounts/v1/me":   "accounts /accounts/v1/me",
		"/social/v1/blocks": "social /social/v1/blocks",
		"/get_user/and/so":  "gateway /get_user/and/so",
	} {
		status, body := get(t, "http://"+door.address()+path)
		want += " from 127.0.0.1 to " + door.address()
		if status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
}

func TestDoorTellsABrowserWhereItIs(t *testing.T) {
	t.Parallel()
	door := startDoor(t)
	_, port, _ := net.SplitHostPort(door.address())
	if door.url() != "http://localhost:"+port {
		t.Errorf("got %s", door.url())
	}
}

func TestDoorSpreadsSocketsEvenly(t *testing.T) {
	t.Parallel()
	one, _ := startBackend(t, nameGateway, echoService("one"))
	two, _ := startBackend(t, nameGateway, echoService("two"))
	three, _ := startBackend(t, nameGateway, echoService("three"))
	door := startDoor(t, one, two, three)
	var dialed sync.WaitGroup
	for range 30 {
		dialed.Go(func() { say(t, dial(t, door.address()), "hello") })
	}
	dialed.Wait()
	for _, b := range door.gateways() {
		if n := b.active.Load(); n != 10 {
			t.Errorf("%s has %d sockets of 30", b.host, n)
		}
	}
}

// settle waits until a backend has that many requests and sockets.
func settle(t *testing.T, b *backend, want int64) {
	t.Helper()
	eventually(t, func() bool { return b.active.Load() == want })
}

// eventually waits for a condition that nothing tells of.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not come to hold")
		case <-time.After(firstAsk):
		}
	}
}

func TestCountsGoDownWhoeverCloses(t *testing.T) {
	t.Parallel()
	gateway, _ := startBackend(t, nameGateway, echoService("gateway"))
	door := startDoor(t, gateway)
	backend := door.gateways()[0]
	byClient, byGateway := dial(t, door.address()), dial(t, door.address())
	say(t, byClient, "one")
	say(t, byGateway, "two")
	settle(t, backend, 2)
	if err := byClient.Close(); err != nil {
		t.Fatal(err)
	}
	settle(t, backend, 1)
	frame := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := byGateway.WriteMessage(websocket.CloseMessage, frame); err != nil {
		t.Fatal(err)
	}
	settle(t, backend, 0)
	if _, body := get(t, "http://"+door.address()+"/"); !strings.HasPrefix(body, "gateway /") {
		t.Errorf("got %q", body)
	}
	settle(t, backend, 0)
}

func TestDeadBackendIsPassedOver(t *testing.T) {
	t.Parallel()
	alive, _ := startBackend(t, nameGateway, echoService("alive"))
	dead, server := startBackend(t, nameGateway, echoService("dead"))
	door := startDoor(t, alive, dead)
	server.Close()
	for range 4 {
		if status, body := get(t, "http://"+door.address()+"/"); status != http.StatusOK || !strings.HasPrefix(body, "alive") {
			t.Errorf("%d %q", status, body)
		}
		say(t, dial(t, door.address()), "hello")
	}
	for _, b := range door.gateways() {
		if b.host == server.Listener.Addr().String() && b.active.Load() != 0 {
			t.Errorf("the dead one has %d sockets", b.active.Load())
		}
	}
}

func TestBodyReachesTheNextBackend(t *testing.T) {
	t.Parallel()
	dead, server := startBackend(t, nameGateway, echoService("dead"))
	alive, _ := startBackend(t, nameGateway, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	server.Close()
	p := newPool([]Service{dead, alive})
	t.Cleanup(p.transport.CloseIdleConnections)
	for range 2 { // either is first once
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://door/", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "body" {
			t.Errorf("got %q, %v", body, err)
		}
	}
}

func TestNoBackendIsSaidInJSON(t *testing.T) {
	t.Parallel()
	gateway, server := startBackend(t, nameGateway, echoService("gateway"))
	door := startDoor(t, gateway)
	server.Close()
	status, body := get(t, "http://"+door.address()+"/")
	want := `{"error":{"code":"unavailable","message":"service unavailable, try again"}}` + "\n"
	if status != http.StatusServiceUnavailable || body != want {
		t.Errorf("%d %q", status, body)
	}
	_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+door.address()+"/", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a socket got %v, %v", resp, err)
	}
}

func TestUnreadyBackendIsTheLastResort(t *testing.T) {
	t.Parallel()
	draining := http.NewServeMux()
	draining.Handle("/", echoService("draining"))
	draining.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	one, _ := startBackend(t, nameGateway, draining)
	two, server := startBackend(t, nameGateway, echoService("ready"))
	door := startDoor(t, one, two)
	eventually(t, func() bool { return door.gateways()[0].down.Load() })
	for range 4 {
		if _, body := get(t, "http://"+door.address()+"/"); !strings.HasPrefix(body, "ready") {
			t.Errorf("got %q", body)
		}
	}
	server.Close()
	if _, body := get(t, "http://"+door.address()+"/"); !strings.HasPrefix(body, "draining") {
		t.Errorf("without another: %q", body)
	}
}

func TestClosedDoorLetsNobodyInButKeepsOpenSockets(t *testing.T) {
	t.Parallel()
	gateway, _ := startBackend(t, nameGateway, echoService("gateway"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := openDoor(l, []Service{gateway})
	conn := dial(t, door.address())
	say(t, conn, "before")
	if err := door.close(); err != nil {
		t.Fatal(err)
	}
	say(t, conn, "after")
	if _, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+door.address()+"/", nil); err == nil {
		t.Error("a closed door let a socket in")
	}
	door.wait()
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the socket outlived the door")
	}
}
