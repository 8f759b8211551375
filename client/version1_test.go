package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/client"
)

func version1(c *client.Config) { c.Version = client.Version1 }

// entered1 is a login of version 1.
func entered1(p *peer) {
	p.t.Helper()
	p.expect(`{"type":"login","username":"bob","pin":"1234"}`)
	p.send(`{"type":"resp","id":%d}`, me)
}

const sent1 = `{"type":"send_resp","status":"success"}`

func TestVersion1MatchesAnswersByOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, version1, func(p *peer) {
			entered1(p)
			p.expect(`{"type":"send_msg","recipient":20000002,"content":"first"}`)
			p.send(`{"type":"message","sender":20000002,"content":"in between"}`)
			p.send(sent1)
			p.expect(`{"type":"send_msg","recipient":20000002,"content":"second"}`)
			p.expect(`{"type":"send_msg","recipient":20000002,"content":"third"}`)
			p.send(`{"type":"something","new":1}`)
			<-time.After(10 * time.Second) // second is given up, and keeps its place
			p.send(`{"type":"error","error":"20000002 is not connected to the network"}`)
			p.send(sent1)
			p.goodbye()
		})
		if r := <-b.sends(t.Context(), "first"); r.err != nil || r.sent != (client.SendResult{Status: client.Delivered}) {
			t.Errorf("got %+v", r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second, third := b.sends(ctx, "second"), b.sends(t.Context(), "third")
		if err := (<-second).err; !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		if r := <-third; r.err != nil {
			t.Errorf("got %+v", r)
		}
		b.hears("0 message 20000002 in between")
	})
}

func TestVersion1LogsInAgainAndDoesNotSendAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, version1, func(p *peer) {
			entered1(p)
			p.expect(`{"type":"get_friends"}`)
			p.expect(`{"type":"send_msg","recipient":20000002,"content":"lost"}`)
			p.send(`{"type":"friend_request","user":30000003}`)
		}, func(p *peer) {
			entered1(p)
			p.send(`{"type":"friend_request","user":30000003}`) // again: version 1 cannot know
			p.expect(`{"type":"get_friends"}`)
			p.send(`{"type":"friends_resp","friends":[{"username":"al","id":7}]}`)
			p.expect(`{"type":"send_msg","recipient":20000002,"content":"next"}`)
			p.send(`{"type":"error","error":"failed to send message"}`)
			p.goodbye()
		})
		friends := make(chan []client.Friend, 1)
		go func() {
			got, _ := b.Friends(t.Context())
			friends <- got
		}()
		synctest.Wait()
		if err := (<-b.sends(t.Context(), "lost")).err; !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]client.Friend{{Username: "al", ID: 7}}, <-friends); diff != "" {
			t.Error(diff)
		}
		if err := (<-b.sends(t.Context(), "next")).err; !errors.Is(err, client.ErrSendFailed) {
			t.Errorf("got %v", err)
		}
		b.hears("0 friend_request 30000003 ", "0 friend_request 30000003 ")
	})
}

func TestVersion1KnowsTheCodesOfTexts(t *testing.T) {
	t.Parallel()
	tests := map[string]client.Code{
		"77777777 is not connected to the network": client.ErrNotConnected,
		"7 is not your friend":                     client.ErrNotFriend,
		"failed to send friend request to 7":       client.ErrRequestFailed,
		"no friend request from 7":                 client.ErrNoRequest,
		"failed to add friend 7":                   client.ErrAddFailed,
		"failed to deny friend 7":                  client.ErrDenyFailed,
		"failed to get friends":                    client.ErrFriendsFailed,
		"too many requests, slow down":             client.ErrTooManyRequests,
		"bad request: user is missing":             client.ErrBadRequest,
		"something else":                           "",
	}
	for text, code := range tests {
		bubbleSub(t, text, func(t *testing.T) {
			b := play(t, version1, func(p *peer) {
				entered1(p)
				p.expect(`{"type":"request_friend","user":7}`)
				p.send(`{"type":"error","error":"%s"}`, text)
				p.goodbye()
			})
			err := b.RequestFriend(t.Context(), 7)
			var answer *client.Error
			if !errors.As(err, &answer) || answer.Code != code || answer.Message != text {
				t.Errorf("got %v", err)
			}
		})
	}
}

func bubbleSub(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { bubble(t, test) })
}

func TestVersion1EndsAConnectionWhoseAnswersDoNotFit(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"another kind": `{"type":"friends_resp","friends":[]}`,
		"one too many": sent1 + sent1,
	} {
		bubbleSub(t, name, func(t *testing.T) {
			b := play(t, version1, func(p *peer) {
				entered1(p)
				p.read()
				if name == "one too many" {
					p.send(sent1)
					answer = sent1
				}
				p.send("%s", answer)
				p.gone()
			}, func(p *peer) {
				entered1(p)
				p.send(`{"type":"message","sender":1,"content":"on"}`)
				p.goodbye()
			})
			_, err := b.Send(t.Context(), 20000002, "hi")
			if name == "another kind" && !errors.Is(err, client.ErrUnknownOutcome) {
				t.Errorf("got %v", err)
			}
			b.hears("0 message 1 on")
		})
	}
}

func TestVersion1HasNoSessions(t *testing.T) {
	t.Parallel()
	b, err := client.New(client.Config{URLs: []string{"ws://a/"}, Username: "bob", Pin: "1234", Version: client.Version1})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Logout(t.Context()); !errors.Is(err, client.ErrVersion) {
		t.Errorf("got %v", err)
	}
	if _, err := b.SendOnce(t.Context(), "nonce", 1, "hi"); !errors.Is(err, client.ErrVersion) {
		t.Errorf("got %v", err)
	}
}

// TestVersion1DoesNotConfirmWhatItDropped: a pong would say that everything before
// the ping was read.
func TestVersion1DoesNotConfirmWhatItDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ping := func(p *peer) { _ = p.ws.WriteControl(9, []byte("1"), time.Now().Add(time.Second)) }
		events := func(p *peer, from, to rune) {
			for content := from; content <= to; content++ {
				p.send(`{"type":"message","sender":20000002,"content":"%c"}`, content)
			}
		}
		b := play(t, func(c *client.Config) {
			version1(c)
			c.EventQueue = 2
			heard := c.OnEvent
			c.OnEvent = func(ctx context.Context, bot *client.Client, ev client.Event) {
				if ev.Content == "a" {
					_, _ = bot.Send(ctx, 20000002, "hi")
				}
				heard(ctx, bot, ev)
			}
		}, func(p *peer) {
			pongs := 0
			p.ws.SetPongHandler(func(string) error { pongs++; return nil })
			entered1(p)
			frames := p.background()
			ping(p)
			p.send(`{"type":"message","sender":20000002,"content":"a"}`)
			<-frames // its send
			events(p, 'b', 'f')
			ping(p)
			p.send(sent1)
			for range frames {
			}
			if pongs != 1 {
				p.fail("%d pongs came", pongs)
			}
		}, func(p *peer) {
			entered1(p)
			events(p, 'd', 'f')
			p.goodbye()
		})
		for _, content := range []string{"a", "b", "c", "d", "e", "f"} {
			b.hears("0 message 20000002 " + content)
		}
	})
}
