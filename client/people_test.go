package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/client"
)

// answers gives these answers to what comes, each of which is a request of the type
// that its name says.
func (p *peer) answers(types, answers []string) {
	p.t.Helper()
	for i, kind := range types {
		got := object(p.read())
		if got["type"] != kind {
			p.fail("got %v, want %s", got, kind)
			return
		}
		p.send(`%s,"ref":%v}`, answers[i][:len(answers[i])-1], got["ref"])
	}
}

func TestWhatVersion2TellsOfOthersIsReadAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asked := []struct {
			kind, answer string
			ask          func(context.Context, *client.Client) (any, error)
			want         any
		}{
			{"get_requests", `{"type":"requests_resp","incoming":[{"username":"eve","id":7,"since":5}],"outgoing":[]}`,
				func(ctx context.Context, c *client.Client) (any, error) { return c.Requests(ctx) },
				client.Requests{Incoming: []client.FriendWaiter{{Username: "eve", ID: 7, SinceMS: 5}}, Outgoing: []client.FriendWaiter{}}},
			{"get_blocked", `{"type":"blocked_resp","blocked":[{"username":"eve","id":7}]}`,
				func(ctx context.Context, c *client.Client) (any, error) { return c.Blocked(ctx) },
				[]client.Friend{{Username: "eve", ID: 7}}},
			{"find_user", `{"type":"user_resp","user":{"username":"eve","id":7}}`,
				func(ctx context.Context, c *client.Client) (any, error) { return c.FindUser(ctx, "eve") },
				client.Friend{Username: "eve", ID: 7}},
			{"get_history", `{"type":"history_resp","user":7,"messages":[{"id":"7-1","sender":10000001,"content":"hi","sent_at":5,"state":"read"}],"more":true}`,
				func(ctx context.Context, c *client.Client) (any, error) { return c.History(ctx, 7, "", 1) },
				client.History{More: true, Messages: []client.HistoryMessage{{ID: "7-1", Sender: me, Content: "hi", SentAt: time.UnixMilli(5).UTC(), State: client.WasRead}}}},
			{"mark_read", `{"type":"read_resp","user":7,"id":"10000001-9"}`,
				func(ctx context.Context, c *client.Client) (any, error) { return c.MarkRead(ctx, 7, "10000001-8") }, "10000001-9"},
			{"watch_presence", `{"type":"presence_resp","online":[7]}`,
				func(ctx context.Context, c *client.Client) (any, error) { return c.WatchPresence(ctx) }, []int{7}},
			{"block", `{"type":"block_resp","status":"blocked"}`,
				func(ctx context.Context, c *client.Client) (any, error) { return nil, c.Block(ctx, 7) }, nil},
		}
		var kinds, answers []string
		for _, a := range asked {
			kinds, answers = append(kinds, a.kind), append(answers, a.answer)
		}
		b := play(t, nil, func(p *peer) {
			p.login(1, 0)
			p.synced(0)
			p.answers(kinds, answers)
			p.goodbye()
		})
		b.hears("synced 0")
		for _, a := range asked {
			got, err := a.ask(t.Context(), b.Client)
			if diff := cmp.Diff(a.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s", a.kind, err, diff)
			}
		}
	})
}

func TestWhatPassesIsHandedOverAndNeverAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		heard := make(chan string, 10)
		b := play(t, func(cfg *client.Config) {
			cfg.OnPassing = func(_ context.Context, _ *client.Client, p client.Passing) {
				heard <- fmt.Sprint(p.Kind, " ", p.Peer, " ", p.ID, " ", p.State, " ", p.Content)
			}
		}, func(p *peer) {
			p.login(1, 0)
			p.synced(0)
			p.send(`{"type":"receipt","user":7,"state":"read","id":"7-3"}`)
			p.send(`{"type":"sent","recipient":7,"content":"hi","id":"7-4","sent_at":5}`)
			p.send(`{"type":"online","user":7}`)
			p.goodbye()
		})
		b.hears("synced 0")
		for _, want := range []string{"receipt 7 7-3 read ", "sent 7 7-4  hi", "online 7   "} {
			if got := <-heard; got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		}
	})
}

func TestVersion1KnowsNothingOfVersion2(t *testing.T) {
	t.Parallel()

	c, err := client.New(client.Config{URLs: []string{"ws://a/"}, Username: "bob", Pin: "1234", Version: client.Version1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.History(t.Context(), 7, "", 1); !errors.Is(err, client.ErrVersion) {
		t.Error(err)
	}
	if err := c.Block(t.Context(), 7); !errors.Is(err, client.ErrVersion) {
		t.Error(err)
	}
}
