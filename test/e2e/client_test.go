package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client is a version 1 client on a raw socket.
type client struct {
	t    *testing.T
	ws   *websocket.Conn
	name string
	id   int
}

// dial opens a socket at a base URL (http://...).
func dial(t *testing.T, base string) *client {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{t: t, ws: ws}
}

var names atomic.Int64

// uniqueName is a username that no other test has.
func uniqueName(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, time.Now().UnixNano()%1e9, names.Add(1))
}

// create makes an account with a unique name that begins with prefix.
func create(t *testing.T, base, prefix string) *client {
	t.Helper()
	c := dial(t, base)
	c.name = uniqueName(prefix)
	c.send(map[string]any{"type": "create_acc", "username": c.name, "pin": "1234"})
	answer := c.readObject()
	if answer["type"] != "create_acc_resp" {
		t.Fatalf("creating %s: %v", c.name, answer)
	}
	c.id = int(answer["id"].(float64))
	return c
}

// again logs in to the account of c on a new socket. While a part is away that a
// login needs, it is tried again, as its error says.
func (c *client) again(base string) *client {
	c.t.Helper()
	next := dial(c.t, base)
	next.name, next.id = c.name, c.id
	var answer string
	eventually(c.t, "the login succeeds", func() bool {
		next.send(map[string]any{"type": "login", "username": c.name, "pin": 1234})
		answer = next.read()
		return answer != `{"type":"error","error":"service unavailable, try again"}`
	})
	if answer != fmt.Sprintf(`{"type":"resp","id":%d}`, c.id) {
		c.t.Fatalf("login: %s", answer)
	}
	return next
}

func (c *client) raw(frame string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) send(request map[string]any) {
	c.t.Helper()
	frame, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.raw(string(frame))
}

func (c *client) message(to int, content string) {
	c.t.Helper()
	c.send(map[string]any{"type": "send_msg", "recipient": to, "content": content})
}

// tryRead gives the next frame, or the error that ended the socket.
func (c *client) tryRead() (string, error) {
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	_, frame, err := c.ws.ReadMessage()
	return string(frame), err
}

func (c *client) read() string {
	c.t.Helper()
	frame, err := c.tryRead()
	if err != nil {
		c.t.Fatal(err)
	}
	return frame
}

func (c *client) readObject() (object map[string]any) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.read()), &object); err != nil {
		c.t.Fatal(err)
	}
	return object
}

func (c *client) expect(want string) {
	c.t.Helper()
	if got := c.read(); got != want {
		c.t.Fatalf("got %s, want %s", got, want)
	}
}

func (c *client) expectError(message string) {
	c.t.Helper()
	c.expect(`{"type":"error","error":"` + message + `"}`)
}

func (c *client) expectMessage(sender int, content string) {
	c.t.Helper()
	c.expect(messageFrame(sender, content))
}

func messageFrame(sender int, content string) string {
	return fmt.Sprintf(`{"type":"message","sender":%d,"content":"%s"}`, sender, content)
}

// expectFriends asks for the list of friends.
func (c *client) expectFriends(friends ...*client) {
	c.t.Helper()
	c.send(map[string]any{"type": "get_friends"})
	list := []string{}
	for _, f := range friends {
		list = append(list, fmt.Sprintf(`{"username":"%s","id":%d}`, f.name, f.id))
	}
	c.expect(`{"type":"friends_resp","friends":[` + strings.Join(list, ",") + `]}`)
}

// about sends a request of one type about another user.
func (c *client) about(request string, user int) {
	c.t.Helper()
	c.send(map[string]any{"type": request, "user": user})
}

const (
	sent      = `{"type":"send_resp","status":"success"}`
	requested = `{"type":"request_resp","status":"sent"}`
	added     = `{"type":"add_resp","status":"added"}`
	denied    = `{"type":"deny_resp","status":"success"}`
)

// eventually asks until the answer is yes. What it waits for has no event of its own.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); {
		if time.Now().After(deadline) {
			t.Fatalf("never came to pass: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
