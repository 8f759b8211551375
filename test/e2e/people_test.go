package e2e

import (
	"fmt"
	"testing"
)

// about sends a request about another user, and gives the answer; events that come
// before it are kept.
func (c *client2) about(kind string, user int) map[string]any {
	c.t.Helper()
	return c.ask(map[string]any{"type": kind, "user": user})
}

// ask sends a request and gives its answer; events that come before it are kept.
func (c *client2) ask(request map[string]any) map[string]any {
	c.t.Helper()
	request["ref"] = "asked"
	c.send(request)
	for {
		if frame := c.object(); frame["ref"] == "asked" {
			delete(frame, "ref")
			return frame
		} else {
			c.events = append(c.events, frame)
		}
	}
}

// expectEvents takes the next events, which must be of these kinds and about user.
func (c *client2) expectEvents(user int, kinds ...string) {
	c.t.Helper()
	for _, kind := range kinds {
		if len(c.events) == 0 {
			c.events = append(c.events, c.object())
		}
		if ev := c.events[0]; ev["type"] != kind || ev["user"] != float64(user) || ev["id"] != fmt.Sprintf("%d-%v", c.id, ev["seq"]) {
			c.t.Fatalf("got %v, want %s of %d", ev, kind, user)
		}
		c.events = c.events[1:]
	}
}

func (c *client2) expectAnswer(answer map[string]any, name string, want any) {
	c.t.Helper()
	if answer[name] != want {
		c.t.Fatalf("got %v, want %v in %s", answer, want, name)
	}
}

func TestWhatIsBetweenTwoUsersIsToldToBothOnEveryGateway(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	other, _ := alice.resume(two, 0)
	other.id = alice.id
	sockets := []*client2{alice, other}
	toAlice := func(kinds ...string) {
		t.Helper()
		for _, c := range sockets {
			c.expectEvents(bob.id, kinds...)
		}
	}
	found := other.ask(map[string]any{"type": "find_user", "username": bob.name})
	if user := found["user"].(map[string]any); user["id"] != float64(bob.id) {
		t.Fatalf("got %v", found)
	}
	other.expectAnswer(other.ask(map[string]any{"type": "find_user", "username": "nobody at all"}), "code", "user_not_found")

	alice.expectAnswer(alice.about("request_friend", bob.id), "status", "sent")
	toAlice("request_sent")
	bob.expectEvents(alice.id, "friend_request")
	if answer := other.ask(map[string]any{"type": "get_requests"}); len(answer["outgoing"].([]any)) != 1 || len(answer["incoming"].([]any)) != 0 {
		t.Fatalf("got %v", answer)
	}
	other.expectAnswer(other.about("cancel_request", bob.id), "status", "cancelled")
	other.expectAnswer(other.about("cancel_request", bob.id), "error", fmt.Sprintf("no friend request to %d", bob.id))
	toAlice("request_closed")
	bob.expectEvents(alice.id, "request_closed")
	bob.expectAnswer(bob.about("add_friend", alice.id), "code", "no_request")

	alice.expectAnswer(alice.about("request_friend", bob.id), "status", "sent")
	bob.expectAnswer(bob.about("add_friend", alice.id), "status", "added")
	toAlice("request_sent", "friend_added")
	bob.expectEvents(alice.id, "friend_request", "friend_added")
	bob.expectAnswer(bob.about("remove_friend", alice.id), "status", "removed")
	bob.expectAnswer(bob.about("remove_friend", alice.id), "code", "not_friend")
	toAlice("friend_removed")
	bob.expectEvents(alice.id, "friend_removed")
}

func TestABlockLooksLikeAbsence(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	alice.about("request_friend", bob.id)
	bob.about("add_friend", alice.id)
	bob.expectAnswer(bob.about("block", alice.id), "status", "blocked")
	bob.expectAnswer(bob.about("block", alice.id), "status", "blocked")
	bob.expectAnswer(bob.about("block", bob.id), "code", "block_failed")
	bob.expectEvents(alice.id, "friend_request", "friend_added", "friend_removed", "blocked")
	send := func(from, to *client2) map[string]any {
		return from.ask(map[string]any{"type": "send_msg", "recipient": to.id, "content": "hi"})
	}
	alice.expectAnswer(send(alice, bob), "error", fmt.Sprintf("%d is not connected to the network", bob.id))
	bob.expectAnswer(send(bob, alice), "code", "not_connected")
	alice.expectAnswer(alice.about("request_friend", bob.id), "code", "request_failed")
	if answer := bob.ask(map[string]any{"type": "get_blocked"}); len(answer["blocked"].([]any)) != 1 {
		t.Fatalf("got %v", answer)
	}
	if answer := alice.ask(map[string]any{"type": "get_blocked"}); len(answer["blocked"].([]any)) != 0 {
		t.Fatalf("got %v", answer)
	}
	bob.expectAnswer(bob.about("unblock", alice.id), "status", "unblocked")
	bob.expectAnswer(bob.about("unblock", alice.id), "code", "not_blocked")
	alice.expectAnswer(send(alice, bob), "status", "success")
	alice.expectEvents(bob.id, "request_sent", "friend_added", "friend_removed") // and nothing else
	bob.expectEvents(alice.id, "unblocked")
}

func TestHistoryHasBothSidesAndHowFarEachMessageCame(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create2(t, one, "alice"), create2(t, two, "bob")
	var ids []string
	for i := range 5 {
		from, to := alice, bob
		if i%2 == 1 {
			from, to = bob, alice
		}
		answer := from.ask(map[string]any{"type": "send_msg", "recipient": to.id, "content": fmt.Sprint(i)})
		ids = append(ids, answer["id"].(string))
	}
	page := alice.ask(map[string]any{"type": "get_history", "user": bob.id, "limit": 2})
	if messages := page["messages"].([]any); len(messages) != 2 || page["more"] != true || messages[0].(map[string]any)["id"] != ids[3] {
		t.Fatalf("got %v", page)
	}
	bob.send(map[string]any{"type": "ack", "seq": 2})
	bob.expectAnswer(bob.ask(map[string]any{"type": "mark_read", "user": alice.id, "id": ids[0]}), "id", ids[0])
	bob.expectAnswer(bob.ask(map[string]any{"type": "mark_read", "user": alice.id, "id": ids[1]}), "code", "read_failed")
	eventually(t, "the states are known", func() bool {
		page := alice.ask(map[string]any{"type": "get_history", "user": bob.id, "before": ids[4]})
		var got []any
		for _, m := range page["messages"].([]any) {
			got = append(got, m.(map[string]any)["content"], m.(map[string]any)["state"])
		}
		return page["more"] == false && fmt.Sprint(got) == "[0 read 1 <nil> 2 delivered 3 <nil>]"
	})
}
