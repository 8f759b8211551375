package client_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pymessage/client"
)

func TestASlowHandlerMakesTheServerWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		goOn := make(chan struct{})
		written := 0
		b := play(t, func(c *client.Config) {
			c.EventQueue, c.OnSynced = 4, nil
			heard := c.OnEvent
			c.OnEvent = func(ctx context.Context, bot *client.Client, ev client.Event) {
				<-goOn
				heard(ctx, bot, ev)
			}
		}, func(p *peer) {
			p.login(1, 0)
			for seq := 1; seq <= 20; seq++ {
				p.events(seq)
				written = seq
			}
			p.goodbyeAfterAcks()
		})
		synctest.Wait()
		if written != 6 { // one in the handler, four in the queue, one in the reader
			t.Errorf("%d events were taken", written)
		}
		close(goOn)
		for seq := 1; seq <= 20; seq++ {
			b.hears(event(seq))
		}
		if got := b.Stats(); got.Dropped != 0 || got.Logins != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestNothingIsReadAndDroppedThatNobodyWaitsFor: once the answer has come, the
// server keeps the rest until there is room.
func TestNothingIsReadAndDroppedThatNobodyWaitsFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var written atomic.Int64
		b := play(t, func(c *client.Config) {
			c.EventQueue, c.OnSynced = 2, nil
			heard := c.OnEvent
			c.OnEvent = func(ctx context.Context, bot *client.Client, ev client.Event) {
				if ev.Seq == 1 {
					_, _ = bot.Send(ctx, ev.Peer, ev.Content)
					<-time.After(10 * time.Second)
				}
				heard(ctx, bot, ev)
			}
		}, func(p *peer) {
			p.login(1, 0)
			p.events(1)
			ref, _ := p.message("m1")
			p.events(2, 3, 4, 5) // 4 and 5 are dropped
			p.stored(ref, 1)
			for seq := 6; p.try(eventFrame(seq)); seq++ {
				written.Store(int64(seq))
			}
		}, func(p *peer) {
			p.resume(3, 1, 3, "e")
			p.events(4)
			p.goodbyeAfterAcks()
		})
		<-time.After(5 * time.Second)
		if got := written.Load(); got != 6 { // which the reader has
			t.Errorf("%d events were taken", got)
		}
		if got := b.Stats(); got.Dropped != 3 {
			t.Errorf("got %+v", got)
		}
		b.hears(event(1), event(2), event(3), event(4))
	})
}

// TestAHandlerThatSendsGetsItsAnswers although they are behind more events than
// there is room for.
func TestAHandlerThatSendsGetsItsAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const last = 30
		b := rehearse(t, func(c *client.Config) {
			c.EventQueue, c.OnSynced = 4, nil
			heard := c.OnEvent
			c.OnEvent = func(ctx context.Context, bot *client.Client, ev client.Event) {
				if _, err := bot.Send(ctx, ev.Peer, ev.Content); err != nil {
					t.Error(err)
				}
				heard(ctx, bot, ev)
			}
		})
		b.stage.then = func(p *peer) {
			since, _ := object(p.welcome())["since"].(float64)
			frames := p.background()
			seq := int(since) + 1
			for ; seq <= last && p.try(eventFrame(seq)); seq++ {
			}
			for frame := range frames { // answers come behind all that waits
				if o := object(frame); o["type"] == "send_msg" {
					p.try(fmt.Sprintf(`{"type":"send_resp","status":"success","id":"x","sent_at":1,"ref":%v}`, o["ref"]))
				}
			}
		}
		b.run(t.Context())
		for seq := 1; seq <= last; seq++ {
			b.hears(event(seq))
		}
		if got := b.Stats(); got.Dropped == 0 || got.Events != last {
			t.Errorf("got %+v", got)
		}
	})
}
