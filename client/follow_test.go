package client_test

import (
	"context"
	"testing"
	"time"

	"pymessage/client"
)

func TestABrokenConnectionIsResumedAndRepeatedEventsAreNotHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			p.login(1, 2)
			p.events(1, 2)
			p.synced(2)
			p.events(3, 2, 3)
		}, func(p *peer) {
			p.resume(2, 1, 3, "e")
			p.events(2, 3, 4)
			p.synced(4)
			p.ack(4)
			p.goodbye()
		})
		b.hears(event(1), event(2), "synced 2", event(3), event(4), "synced 4")
		<-time.After(time.Second)
		if got := b.Stats(); got.Events != 4 || got.Repeated != 4 || got.Logins != 2 || got.Gaps != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAMissingEventIsAskedForAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(p *peer){
		"before another":  func(p *peer) { p.events(5) },
		"while replaying": func(p *peer) { p.events(4, 6) },
		"before synced":   func(p *peer) { p.synced(4) },
		"before a later one": func(p *peer) {
			p.synced(3)
			p.events(5)
		},
	}
	for name, skip := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				last := 3
				if name == "while replaying" {
					last = 4
				}
				b := play(t, func(c *client.Config) {
					c.State = client.State{Token: "token-7", Since: 3, Epoch: "e"}
					c.OnSynced = nil
				}, func(p *peer) {
					p.resume(1, 7, 3, "e")
					skip(p)
					p.gone()
				}, func(p *peer) {
					p.resume(2, 7, last, "e")
					for seq := last + 1; seq <= 6; seq++ {
						p.events(seq)
					}
					p.ack(6)
					p.goodbye()
				})
				b.hears(event(4), event(5), event(6))
				<-time.After(time.Second)
				if got := b.Stats(); got.Gaps != 1 || got.Skipped != 0 {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

func TestWhatTheStoreDoesNotShowIsPassedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) {
			c.State = client.State{Token: "token-7", Since: 3, Epoch: "e"}
		}, func(p *peer) {
			p.resume(1, 7, 3, "e")
			p.events(6)
			p.gone()
		}, func(p *peer) {
			p.resume(2, 7, 3, "e")
			p.events(6)
			p.synced(8)
			p.gone()
		}, func(p *peer) {
			p.resume(3, 7, 6, "e")
			p.synced(8)
			p.events(10) // the store was read up to 8 only: this is a hole
			p.gone()
		}, func(p *peer) {
			p.resume(4, 7, 8, "e")
			p.events(9, 10)
			p.goodbyeAfterAcks()
		})
		b.hears(event(6), "synced 8", event(9), event(10))
		<-time.After(time.Second)
		if got := b.Stats(); got.Gaps != 3 || got.Skipped != 4 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAHoleAfterTheStoreWasReadIsAHoleAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) {
			c.State, c.OnSynced = client.State{Token: "token-7", Since: 3, Epoch: "e"}, nil
		}, func(p *peer) {
			p.resume(1, 7, 3, "e")
			p.events(5)
			p.gone()
		}, func(p *peer) {
			p.resume(2, 7, 3, "e")
			p.synced(3)
			p.events(5)
			p.gone()
		}, func(p *peer) {
			p.resume(3, 7, 3, "e")
			p.events(4, 5)
			p.goodbyeAfterAcks()
		})
		b.hears(event(4), event(5))
	})
}

func TestAHeartbeatThatIsAheadForLongerThanAMomentLeadsToAResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var heartbeat time.Time
		b := play(t, nil, func(p *peer) {
			p.login(1, 0)
			p.send(`{"type":"heartbeat","seq":4}`) // says nothing while the log is replayed
			p.events(1)
			<-time.After(10 * time.Second)
			p.synced(1)
			p.ack(1)
			p.send(`{"type":"heartbeat","seq":2}`)
			<-time.After(2 * time.Second)
			p.events(2)
			p.ack(2)
			<-time.After(10 * time.Second)
			p.send(`{"type":"heartbeat","seq":4}`)
			<-time.After(2 * time.Second)
			p.events(3) // on its way
			heartbeat = time.Now()
			p.ack(3)
			p.gone()
			if waited := time.Since(heartbeat); waited != 3*time.Second {
				p.fail("it took %v", waited)
			}
		}, func(p *peer) {
			p.resume(2, 1, 3, "e")
			p.events(4)
			p.synced(4)
			p.ack(4)
			p.goodbye()
		})
		b.hears(event(1), "synced 1", event(2), event(3), event(4), "synced 4")
		<-time.After(time.Second)
	})
}

func TestAnotherLogIsAnnouncedAndFollowed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		scenes []scene
		heard  []string
	}{
		"at a resume": {
			scenes: []scene{func(p *peer) {
				p.expect(`{"type":"resume","ref":1,"token":"token-7","since":8,"epoch":"old"}`)
				p.send(`{"type":"resume_resp","id":10000001,"expires_at":1,"seq":4,"epoch":"e","ref":1}`)
				p.send(`{"type":"resync","oldest":2,"seq":2,"epoch":"e"}`)
				p.events(3, 4)
				p.synced(4)
				p.ack(4)
			}, func(p *peer) {
				p.resume(2, 7, 4, "e")
				p.events(5)
				p.ack(5) // it has 500 ms to come with the one that is said again
				p.goodbye()
			}},
			heard: []string{"resync 2 2 e", event(3), event(4), "synced 4", event(5)},
		},
		"while connected": {
			scenes: []scene{func(p *peer) {
				p.expect(`{"type":"resume","ref":1,"token":"token-7","since":8,"epoch":"old"}`)
				p.send(`{"type":"resume_resp","id":10000001,"expires_at":1,"seq":8,"epoch":"old","ref":1}`)
				p.events(9)
				p.synced(9)
				p.send(`{"type":"heartbeat","seq":12}`) // 11 and 12 will not come
				p.events(10)
				p.send(`{"type":"resync","oldest":1,"seq":9,"epoch":"e"}`) // before 10 is confirmed
				p.events(10)
				p.synced(10)
				p.ack(10)
				<-time.After(3500 * time.Millisecond)
				p.send(`{"type":"heartbeat","seq":10}`)
			}, func(p *peer) {
				p.resume(2, 7, 10, "e")
				p.ack(10)
				p.goodbye()
			}},
			heard: []string{event(9), "synced 9", event(10), "resync 1 9 e", event(10), "synced 10"},
		},
		"because of pruning": {
			scenes: []scene{func(p *peer) {
				p.expect(`{"type":"resume","ref":1,"token":"token-7","since":8,"epoch":"old"}`)
				p.send(`{"type":"resume_resp","id":10000001,"expires_at":1,"seq":50,"epoch":"old","ref":1}`)
				p.send(`{"type":"resync","oldest":50,"seq":49,"epoch":"old"}`)
				p.events(50)
				p.ack(50)
				p.goodbye()
			}},
			heard: []string{"resync 50 49 old", event(50)},
		},
		"not at all": {
			scenes: []scene{func(p *peer) {
				p.expect(`{"type":"resume","ref":1,"token":"token-7","since":8,"epoch":"old"}`)
				p.send(`{"type":"resume_resp","id":10000001,"expires_at":1,"seq":50,"epoch":"e","ref":1}`)
				p.events(9)
				p.gone()
			}, func(p *peer) {
				p.expect(`{"type":"resume","ref":2,"token":"token-7","since":8,"epoch":"old"}`)
				p.send(`{"type":"resume_resp","id":10000001,"expires_at":1,"seq":0,"epoch":"e","ref":2}`)
				p.send(`{"type":"resync","oldest":1,"seq":0,"epoch":"e"}`)
				p.goodbye()
			}},
			heard: []string{"resync 1 0 e"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := play(t, func(c *client.Config) {
					c.State = client.State{Token: "token-7", Since: 8, Epoch: "old"}
				}, tt.scenes...)
				b.hears(tt.heard...)
				<-time.After(5 * time.Second)
			})
		})
	}
}

func TestAcksAreCumulativeAndComeAfterTheHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var began time.Time
		since := func(p *peer, want time.Duration) {
			if got := time.Since(began); got != want {
				p.fail("after %v, want %v", got, want)
			}
		}
		b := play(t, func(c *client.Config) {
			heard := c.OnEvent
			c.OnEvent = func(ctx context.Context, bot *client.Client, ev client.Event) {
				heard(ctx, bot, ev)
				if got := bot.State().Since; got != ev.Seq-1 && ev.Seq > 1 {
					t.Errorf("during %d the state says %d", ev.Seq, got)
				}
				if ev.Seq == 4 {
					<-time.After(5 * time.Second)
				}
			}
		}, func(p *peer) {
			p.login(1, 0)
			began = time.Now()
			p.events(1, 2, 3)
			p.ack(3)
			since(p, 500*time.Millisecond)
			p.events(4, 5)
			p.ack(5)
			since(p, 6*time.Second)
			began = time.Now()
			for seq := 6; seq <= 105; seq++ {
				p.events(seq)
			}
			p.ack(105)
			since(p, 0)
			p.events(106, 107, 108, 109, 110)
			p.ack(110)
			since(p, 500*time.Millisecond)
			p.send(`{"type":"error","error":"bad request: seq is beyond what was sent","code":"bad_request"}`)
			p.send(`{"type":"ack_resp","seq":110}`)
		}, func(p *peer) {
			p.resume(2, 1, 110, "e")
			p.ack(110) // the last one may have been lost
			p.goodbye()
		})
		for seq := 1; seq <= 110; seq++ {
			b.hears(event(seq))
		}
		<-time.After(2 * time.Second)
	})
}

func TestKindsOfLaterVersionsDoNoHarm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			p.login(1, 0)
			p.synced(0)
			p.send(`{"type":"typing","user":20000002}`)
			p.send(`{"type":"friend_added","user":20000002,"seq":1,"more":{"a":[1]}}`)
			p.events(2)
			p.send(`not JSON`)
			p.gone()
		}, func(p *peer) {
			p.resume(2, 1, 2, "e")
			p.goodbyeAfterAcks()
		})
		b.hears("synced 0", "1 friend_added 20000002 ", event(2))
		<-time.After(250 * time.Millisecond)
	})
}

func TestAnEventHasAllThatTheServerSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := make(chan client.Event, 1)
		play(t, func(c *client.Config) {
			c.OnSynced = nil
			c.OnEvent = func(_ context.Context, _ *client.Client, ev client.Event) { events <- ev }
		}, func(p *peer) {
			p.login(1, 0)
			p.events(7)
			p.goodbyeAfterAcks()
		})
		want := client.Event{
			Seq: 7, ID: "10000001-7", Kind: client.Message, Peer: 20000002, Content: "m7", SentAt: time.UnixMilli(1007).UTC(),
		}
		if got := <-events; got != want {
			t.Errorf("got %+v", got)
		}
	})
}
