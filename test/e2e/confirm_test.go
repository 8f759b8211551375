package e2e

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/internal/local"
)

// kill ends a socket as the death of its process does, of a client that has read all:
// what is under way to it is lost.
func (c *rawClient) kill() {
	c.t.Helper()
	if err := c.ws.NetConn().(*net.TCPConn).SetLinger(0); err != nil {
		c.t.Fatal(err)
	}
	c.ws.Close()
}

// confirm reads on until what was read is confirmed by a pong, and that is stored:
// two seconds later at the latest.
func (c *rawClient) confirm() {
	c.t.Helper()
	ponged := false
	c.ws.SetPingHandler(func(payload string) error {
		if !ponged {
			ponged = true
			_ = c.ws.SetReadDeadline(time.Now().Add(2 * time.Second))
		}
		return c.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(patience))
	})
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	_, frame, err := c.ws.ReadMessage()
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() || !ponged {
		c.t.Fatalf("got %s, %v; a ping came: %v", frame, err, ponged)
	}
}

func TestWhatVersion1HasNotConfirmedComesAgainAndWhatItHasDoesNot(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{})
	one, two := pair(d)

	alice, carol, bob := join(t, two, 1, "alice"), join(t, two, 1, "carol"), create(t, one, "bob")
	asked := fmt.Sprintf(`{"type":"friend_request","user":%d}`, carol.id)
	bob.ws.SetPingHandler(func(string) error { return nil }) // it is killed before it pongs
	contents := []string{"1", "2", "3"}
	for _, content := range contents {
		alice.says(bob.id, content)
	}
	bob.expectMessages(alice.id, contents...)
	carol.does(carol.RequestFriend(within(t), bob.id))
	bob.expect(asked)
	bob.kill()

	bob = bob.again(two)
	bob.ws.SetPingHandler(func(string) error { return nil })
	bob.expectMessages(alice.id, contents...)
	bob.expect(asked)
	bob.kill()

	bob = bob.again(one)
	bob.expectMessages(alice.id, contents...)
	bob.expect(asked)
	bob.confirm()
	if err := d.Kill(t.Context(), "gateway-1"); err != nil { // what it did not store is lost
		t.Fatal(err)
	}
	for range 2 {
		bob = bob.again(two)
		bob.expect(asked) // delivered, and still waits for an answer
		alice.says(bob.id, "new")
		bob.expectMessages(alice.id, "new")
		bob.confirm()
		bob.kill()
	}
}
