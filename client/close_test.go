package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/client"
)

func TestCloseHandlesAndConfirmsWhatWasReceived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		goOn := make(chan struct{})
		b := play(t, func(c *client.Config) {
			heard := c.OnEvent
			c.OnEvent = func(ctx context.Context, bot *client.Client, ev client.Event) {
				<-goOn
				if _, err := bot.Send(ctx, 20000002, "still here"); err != nil {
					t.Error(err)
				}
				heard(ctx, bot, ev)
			}
		}, func(p *peer) {
			p.login(1, 3)
			p.events(1, 2)
			for seq := range 2 {
				ref, _ := p.message("still here")
				if seq == 0 {
					p.events(3) // too late to be handled
				}
				p.stored(ref, 1)
			}
			p.ack(2)
			p.goodbye()
		})
		if _, err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		b.Close()
		close(goOn)
		if err := b.ends(); err != nil {
			t.Errorf("got %v", err)
		}
		b.hears(event(1), event(2))
		if got := b.State().Since; got != 2 {
			t.Errorf("got %d", got)
		}
		if err := b.Run(t.Context()); err == nil {
			t.Error("it ran twice")
		}
	})
}

func TestTheEndOfTheContextIsTheEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		scene  scene
		change func(*client.Config)
	}{
		"while it dials": {change: func(c *client.Config) {
			c.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
		"in the handshake": {change: func(c *client.Config) {
			c.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() { // reads, and says nothing
					buffer := make([]byte, 1000)
					for {
						if _, err := far.Read(buffer); err != nil {
							return
						}
					}
				}()
				return near, nil
			}
		}},
		"while it logs in": {scene: func(p *peer) {
			p.read()
			p.gone()
		}},
		"in a pause": {change: func(c *client.Config) {
			c.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
		}},
		"while it is connected": {scene: func(p *peer) {
			entered(p)
			p.goodbye()
		}},
		"while a handler runs": {scene: func(p *peer) {
			p.login(1, 0)
			p.events(1, 2)
			p.ack(1)
			p.goodbye()
		}, change: func(c *client.Config) {
			c.OnEvent = func(ctx context.Context, _ *client.Client, _ client.Event) { <-ctx.Done() }
		}},
		"while there is no room": {scene: func(p *peer) {
			p.login(1, 0)
			p.events(1, 2, 3)
			p.ack(1)
			p.goodbye()
		}, change: func(c *client.Config) {
			c.EventQueue = 1
			c.OnEvent = func(ctx context.Context, _ *client.Client, _ client.Event) { <-ctx.Done() }
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var scenes []scene
				if tt.scene != nil {
					scenes = append(scenes, tt.scene)
				}
				b := rehearse(t, tt.change, scenes...)
				began := time.Now()
				b.run(t.Context())
				<-time.After(1500 * time.Millisecond)
				b.stop()
				if err := b.ends(); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				if waited := time.Since(began); waited != 1500*time.Millisecond {
					t.Errorf("it took %v", waited)
				}
			})
		})
	}
}

func TestCloseCodesSayWhetherToComeBack(t *testing.T) {
	t.Parallel()
	for code, back := range map[int]bool{
		1000: true, 1001: true, 1006: true, 1009: true, 1011: true, 1012: true, 4000: true, 4001: true, 4499: true,
		4500: false, 4501: false, 4999: false, 3000: true,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				scenes := []scene{func(p *peer) {
					entered(p)
					if code != 1006 { // which is a connection that is cut
						p.close(code)
					}
				}}
				if back {
					scenes = append(scenes, func(p *peer) {
						entered(p)
						p.goodbye()
					})
				}
				b := play(t, nil, scenes...)
				b.hears("synced 0")
				if back {
					b.hears("synced 0")
					return
				}
				var closed *client.CloseError
				if err := b.ends(); !errors.As(err, &closed) || closed.Code != code || closed.Reason != "as the test wants" {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestASessionThatIsOverIsFollowedByAnotherThatGoesOnWhereItWas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			p.login(1, 2)
			p.events(1, 2)
			p.synced(2)
			p.ack(2)
			p.close(4502)
		}, func(p *peer) {
			p.login(2, 3) // not by the token that is of no use
			p.goodbye()
		}, func(p *peer) {
			p.resume(3, 2, 2, "e")
			p.ack(2) // the last one may not have arrived
			p.events(3)
			p.synced(3)
			p.ack(3)
			p.goodbye()
		})
		b.hears(event(1), event(2), "synced 2", event(3), "synced 3")
		<-time.After(time.Second) // for the ack
		if token := b.State().Token; token != "token-2" {
			t.Errorf("the token is %q", token)
		}
	})
}

func TestTheEndOfTheSessionIsTheEndWithoutAPin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) {
			c.Username, c.Pin, c.State = "", "", client.State{Token: "token-7", Since: 5, Epoch: "e"}
		}, func(p *peer) {
			p.resume(1, 7, 5, "e")
			p.synced(5)
			p.close(4502)
		})
		b.hears("synced 5")
		var closed *client.CloseError
		if err := b.ends(); !errors.Is(err, client.ErrTokenInvalid) || !errors.As(err, &closed) || closed.Code != 4502 {
			t.Errorf("got %v", err)
		}
		want := client.State{Since: 5, Epoch: "e"}
		if diff := cmp.Diff(want, b.State()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSessionsThatEndAtOnceAreNotBegunWithoutAPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		const sessions = 50
		var scenes []scene
		for ref := range sessions {
			scenes = append(scenes, func(p *peer) {
				p.login(ref+1, 0)
				p.close(4502)
			})
		}
		play(t, nil, append(scenes, func(p *peer) {
			if waited := time.Since(began); waited < sessions*time.Second {
				p.fail("%d sessions were begun within %v", sessions, waited)
			}
			p.login(sessions+1, 0)
			p.synced(0)
			p.goodbye()
		})...).hears("synced 0")
	})
}

func TestLogout(t *testing.T) {
	t.Parallel()
	tests := map[string][]scene{
		"answered": {func(p *peer) {
			entered(p)
			p.expect(`{"type":"logout","ref":2}`)
			p.send(`{"type":"logout_resp","status":"success","ref":2}`)
			p.close(4502)
		}},
		"closed before the answer": {func(p *peer) {
			entered(p)
			p.read()
			p.close(4502)
		}},
		"cut before the answer": {func(p *peer) {
			entered(p)
			p.read()
		}, func(p *peer) {
			p.expect(`{"type":"resume","ref":3,"token":"token-1","since":0,"epoch":"e"}`)
			p.send(`{"type":"error","error":"session is over","code":"token_invalid","ref":3}`)
			p.goodbye()
		}},
		"unavailable at first": {func(p *peer) {
			entered(p)
			p.read()
			p.send(`{"type":"error","error":"not now","code":"unavailable","ref":2}`)
			p.expect(`{"type":"logout","ref":3}`)
			p.send(`{"type":"logout_resp","status":"success","ref":3}`)
			p.goodbye()
		}},
	}
	for name, scenes := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := play(t, nil, scenes...)
				b.hears("synced 0")
				if err := b.Logout(t.Context()); err != nil {
					t.Errorf("got %v", err)
				}
				if err := b.ends(); err != nil {
					t.Errorf("got %v", err)
				}
				if token := b.State().Token; token != "" {
					t.Errorf("the token is %q", token)
				}
			})
		})
	}
}

func TestADeadConnectionIsNoticed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			entered(p)
			pongs := 0
			p.ws.SetPongHandler(func(payload string) error {
				if payload != "7" {
					p.fail("pong %q", payload)
				}
				pongs++
				return nil
			})
			go func() {
				for range 10 { // alive
					<-time.After(25 * time.Second)
					_ = p.ws.WriteControl(9, []byte("7"), time.Now().Add(time.Second))
				}
			}()
			began := time.Now()
			p.gone()
			if lasted := time.Since(began); lasted != 250*time.Second+40*time.Second || pongs != 10 {
				p.fail("it lasted %v, %d pongs came", lasted, pongs)
			}
		}, func(p *peer) {
			entered(p)
			p.goodbye()
		})
		b.hears("synced 0", "synced 0")
	})
}

func TestAServerThatDoesNotReadIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			entered(p)
			<-time.After(30 * time.Second)
		}, func(p *peer) {
			entered(p)
			ref, _ := p.message("hi")
			p.stored(ref, 1)
			p.goodbye()
		})
		b.hears("synced 0")
		began := time.Now()
		(<-b.sends(t.Context(), "hi")).is(t, storedAs(1))
		if waited := time.Since(began); waited < 11*time.Second || waited > 12*time.Second {
			t.Errorf("it took %v", waited)
		}
	})
}

func TestPausesGrowAndAreRandom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at []time.Time
		b := rehearse(t, func(c *client.Config) {
			c.DialContext = func(context.Context, string, string) (net.Conn, error) {
				at = append(at, time.Now())
				return nil, errors.New("refused")
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.run(ctx)
		<-b.ended
		b.ended <- nil
		limit, longest := 100*time.Millisecond, time.Duration(0)
		for i := range at[1:] {
			pause := at[i+1].Sub(at[i])
			if pause > limit {
				t.Errorf("pause %d was %v", i, pause)
			}
			limit, longest = min(2*limit, 10*time.Second), max(longest, pause)
		}
		if len(at) < 400 || len(at) > 2000 || longest < 9*time.Second {
			t.Errorf("%d attempts in an hour, the longest pause was %v", len(at), longest)
		}
	})
}

func TestPausesBeginAnewAfterAConnectionThatLasted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ended time.Time
		b := play(t, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, func(p *peer) {
			entered(p)
			<-time.After(20 * time.Second)
			ended = time.Now()
		}, func(p *peer) {
			if pause := time.Since(ended); pause > 100*time.Millisecond {
				p.fail("it came back after %v", pause)
			}
			entered(p)
			ended = time.Now()
			p.close(1012)
		}, func(p *peer) {
			if pause := time.Since(ended); pause > 500*time.Millisecond {
				p.fail("it came back after %v, though it was told of a restart", pause)
			}
			entered(p)
			p.goodbye()
		})
		b.hears("synced 0", "synced 0", "synced 0")
	})
}

func TestStatusTellsOfConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var seen []client.Status
		b := play(t, func(c *client.Config) {
			c.OnStatus = func(s client.Status) { seen = append(seen, s) }
		}, nil, func(p *peer) {
			entered(p)
			p.goodbye()
		})
		b.hears("synced 0")
		b.Close()
		_ = b.ends()
		if len(seen) != 3 || seen[0].Connected || seen[0].Err == nil || !seen[1].Connected || seen[1].Err != nil ||
			seen[2].Connected || seen[2].URL != "ws://a/" {
			t.Errorf("got %+v", seen)
		}
	})
}
