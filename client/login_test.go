package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"pymessage/client"
)

func TestItLogsInAndHandsOverWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			p.login(1, 4)
			p.events(3)
			p.send(`{"type":"friend_request","user":30000003,"seq":4,"id":"10000001-4","sent_at":5}`)
			p.synced(4)
			p.ack(4)
			p.goodbye()
		})
		b.hears(event(3), "4 friend_request 30000003 ", "synced 4")
		if id, err := b.Ready(t.Context()); id != me || err != nil {
			t.Errorf("got %d, %v", id, err)
		}
		<-time.After(time.Second) // for the ack
		want := client.State{Token: "token-1", Since: 4, Epoch: "e"}
		if diff := cmp.Diff(want, b.State()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestItGoesOnFromAStateWithoutThePin(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]client.State{
		"with a place: after it":                {Token: "token-7", Since: 5, Epoch: "e"},
		"without one: after what was confirmed": {Token: "token-7"},
	} {
		bubbleSub(t, name, func(t *testing.T) {
			b := play(t, func(c *client.Config) {
				c.Username, c.Pin, c.State = "", "", state
			}, func(p *peer) {
				p.resume(1, 7, int(state.Since), state.Epoch)
				p.events(6)
				p.synced(6)
				p.ack(6)
				p.goodbye()
			})
			b.hears(event(6), "synced 6")
			<-time.After(time.Second)
		})
	}
}

func TestATokenThatIsOverIsReplacedByALoginThatResumes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		b := play(t, func(c *client.Config) {
			c.URLs = []string{"ws://a/", "ws://b/"}
			c.State = client.State{Token: "token-7", Since: 5, Epoch: "e"}
		}, func(p *peer) {
			p.expect(`{"type":"resume","ref":1,"token":"token-7","since":5,"epoch":"e"}`)
			p.send(`{"type":"error","error":"session is over","code":"token_invalid","ref":1}`)
			p.login(2, 9)
			p.goodbye() // what the login would replay is not what we want
		}, func(p *peer) {
			if pause := time.Since(began); pause > 0 {
				p.fail("it came back after %v", pause)
			}
			p.resume(3, 2, 5, "e")
			p.events(6)
			p.synced(6)
			p.ack(6)
			p.goodbye()
		})
		b.hears(event(6), "synced 6")
		<-time.After(time.Second)
	})
}

func TestATokenThatIsOverIsTheEndWithoutAPin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) {
			c.Username, c.Pin, c.State = "", "", client.State{Token: "token-7", Epoch: "e"}
		}, func(p *peer) {
			p.read()
			p.send(`{"type":"error","error":"session is over","code":"token_invalid","ref":1}`)
			p.goodbye()
		})
		if err := b.ends(); !errors.Is(err, client.ErrTokenInvalid) {
			t.Errorf("got %v", err)
		}
	})
}

func TestARefusedFirstLoginIsTheEnd(t *testing.T) {
	t.Parallel()
	for _, code := range []client.Code{client.ErrAccNotFound, client.ErrUsernameTaken, client.ErrCreateFailed, client.ErrBadRequest} {
		t.Run(string(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := play(t, func(c *client.Config) { c.Create = true }, func(p *peer) {
					p.expect(`{"type":"create_acc","ref":1,"username":"bob","pin":"1234"}`)
					p.send(`{"type":"error","error":"no","code":"%s","ref":1}`, code)
					if code == client.ErrUsernameTaken {
						p.expect(`{"type":"login","ref":2,"username":"bob","pin":"1234"}`)
						p.send(`{"type":"error","error":"no","code":"acc_not_found","ref":2}`)
					}
					p.goodbye()
				})
				if err := b.ends(); !errors.Is(err, code) {
					t.Errorf("got %v", err)
				}
				if _, err := b.Ready(t.Context()); !errors.Is(err, client.ErrClosed) || !errors.Is(err, code) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestAPinThatIsRightNoMoreIsTheEndToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) { c.Version = client.Version1 }, func(p *peer) {
			entered1(p)
			p.close(4502)
		}, func(p *peer) {
			p.read()
			p.send(`{"type":"error","error":"acc not found"}`)
			p.goodbye()
		})
		if err := b.ends(); !errors.Is(err, client.ErrAccNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAServiceThatIsAwayAfterTheFirstLoginIsNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) { c.Version = client.Version1 }, entered1, func(p *peer) {
			p.read()
			p.send(`{"type":"error","error":"service unavailable, try again"}`)
			p.goodbye()
		}, func(p *peer) {
			entered1(p)
			p.send(`{"type":"message","sender":20000002,"content":"hi"}`)
			p.goodbye()
		})
		b.hears("0 message 20000002 hi")
	})
}

func TestItMakesTheAccountOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) { c.Create = true }, func(p *peer) {
			p.expect(`{"type":"create_acc","ref":1,"username":"bob","pin":"1234"}`)
			p.send(`{"type":"create_acc_resp","id":10000001,"token":"token-1","expires_at":1,"seq":0,"epoch":"e","ref":1}`)
			p.synced(0)
		}, func(p *peer) {
			p.resume(2, 1, 0, "e")
			p.synced(0)
			p.goodbye()
		})
		b.hears("synced 0", "synced 0")
	})
}

func TestAnAccountThatIsThereIsOursIfThePinFits(t *testing.T) {
	t.Parallel()
	tests := map[string][]scene{
		"of an earlier run": nil,
		"whose answer was lost": {func(p *peer) {
			p.expect(`{"type":"create_acc","ref":1,"username":"bob","pin":"1234"}`)
		}},
	}
	for name, scenes := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ref := len(scenes) + 1
				b := play(t, func(c *client.Config) { c.Create = true }, append(scenes, func(p *peer) {
					p.expect(fmt.Sprintf(`{"type":"create_acc","ref":%d,"username":"bob","pin":"1234"}`, ref))
					p.send(`{"type":"error","error":"username is taken","code":"username_taken","ref":%d}`, ref)
					p.login(ref+1, 0)
					p.synced(0)
				}, func(p *peer) {
					p.resume(ref+2, ref+1, 0, "e")
					p.synced(0)
					p.goodbye()
				})...)
				b.hears("synced 0", "synced 0")
			})
		})
	}
}

func TestAStateMeansThatTheAccountIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) {
			c.Create, c.State = true, client.State{Since: 5, Epoch: "e"}
		}, func(p *peer) {
			p.login(1, 9)
			p.goodbye()
		}, func(p *peer) {
			p.resume(2, 1, 5, "e")
			p.synced(5)
			p.goodbye()
		})
		b.hears("synced 5")
	})
}

func TestAThrottledLoginIsTriedAgainWhenTheServerSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		b := play(t, nil, func(p *peer) {
			p.read()
			p.send(`{"type":"error","error":"too many attempts","code":"too_many_attempts","retry_after_ms":30000,"ref":1}`)
			p.goodbye()
		}, func(p *peer) {
			if waited := time.Since(began); waited < 30*time.Second || waited > 31*time.Second {
				p.fail("came back after %v", waited)
			}
			p.login(2, 0)
			p.synced(0)
			p.goodbye()
		})
		b.hears("synced 0")
	})
}

func TestTooManySocketsIsTheEndAlthoughItBeginsAsAnError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			p.read()
			p.send(`{"type":"error","error":"too many attempts","code":"too_many_attempts","ref":1}`)
			p.close(4501)
		})
		var closed *client.CloseError
		if err := b.ends(); !errors.As(err, &closed) || closed.Code != 4501 {
			t.Errorf("got %v", err)
		}
	})
}

func TestFailuresTurnToTheNextURL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) { c.URLs = []string{"ws://a/", "http://b:6969/", "ws://c/"} },
			nil, nil, nil, nil,
			func(p *peer) {
				p.login(1, 0)
				p.synced(0)
				p.goodbye()
			})
		b.hears("synced 0")
		want := []string{"a:80", "b:6969", "c:80", "a:80", "b:6969"}
		if diff := cmp.Diff(want, b.stage.dialed); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAServerOfVersion1OnlyIsPassedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		old := serve(t, nil, func(ws *websocket.Conn) { (&peer{t, ws}).gone() })
		var b *bot
		first := true
		b = rehearse(t, func(c *client.Config) {
			c.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
				if first {
					first = false
					return old.dial(ctx)
				}
				b.Close()
				return nil, errors.New("seen enough")
			}
		})
		b.run(t.Context())
		if err := b.ends(); err != nil {
			t.Errorf("got %v", err)
		}
		if _, err := b.Ready(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestALoginWithoutAnAnswerIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		b := play(t, nil, func(p *peer) {
			p.read()
			p.gone()
			if waited := time.Since(began); waited != 20*time.Second {
				p.fail("it took %v", waited)
			}
		}, func(p *peer) {
			p.login(2, 0)
			p.synced(0)
			p.goodbye()
		})
		b.hears("synced 0")
	})
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	urls := []string{"ws://a/"}
	state := client.State{Token: "t", Epoch: "e"}
	wrong := map[string]client.Config{
		"nowhere":                  {Username: "bob", Pin: "1234"},
		"no URL":                   {URLs: []string{"::"}, Username: "bob", Pin: "1234"},
		"no WebSocket":             {URLs: []string{"ftp://a/"}, Username: "bob", Pin: "1234"},
		"no host":                  {URLs: []string{"ws:///"}, Username: "bob", Pin: "1234"},
		"a password in the URL":    {URLs: []string{"ws://a:b@c/"}, Username: "bob", Pin: "1234"},
		"nobody":                   {URLs: urls},
		"no pin":                   {URLs: urls, Username: "bob"},
		"an account without a pin": {URLs: urls, Username: "bob", Create: true, State: state},
		"version 3":                {URLs: urls, Username: "bob", Pin: "1234", Version: 3},
		"version 1 with a state":   {URLs: urls, Username: "bob", Pin: "1234", Version: 1, State: state},
		"a negative queue":         {URLs: urls, Username: "bob", Pin: "1234", EventQueue: -1},
	}
	for name, cfg := range wrong {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, cfg := range []client.Config{{URLs: urls, State: state}, {URLs: urls, Username: "bob", Pin: "1234", Create: true}} {
		if _, err := client.New(cfg); err != nil {
			t.Error(err)
		}
	}
}
