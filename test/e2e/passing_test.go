package e2e

import (
	"fmt"
	"testing"

	"pymessage/internal/local"
)

// expectPassing takes the next frames, of which the first of this type must have these
// fields. Others are events that are tested elsewhere.
func (c *client2) expectPassing(want map[string]any) {
	c.t.Helper()
	for {
		frame := c.object()
		if frame["type"] != want["type"] {
			continue
		}
		if fmt.Sprint(frame) != fmt.Sprint(want) {
			c.t.Fatalf("got %v, want %v", frame, want)
		}
		return
	}
}

// expectNext takes a frame that must be the very next one.
func (c *client2) expectNext(kind string) map[string]any {
	c.t.Helper()
	frame := c.object()
	if frame["type"] != kind {
		c.t.Fatalf("got %v, want %s", frame, kind)
	}
	return frame
}

func befriend2(a, b *client2) {
	a.t.Helper()
	a.expectAnswer(a.about("request_friend", b.id), "status", "sent")
	b.expectAnswer(b.about("add_friend", a.id), "status", "added")
}

func id(user int) float64 { return float64(user) }

func TestWhatOneSocketSendsAndReadsTheOthersHearOf(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	here, _ := alice.resume(one, 0)
	there, _ := alice.resume(two, 0)
	for i := range 3 {
		content := fmt.Sprint("hi ", i)
		answer := alice.ask(map[string]any{"type": "send_msg", "recipient": bob.id, "content": content, "nonce": content})
		again := alice.ask(map[string]any{"type": "send_msg", "recipient": bob.id, "content": content, "nonce": content})
		alice.expectAnswer(again, "id", answer["id"])
		for _, other := range []*client2{here, there} {
			if got := other.expectNext("sent"); got["content"] != content || got["recipient"] != id(bob.id) || got["id"] != answer["id"] || got["sent_at"] != answer["sent_at"] || len(got) != 5 {
				t.Fatalf("got %v", got)
			}
		}
	}
	alice.expectAnswer(alice.about("typing", bob.id), "code", "not_friend")
	befriend2(alice, bob)
	alice.expectAnswer(alice.about("typing", bob.id), "type", "typing_resp")
	bob.expectPassing(map[string]any{"type": "typing", "user": id(alice.id)})

	event := fmt.Sprintf("%d-2", bob.id)
	second, _ := bob.resume(one, 0)
	bob.send(map[string]any{"type": "ack", "seq": 3})
	for _, c := range []*client2{alice, here, there} {
		c.expectPassing(map[string]any{"type": "receipt", "user": id(bob.id), "state": "delivered", "id": fmt.Sprintf("%d-3", bob.id)})
	}
	bob.expectAnswer(bob.ask(map[string]any{"type": "mark_read", "user": alice.id, "id": event}), "id", event)
	second.expectPassing(map[string]any{"type": "read", "user": id(alice.id), "id": event})
	for _, c := range []*client2{alice, here, there} {
		c.expectPassing(map[string]any{"type": "receipt", "user": id(bob.id), "state": "read", "id": event})
	}
}

func TestAPongOfVersion1IsAReceiptToVersion2(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create(t, two, "bob")
	answer := alice.ask(map[string]any{"type": "send_msg", "recipient": bob.id, "content": "hi"})
	bob.expect(fmt.Sprintf(`{"type":"message","sender":%d,"content":"hi"}`, alice.id))
	go func() { // the pong is sent by reading
		for err := error(nil); err == nil; {
			_, _, err = bob.ws.ReadMessage()
		}
	}()
	alice.expectPassing(map[string]any{"type": "receipt", "user": id(bob.id), "state": "delivered", "id": answer["id"]})
}

// online asks who is, and watches from then on.
func (c *client2) online() string {
	c.t.Helper()
	return fmt.Sprint(c.ask(map[string]any{"type": "watch_presence"})["online"])
}

func TestWhoWatchesIsToldWhichFriendsComeAndGo(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob, eve := create2(t, one, "alice"), create2(t, two, "bob"), create2(t, two, "eve")
	befriend2(alice, bob)
	if got, want := alice.online(), fmt.Sprint([]any{id(bob.id)}); got != want {
		t.Fatalf("online are %v, want %v", got, want)
	}
	befriend2(alice, eve) // from now on eve is watched too
	alice.expectPassing(map[string]any{"type": "online", "user": id(eve.id)})
	bob.ws.Close()
	alice.expectPassing(map[string]any{"type": "offline", "user": id(bob.id)})
	if got, want := alice.online(), fmt.Sprint([]any{id(eve.id)}); got != want {
		t.Fatalf("online are %v, want %v", got, want)
	}
	back, _ := bob.resume(one, 0)
	alice.expectPassing(map[string]any{"type": "online", "user": id(bob.id)})
	back.ws.Close() // and comes back within the grace: nothing is told
	bob, _ = bob.resume(two, 0)
	bob.expectAnswer(bob.about("remove_friend", alice.id), "status", "removed")
	eve.ws.Close()
	for {
		frame := alice.object()
		if frame["type"] == "offline" || frame["type"] == "online" {
			if frame["type"] != "offline" || frame["user"] != id(eve.id) {
				t.Fatalf("got %v", frame)
			}
			break
		}
	}
	if got := alice.online(); got != "[]" {
		t.Fatalf("online are %v", got)
	}
}

func TestWhoBecomesAFriendAgainAtOnceIsToldOfAgain(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	befriend2(alice, bob)
	if got, want := alice.online(), fmt.Sprint([]any{id(bob.id)}); got != want {
		t.Fatalf("online are %v, want %v", got, want)
	}
	for range 3 { // once at least between two looks at who is a friend
		alice.expectAnswer(alice.about("remove_friend", bob.id), "status", "removed")
		befriend2(alice, bob)
		alice.expectPassing(map[string]any{"type": "online", "user": id(bob.id)})
	}
}

func TestTheFriendsOfAKilledGatewayAreOfflineInTheEnd(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{})
	one, two := pair(d)

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	befriend2(alice, bob)
	if got, want := alice.online(), fmt.Sprint([]any{id(bob.id)}); got != want {
		t.Fatalf("online are %v, want %v", got, want)
	}
	if err := d.Kill(t.Context(), d.Gateways()[1].Name); err != nil {
		t.Fatal(err)
	}
	alice.expectPassing(map[string]any{"type": "offline", "user": id(bob.id)})
}
