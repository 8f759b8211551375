package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"pymessage/client"
)

// TestWhateverBreaksEachEventIsSeenOnceInOrderAndEachMessageStoredOnce plays many
// schedules of mishaps.
func TestWhateverBreaksEachEventIsSeenOnceInOrderAndEachMessageStoredOnce(t *testing.T) {
	t.Parallel()
	for range 25 {
		seed := rand.Uint64()
		bubbleSub(t, fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			network := serve(t, []string{"pymessage.v2"}, w.serve)
			live(t, w, network)
		})
	}
}

const (
	worldEvents  = 150
	worldSenders = 4
	worldSends   = 30 // of each
)

// live has a client send and be sent to, until all is done.
func live(t *testing.T, w *world, network *memory) {
	var got []int64
	all := make(chan struct{})
	bot, err := client.New(client.Config{
		URLs: []string{"ws://a/", "ws://b/"}, Username: "bob", Pin: "1234", Create: true,
		EventQueue: 1 + w.below(20), MaxOutstanding: 1 + w.below(8),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if w.happens() {
				return nil, errors.New("refused")
			}
			return network.dial(ctx)
		},
		OnEvent: func(ctx context.Context, c *client.Client, ev client.Event) {
			got = append(got, ev.Seq)
			if ev.Seq%10 == 0 { // a handler that sends, and one that is slow
				_, _ = c.Send(ctx, 20000002, fmt.Sprint("event ", ev.Seq))
			}
			<-time.After(time.Duration(w.below(50)) * time.Millisecond)
			if ev.Seq == worldEvents {
				close(all)
			}
		},
		OnResync: func(_ context.Context, _ *client.Client, r client.Resync) { t.Errorf("unexpected %+v", r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bot.Run(t.Context()) }()

	var tasks sync.WaitGroup
	tasks.Go(func() {
		for range worldEvents {
			<-time.After(time.Duration(w.below(100)) * time.Millisecond)
			w.append()
		}
	})
	for sender := range worldSenders {
		tasks.Go(func() {
			for i := range worldSends {
				if _, err := bot.Send(t.Context(), 20000002, fmt.Sprint("sender ", sender, " ", i)); err != nil {
					t.Errorf("send: %v", err)
				}
			}
		})
	}
	tasks.Wait()
	select {
	case <-all:
	case <-time.After(24 * time.Hour):
		t.Errorf("not all events came: %+v", bot.Stats())
	}
	w.mu.Lock()
	w.calm = true // so that the end is orderly
	w.mu.Unlock()
	<-time.After(time.Minute)
	bot.Close()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	t.Logf("mishap %.3f stats %+v", w.mishap, bot.Stats())
	w.check(got, bot)
}

func (w *world) check(got []int64, bot *client.Client) {
	var want []int64
	for seq := range int64(worldEvents) {
		want = append(want, seq+1)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("events came as %v", got)
	}
	if s := bot.Stats(); s.Skipped != 0 || s.Events != worldEvents {
		w.t.Errorf("got %+v", s)
	}
	if w.confirmed != worldEvents || bot.State().Since != worldEvents {
		w.t.Errorf("%d events are confirmed, the state is at %d", w.confirmed, bot.State().Since)
	}
	w.checkStored()
}

// checkStored expects the messages of each sender once and in order.
func (w *world) checkStored() {
	next := map[int]int{}
	events := 0
	for _, content := range w.stored {
		var sender, i int
		if n, _ := fmt.Sscanf(content, "sender %d %d", &sender, &i); n != 2 {
			events++
			continue
		}
		if i != next[sender] {
			w.t.Errorf("after %d of sender %d comes %d", next[sender]-1, sender, i)
		}
		next[sender] = i + 1
	}
	for sender := range worldSenders {
		if next[sender] != worldSends {
			w.t.Errorf("%d messages of sender %d were stored", next[sender], sender)
		}
	}
	if events != worldEvents/10 {
		w.t.Errorf("%d messages of the handler were stored", events)
	}
}
