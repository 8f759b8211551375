package e2e

import (
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// client2 is a version 2 client on a raw socket.
type client2 struct {
	rawClient
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
	return &client2{rawClient: rawClient{t: t, ws: ws}}
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
	c.enter2(map[string]any{"type": "create_acc", "username": c.name, "pin": pin})
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
