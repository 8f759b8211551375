package gateway

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience is how long a test waits for an event before it fails.
const patience = 10 * time.Second

// bundle is a gateway that runs on a real Redis, between neighbours that a test can
// make fail.
type bundle struct {
	*Server
	*neighbours
	addr string
	stop func() // drains the gateway and waits until it has ended
}

func setup(t testing.TB, change ...func(*Config)) *bundle {
	t.Helper()
	url, prefix := testenv.Redis(t)
	return setupOn(t, url, prefix, newNeighbours(t), change...)
}

func newServer(t testing.TB, redisURL, prefix string, n *neighbours, change ...func(*Config)) *Server {
	t.Helper()
	var cfg Config
	err := service.ParseSettings(&cfg, []string{
		"ACCOUNTS_URL=" + n.url, "SOCIAL_URL=" + n.url, "INTERNAL_SECRET=" + secret,
		"REDIS_URL=" + redisURL, "REDIS_PREFIX=" + prefix, "DRAIN_SPREAD=1s",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg, testenv.Logger(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func setupOn(t testing.TB, redisURL, prefix string, n *neighbours, change ...func(*Config)) *bundle {
	t.Helper()
	s := newServer(t, redisURL, prefix, n, change...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, l) }()
	stopped := false
	b := &bundle{Server: s, neighbours: n, addr: l.Addr().String(), stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gateway ended with %v", err)
		}
	}}
	t.Cleanup(b.stop)
	b.awaitRedis(t)
	return b
}

// awaitRedis waits until the gateway is connected to Redis, and Redis knows who has
// come and who has gone: its answers come in the order of the commands.
func (b *bundle) awaitRedis(t testing.TB) {
	t.Helper()
	const nobody = 99999999
	await(t, "a subscription", b.broker.Subscribe(nobody))
	b.broker.Unsubscribe(nobody)
}

// awaitGone waits until a user has no socket here any more.
func (b *bundle) awaitGone(t testing.TB, user int) {
	t.Helper()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		b.Server.mu.Lock()
		defer b.Server.mu.Unlock()
		for b.hub.find(user) != nil {
			b.Server.ended.Wait()
		}
	}()
	await(t, "the end of the last socket", gone)
}

func await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
	}
}

// until waits for a state that nobody tells of.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// client is a version 1 client.
type client struct {
	t  testing.TB
	ws *websocket.Conn
	id int
}

func (b *bundle) dial(t testing.TB) *client {
	t.Helper()
	return b.dialAs(t, nil)
}

// dial2 opens a socket of version 2.
func (b *bundle) dial2(t testing.TB) *client {
	t.Helper()
	c := b.dialAs(t, []string{"pymessage.v2"})
	if c.ws.Subprotocol() != "pymessage.v2" {
		t.Fatalf("the subprotocol is %q", c.ws.Subprotocol())
	}
	return c
}

func (b *bundle) dialAs(t testing.TB, subprotocols []string) *client {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: subprotocols}
	ws, _, err := dialer.Dial("ws://"+b.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{t: t, ws: ws}
}

// enter makes an account, or logs in to the one there is.
func (b *bundle) enter(t testing.TB, name string) *client {
	t.Helper()
	c := b.dial(t)
	if c.id = b.idOf(name); c.id != 0 {
		c.send(`{"type":"login","username":"` + name + `","pin":1234}`)
		c.expect(`{"type":"resp","id":` + itoa(c.id) + `}`)
		return c
	}
	c.send(`{"type":"create_acc","username":"` + name + `","pin":1234}`)
	answer := c.read()
	c.id = b.idOf(name)
	if answer != `{"type":"create_acc_resp","id":`+itoa(c.id)+`}` {
		t.Fatalf("got %s", answer)
	}
	return c
}

func (n *neighbours) idOf(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.names[name]
}

// ring publishes what append added.
func (b *bundle) ring(user int, ev bell.Event) { b.ringer.Ring(user, "epoch", ev) }

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) message(to int, content string) {
	c.t.Helper()
	c.send(`{"type":"send_msg","recipient":` + itoa(to) + `,"content":"` + content + `"}`)
}

func (c *client) read() string {
	c.t.Helper()
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	_, data, err := c.ws.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

func (c *client) expect(want string) {
	c.t.Helper()
	got := c.read()
	for strings.HasPrefix(got, heartbeat) && !strings.HasPrefix(want, heartbeat) {
		got = c.read() // comes at any time
	}
	if got != want {
		c.t.Fatalf("got %s, want %s", got, want)
	}
}

// expectMessages reads messages of sender with these contents.
func (c *client) expectMessages(sender int, contents ...string) {
	c.t.Helper()
	for _, content := range contents {
		c.expect(`{"type":"message","sender":` + itoa(sender) + `,"content":"` + content + `"}`)
	}
}

// expectClose reads until the socket is closed with code.
func (c *client) expectClose(code int) {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, _, err := c.ws.ReadMessage()
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, code) {
			c.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		return
	}
}

const (
	sent         = `{"type":"send_resp","status":"success"}`
	aliceOnly    = `{"type":"friends_resp","friends":[{"username":"alice","id":10000001}]}`
	heartbeat    = `{"type":"heartbeat"`
	endpointFail = `{"type":"error","error":"endpoint not found"}`
)

func itoa(n int) string { return strconv.Itoa(n) }
