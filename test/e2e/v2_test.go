package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client2 is a version 2 client on a raw socket.
type client2 struct {
	client
	token, epoch string
	events       []map[string]any // that came while an answer was awaited
}

func dial2(t *testing.T, base string) *client2 {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"pymessage.v2"}}
	ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &client2{client: client{t: t, ws: ws}}
}

// enter2 sends a request that logs in, and takes its answer and what follows up to
// synced.
func (c *client2) enter2(request map[string]any) (events []map[string]any) {
	c.t.Helper()
	c.send(request)
	answer := c.object()
	if answer["error"] != nil {
		c.t.Fatalf("got %v", answer)
	}
	c.id, c.epoch = int(answer["id"].(float64)), answer["epoch"].(string)
	if token, ok := answer["token"].(string); ok {
		c.token = token
	}
	for event := c.object(); event["type"] != "synced"; event = c.object() {
		events = append(events, event)
	}
	return events
}

func create2(t *testing.T, base, prefix string) *client2 {
	t.Helper()
	c := dial2(t, base)
	c.name = uniqueName(prefix)
	c.enter2(map[string]any{"type": "create_acc", "username": c.name, "pin": "1234"})
	return c
}

// resume goes on with the session of c on a new socket.
func (c *client2) resume(base string, since int64) (*client2, []map[string]any) {
	c.t.Helper()
	next := dial2(c.t, base)
	next.name, next.token = c.name, c.token
	return next, next.enter2(map[string]any{"type": "resume", "token": c.token, "since": since, "epoch": c.epoch})
}

// object reads the next frame other than a heartbeat.
func (c *client2) object() map[string]any {
	c.t.Helper()
	for {
		if object := c.readObject(); object["type"] != "heartbeat" {
			return object
		}
	}
}

func (c *client2) expectClose(code int) {
	c.t.Helper()
	for {
		_, err := c.tryRead()
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, code) {
			c.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		return
	}
}

func TestVersion2ResumesOnAnotherGatewayWhereItWas(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	for i := range 3 {
		alice.message(bob.id, fmt.Sprint(i+1))
		if answer := alice.object(); answer["status"] != "success" || answer["id"] != fmt.Sprintf("%d-%d", bob.id, i+1) {
			t.Fatalf("got %v", answer)
		}
	}
	for i := range 3 {
		if event := bob.object(); event["seq"] != float64(i+1) || event["content"] != fmt.Sprint(i+1) {
			t.Fatalf("got %v", event)
		}
	}
	bob.ws.Close()
	eventually(t, "bob counts as gone", func() bool {
		alice.message(bob.id, "away")
		return alice.object()["status"] == "queued"
	})
	back, events := bob.resume(one, 2)
	if len(events) < 2 || events[0]["content"] != "3" || events[len(events)-1]["content"] != "away" {
		t.Fatalf("after 2 came %v", events)
	}
	for i, event := range events {
		if event["seq"] != float64(i+3) {
			t.Errorf("event %d has seq %v", i, event["seq"])
		}
	}
	last := int64(len(events) + 2)
	back.send(map[string]any{"type": "ack", "seq": last, "ref": 1})
	if answer := back.object(); answer["type"] != "ack_resp" {
		t.Fatalf("got %v", answer)
	}
	eventually(t, "the acknowledged need not come again", func() bool {
		c := dial2(t, two)
		defer c.ws.Close()
		return len(c.enter2(map[string]any{"type": "login", "username": bob.name, "pin": "1234"})) == 0
	})
}

func TestTheSameNonceFiftyTimesOnTwoGatewaysIsOneMessage(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	sockets := []*client2{alice}
	for i := range 9 {
		next, _ := alice.resume([]string{two, one}[i%2], 0)
		sockets = append(sockets, next)
	}
	const each = 5
	answers := make([]map[string]int, len(sockets))
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i, c := range sockets {
		answers[i] = map[string]int{}
		all.Go(func() {
			<-begin
			frame, _ := json.Marshal(map[string]any{"type": "send_msg", "recipient": bob.id, "content": "once", "nonce": "the same"})
			for range each {
				_ = c.ws.WriteMessage(websocket.TextMessage, frame)
			}
			for n := 0; n < each; {
				answer, err := c.tryRead()
				if err != nil {
					return
				}
				if !strings.HasPrefix(answer, `{"type":"heartbeat"`) {
					answers[i][answer]++
					n++
				}
			}
		})
	}
	close(begin)
	all.Wait()
	total := map[string]int{}
	for _, a := range answers {
		for answer, n := range a {
			total[answer] += n
		}
	}
	if len(total) != 1 {
		t.Fatalf("the answers differ: %v", total)
	}
	for answer, n := range total {
		if n != len(sockets)*each || !strings.Contains(answer, fmt.Sprintf(`"id":"%d-1"`, bob.id)) {
			t.Fatalf("%d answers %s", n, answer)
		}
	}
	alice.message(bob.id, "the end")
	if first, second := bob.object(), bob.object(); first["content"] != "once" || second["content"] != "the end" {
		t.Fatalf("got %v and %v", first, second)
	}
}

func TestARevokedTokenLosesItsSocketsOnEveryGateway(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice := create2(t, one, "alice")
	here, _ := alice.resume(one, 0)
	there, _ := alice.resume(two, 0)
	other := dial2(t, two) // another session of the same account
	other.enter2(map[string]any{"type": "login", "username": alice.name, "pin": "1234"})
	// Sockets are checked once a second after their login. That is over with here, so
	// that only the ring can end them at once.
	<-time.After(1500 * time.Millisecond)
	began := time.Now()
	alice.send(map[string]any{"type": "logout"})
	here.expectClose(4502)
	there.expectClose(4502)
	alice.expectClose(4502)
	if took := time.Since(began); took > 5*time.Second { // one second, on a loaded machine
		t.Errorf("took %v", took)
	}
	late := dial2(t, one)
	late.send(map[string]any{"type": "resume", "token": alice.token, "since": 0, "epoch": alice.epoch})
	late.expect(`{"type":"error","error":"session is over","code":"token_invalid"}`)
	other.message(other.id, "still here")
	if answer := other.object(); answer["error"] != nil {
		t.Errorf("got %v", answer)
	}
}
