package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/client"
	"pymessage/internal/local"
)

// TestWhatIsOldAndDeliveredGoesAndNobodyIsLeftWithASilentHole lets bob acknowledge a
// friend request and four of six messages, which are then pruned.
func TestWhatIsOldAndDeliveredGoesAndNobodyIsLeftWithASilentHole(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Env: map[string][]string{"social": {"MESSAGE_RETENTION=1s"}}})
	one, two := pair(d)

	alice, carol, bob := create2(t, one, "alice"), join(t, two, 2, "carol"), create2(t, two, "bob")
	carol.does(carol.RequestFriend(within(t), bob.id))
	var ids []string
	for i := range 6 {
		answer := alice.ask(map[string]any{"type": "send_msg", "recipient": bob.id, "content": fmt.Sprint(i)})
		ids = append(ids, answer["id"].(string))
	}
	for seq := range 7 {
		if ev := bob.object(); ev["seq"] != float64(seq+1) {
			t.Fatalf("got %v", ev)
		}
	}
	bob.ask(map[string]any{"type": "ack", "seq": 5})
	eventually(t, "pruning", func() bool { return len(history(alice, bob.id, "")) == 2 })

	t.Run("history", func(t *testing.T) {
		for _, side := range []struct {
			who  *client2
			user int
		}{{alice, bob.id}, {bob, alice.id}} {
			if diff := cmp.Diff(ids[4:], history(side.who, side.user, "")); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if got := history(side.who, side.user, ids[1]); len(got) != 0 {
				t.Errorf("before one that is not kept: %v", got)
			}
		}
	})
	t.Run("a resume from before what is kept", func(t *testing.T) {
		for since, resynced := range []bool{true, true, true, true, true, false, false, false} {
			_, events := bob.resume(one, int64(since))
			if resynced {
				ev := events[0]
				if ev["type"] != "resync" || ev["oldest"] != 6.0 || ev["seq"] != 5.0 || ev["epoch"] != bob.epoch {
					t.Errorf("since %d: got %v", since, ev)
				}
				events = events[1:]
			}
			next := max(since, 5) + 1
			if len(events) != 7-next+1 {
				t.Errorf("since %d: got %v", since, events)
			}
			for i, ev := range events {
				if ev["seq"] != float64(next+i) || ev["content"] != fmt.Sprint(next+i-2) || ev["id"] != ids[next+i-2] {
					t.Errorf("since %d: got %v in place of %d", since, ev, next+i)
				}
			}
		}
	})
	t.Run("version 1", func(t *testing.T) {
		v1 := &rawClient{t: t, name: bob.name, id: bob.id}
		for _, base := range []string{one, two} { // at each login, and nothing of it is confirmed
			next := v1.again(base)
			next.ws.SetPingHandler(func(string) error { return nil })
			next.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, carol.id)) // its event is pruned
			next.expectMessages(alice.id, "4", "5")
			next.kill()
		}
	})
	t.Run("the Go client, which acknowledges", func(t *testing.T) {
		heard := make(chan string, 10)
		state := client.State{Token: bob.token, Since: 2, Epoch: bob.epoch}
		connect(t, client.Config{URLs: []string{two}, State: state},
			func(cfg *client.Config) {
				cfg.OnEvent = func(_ context.Context, _ *client.Client, ev client.Event) { heard <- ev.Content }
				cfg.OnResync = func(_ context.Context, _ *client.Client, r client.Resync) {
					heard <- fmt.Sprint("resync ", r.Oldest, " ", r.Seq, " ", r.Epoch == bob.epoch)
				}
				cfg.OnSynced = func(_ context.Context, _ *client.Client, seq int64) { heard <- fmt.Sprint("synced ", seq) }
			})
		for _, want := range []string{"resync 6 5 true", "4", "5", "synced 7"} {
			select {
			case got := <-heard:
				if got != want {
					t.Fatalf("heard %q, want %q", got, want)
				}
			case <-within(t).Done():
				t.Fatalf("never heard %q", want)
			}
		}
	})
}

// history are the ids of the messages of a conversation, before one if it is given.
func history(c *client2, user int, before string) (ids []string) {
	c.t.Helper()
	request := map[string]any{"type": "get_history", "user": user}
	if before != "" {
		request["before"] = before
	}
	answer := c.ask(request)
	c.expectAnswer(answer, "type", "history_resp")
	c.expectAnswer(answer, "more", false)
	for _, m := range answer["messages"].([]any) {
		ids = append(ids, m.(map[string]any)["id"].(string))
	}
	return ids
}
