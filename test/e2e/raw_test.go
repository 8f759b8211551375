package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// rawClient speaks version 1 on a raw socket: for tests in which frames count, or
// what a library does by itself.
type rawClient struct {
	t    *testing.T
	ws   *websocket.Conn
	name string
	id   int
}

// dial opens a socket at a base URL (http://...).
func dial(t *testing.T, base string) *rawClient {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &rawClient{t: t, ws: ws}
}

// create makes an account with a unique name that begins with prefix.
func create(t *testing.T, base, prefix string) *rawClient {
	t.Helper()
	c := dial(t, base)
	c.name = uniqueName(prefix)
	c.send(map[string]any{"type": "create_acc", "username": c.name, "pin": pin})
	answer := c.readObject()
	if answer["type"] != "create_acc_resp" {
		t.Fatalf("creating %s: %v", c.name, answer)
	}
	c.id = int(answer["id"].(float64))
	return c
}

// again logs in to the account of c on a new socket.
func (c *rawClient) again(base string) *rawClient {
	c.t.Helper()
	next := dial(c.t, base)
	next.name, next.id = c.name, c.id
	next.send(map[string]any{"type": "login", "username": c.name, "pin": 1234})
	next.expect(fmt.Sprintf(`{"type":"resp","id":%d}`, c.id))
	return next
}

func (c *rawClient) raw(frame string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) send(request map[string]any) {
	c.t.Helper()
	frame, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.raw(string(frame))
}

func (c *rawClient) message(to int, content string) {
	c.t.Helper()
	c.send(map[string]any{"type": "send_msg", "recipient": to, "content": content})
}

func (c *rawClient) read() string {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	_, frame, err := c.ws.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(frame)
}

func (c *rawClient) readObject() (object map[string]any) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.read()), &object); err != nil {
		c.t.Fatal(err)
	}
	return object
}

func (c *rawClient) expect(want string) {
	c.t.Helper()
	if got := c.read(); got != want {
		c.t.Fatalf("got %s, want %s", got, want)
	}
}

func (c *rawClient) expectError(message string) {
	c.t.Helper()
	c.expect(`{"type":"error","error":"` + message + `"}`)
}

func (c *rawClient) expectMessages(sender int, contents ...string) {
	c.t.Helper()
	for _, content := range contents {
		c.expect(messageFrame(sender, content))
	}
}

func messageFrame(sender int, content string) string {
	return fmt.Sprintf(`{"type":"message","sender":%d,"content":"%s"}`, sender, content)
}

const sent = `{"type":"send_resp","status":"success"}`
