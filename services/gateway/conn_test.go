package gateway

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

func TestAnswersComeInTheOrderOfRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice := b.enter(t, "alice")
	for i := range 100 { // nobody waits for an answer
		alice.message(alice.id, fmt.Sprint(i))
		alice.send(`{"type":"get_friends"}`)
		alice.message(77777777, "to nobody")
		alice.send(`{"type":"what"}`)
	}
	next := 0
	for answers := 0; answers < 400; {
		frame := alice.read()
		if strings.HasPrefix(frame, `{"type":"message"`) {
			if want := fmt.Sprintf(`{"type":"message","sender":%d,"content":"%d"}`, alice.id, next); frame != want {
				t.Fatalf("event %s, want %s", frame, want)
			}
			next++
			continue
		}
		want := []string{sent, aliceOnly, `{"type":"error","error":"77777777 is not connected to the network"}`, endpointFail}[answers%4]
		if frame != want {
			t.Fatalf("answer %d is %s, want %s", answers, frame, want)
		}
		answers++
	}
}

func TestAFrameThatIsNotValidGetsAnErrorAndTheSocketLivesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice := b.enter(t, "alice")
	wrong := map[string]string{
		"":                                 "bad request: frame is not a JSON object",
		"{":                                "bad request: frame is not a JSON object",
		"{\"type\":\"get_friends\",\"\xff": "bad request: frame is not valid UTF-8",
		strings.Repeat("[", 60000):         "bad request: frame is not a JSON object",
		strings.Repeat("x", 64<<10):        "bad request: frame is not a JSON object",
		strings.Repeat("x", 64<<10+1):      "bad request: frame is longer than 65536 bytes",
		strings.Repeat("x", 1<<20):         "bad request: frame is longer than 65536 bytes",
		`{"type":"send_msg","recipient":1e400,"content":""}`: "bad request: recipient must be an id, a number of 8 digits",
	}
	for frame, message := range wrong {
		alice.send(frame)
		want, _ := json.Marshal(map[string]string{"type": "error", "error": message})
		var got, expected any
		_ = json.Unmarshal([]byte(alice.read()), &got)
		_ = json.Unmarshal(want, &expected)
		if fmt.Sprint(got) != fmt.Sprint(expected) {
			t.Errorf("%.40q: got %v, want %v", frame, got, expected)
		}
	}
	if err := alice.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"get_friends"}`)); err != nil {
		t.Fatal(err)
	}
	alice.expect(`{"type":"error","error":"bad request: frame is binary, not text"}`)
	alice.send(`{"type":"get_friends"}`)
	alice.expect(aliceOnly)
}

func TestAHugeFrameClosesItsSocketOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	_ = alice.ws.WriteMessage(websocket.TextMessage, make([]byte, 2<<20)) // may fail: it is cut off
	alice.expectClose(websocket.CloseMessageTooBig)
	bob.message(bob.id, "still here")
	bob.expect(sent)
}

func TestAHundredBadFramesInARowCloseTheSocket(t *testing.T) {
	t.Parallel()
	b := setup(t)

	c := b.dial(t)
	for range 99 {
		c.send("{")
	}
	c.send(`{"type":"login","username":"nobody","pin":"1234"}`) // valid: the count begins anew
	for range 100 {
		c.send("{")
	}
	for range 200 {
		c.read()
	}
	c.expectClose(4500)
}

func TestRequestsBeforeTheLoginAndSecondLoginsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)

	b.enter(t, "alice")
	c := b.dial(t)
	c.send(`{"type":"get_friends"}`)
	c.expect(`{"type":"error","error":"not logged in"}`)
	c.message(10000001, "hi")
	c.expect(`{"type":"error","error":"not logged in"}`)
	c.send(`{"type":"login","username":"alice","pin":"4321"}`)
	c.expect(`{"type":"error","error":"acc not found"}`)
	c.send(`{"type":"login","username":"alice","pin":"1234"}`)
	c.expect(`{"type":"resp","id":10000001}`)
	c.send(`{"type":"login","username":"alice","pin":"1234"}`)
	c.expect(`{"type":"error","error":"already logged in"}`)
	c.send(`{"type":"create_acc","username":"new","pin":"1234"}`)
	c.expect(`{"type":"error","error":"already logged in"}`)
	if b.idOf("new") != 0 {
		t.Error("a refused create_acc made an account")
	}
}

func TestFaultsOfAccountsBecomeTheErrorsOfTheProtocol(t *testing.T) {
	t.Parallel()
	b := setup(t)

	b.enter(t, "alice")
	c := b.dial(t)
	tests := []struct {
		path, request string
		kind          fault.Kind
		want          string
	}{
		{accountsapi.PathLogin, "login", fault.TooMany, "too many attempts, try again later"},
		{accountsapi.PathLogin, "login", fault.Unavailable, "service unavailable, try again"},
		{accountsapi.PathLogin, "login", fault.Internal, "service unavailable, try again"},
		{accountsapi.PathLogin, "login", fault.Invalid, "acc not found"},
		{accountsapi.PathCreate, "create_acc", fault.Invalid, "failed to create account"},
		{accountsapi.PathCreate, "create_acc", fault.Unavailable, "failed to create account"},
		{accountsapi.PathCreate, "create_acc", fault.TooMany, "too many attempts, try again later"},
	}
	for _, tt := range tests {
		b.fail(tt.path, func() error { return fault.New(tt.kind, "as the test wants") })
		c.send(`{"type":"` + tt.request + `","username":"bob","pin":"1234"}`)
		c.expect(`{"type":"error","error":"` + tt.want + `"}`)
	}
}

func TestASocketThatSendsTooFastIsToldToSlowDown(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.RequestsPerSec, c.RequestBurst = 1e-9, 3 })

	alice := b.enter(t, "alice")
	alice.message(alice.id, "second")
	alice.send("{")
	alice.message(alice.id, "fourth")
	got := map[string]int{}
	for range 4 {
		got[alice.read()]++
	}
	for _, want := range []string{sent, `{"type":"error","error":"bad request: frame is not a JSON object"}`,
		`{"type":"error","error":"too many requests, slow down"}`, `{"type":"message","sender":10000001,"content":"second"}`} {
		if got[want] != 1 {
			t.Errorf("%s came %d times", want, got[want])
		}
	}
}

func TestASocketWithoutALoginIsClosed(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.LoginTimeout = 200 * time.Millisecond })

	b.dial(t).expectClose(4000)
}

func TestTheTimeForTheLoginStopsWhileALoginIsWorkedOn(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.LoginTimeout = time.Second })

	began, goOn := make(chan struct{}), make(chan struct{})
	b.fail(accountsapi.PathLogin, func() error {
		close(began)
		<-goOn
		return fault.New(fault.Unauthorized, "acc not found")
	})
	c := b.dial(t)
	c.send(`{"type":"login","username":"slow","pin":"1234"}`)
	<-began
	<-time.After(1500 * time.Millisecond) // longer than the time for the login: what is tested
	close(goOn)
	c.expect(`{"type":"error","error":"acc not found"}`)
	c.expectClose(4000)
}

func TestASilentSocketIsClosedAndOneThatPongsIsNot(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat, c.Patience = time.Second, time.Second })

	silent, alive := b.enter(t, "silent"), b.enter(t, "alive")
	silent.ws.SetPingHandler(func(string) error { return nil }) // reads, but never pongs
	ended := make(chan struct{})
	go func() { // pongs are written while reading
		defer close(ended)
		_, _, _ = alive.ws.ReadMessage()
	}()
	silent.expectClose(4001)
	select {
	case <-ended:
		t.Error("the socket that pongs was closed")
	default:
	}
	alive.ws.Close()
	<-ended
}

func TestAnAccountHasALimitOfSockets(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.SocketsPerUser = 2 })

	b.enter(t, "alice")
	b.enter(t, "alice")
	third := b.dial(t)
	third.send(`{"type":"login","username":"alice","pin":"1234"}`)
	third.expect(`{"type":"error","error":"too many attempts, try again later"}`)
	third.expectClose(4501)
}

func TestOnlyAllowedOriginsMayConnect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	listed := setup(t, func(c *Config) { c.AllowedOrigins = []string{"https://chat.example"} })
	anyone := setup(t, func(c *Config) { c.AllowedOrigins = []string{"*"} })

	tests := []struct {
		b      *bundle
		origin string
		want   int
	}{
		{b, "", http.StatusSwitchingProtocols},
		{b, "http://" + b.addr, http.StatusSwitchingProtocols},
		{b, "https://evil.example", http.StatusForbidden},
		{b, "null", http.StatusForbidden},
		{listed, "https://chat.example", http.StatusSwitchingProtocols},
		{listed, "http://" + listed.addr, http.StatusForbidden},
		{anyone, "https://evil.example", http.StatusSwitchingProtocols},
	}
	for _, tt := range tests {
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		ws, resp, err := websocket.DefaultDialer.Dial("ws://"+tt.b.addr+"/", header)
		if err == nil {
			ws.Close()
		}
		if resp.StatusCode != tt.want {
			t.Errorf("origin %q: status %d, want %d", tt.origin, resp.StatusCode, tt.want)
		}
	}
}

func TestAPlainGetIsThePageAndOtherPathsAreNot(t *testing.T) {
	t.Parallel()
	b := setup(t)

	for path, want := range map[string]int{"/": 200, "/nope": 404, "/assets/nope": 404} {
		resp, err := http.Get("http://" + b.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestAClientThatDoesNotReadIsClosedAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.Patience, c.QueueBytes, c.RequestBurst, c.RequestsPerSec = time.Second, 64<<10, 1<<30, 1e9
	})

	frozen := b.enter(t, "frozen")
	if err := frozen.ws.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	alice := b.enter(t, "alice")
	content := strings.Repeat("x", 4000)
	for { // until the write deadline has passed
		alice.message(frozen.id, content)
		if alice.read() != sent {
			break // frozen is not connected any more
		}
	}
	back := b.enter(t, "frozen")
	back.expectMessages(alice.id, content, content)
	if testutil.ToFloat64(b.metrics.slowCloses) != 1 {
		t.Error("the slow client was not counted")
	}
}

func TestAStalledSocketGoesOnFromTheStore(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.QueueBytes, c.RequestBurst = 16<<10, 1<<30 })

	bob := b.enter(t, "bob")
	const messages = 1000 // 3 MB: more than the kernel's buffers and the queue hold
	filler := strings.Repeat("x", 3000)
	for i := range messages {
		b.ring(bob.id, b.append(bob.id, 10000009, fmt.Sprint(i, filler)))
	}
	for i := range messages {
		bob.expectMessages(10000009, fmt.Sprint(i, filler))
	}
	if testutil.ToFloat64(b.metrics.stalls) == 0 {
		t.Error("the queue was never full: nothing was tested")
	}
	b.neighbours.mu.Lock()
	defer b.neighbours.mu.Unlock()
	if b.given > 10*messages { // the queue takes 5 at once, and the shortest page has 16
		t.Errorf("%d events were read for %d", b.given, messages)
	}
}

func TestADrainAnswersWhatIsInFlightAndConfirmsWhatWasRead(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	began, goOn := make(chan struct{}), make(chan struct{})
	b.fail(socialapi.PathSend, func() error {
		close(began)
		<-goOn
		return nil
	})
	alice.message(bob.id, "on its way")
	<-began
	drained := make(chan struct{})
	go func() { b.stop(); close(drained) }()
	bob.expectClose(1012) // it drains
	if _, resp, err := websocket.DefaultDialer.Dial("ws://"+b.addr+"/", nil); err == nil {
		t.Errorf("a draining gateway takes sockets: %v", resp.Status)
	}
	close(goOn)
	alice.expect(sent)
	alice.expectClose(1012)
	bob.ws.Close()
	<-drained
}
