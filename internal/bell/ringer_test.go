package bell_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"pymessage/internal/bell"
	"pymessage/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// setup is a ringer that does not run yet, and a subscription to a user's channel.
func setup(t *testing.T, user int) (*bell.Ringer, *redis.PubSub) {
	t.Helper()
	url, prefix := testenv.Redis(t)
	client, err := bell.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	channels := bell.Channels{Prefix: prefix}
	sub := client.Subscribe(t.Context(), channels.User(user))
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return bell.NewRinger(client, channels, testenv.Logger(t), prometheus.NewRegistry()), sub
}

// hear waits for the next ring.
func hear(t *testing.T, sub *redis.PubSub) bell.Envelope {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := sub.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	env, err := bell.Decode(m.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestEventsAndEndsOfSessionsAreRungInTheirOrder(t *testing.T) {
	t.Parallel()

	const user = 12345678
	r, sub := setup(t, user)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	ev := bell.Event{Seq: 7, Kind: bell.KindMessage, Peer: 87654321, Content: "hi", SentAt: 1700000000123}
	r.Ring(user, "e1", ev)
	r.RingSessionEnd(user, "s1")
	r.RingSessionEnd(user+1, "another user's")
	r.Ring(user, "e1", ev)
	for i, want := range []bell.Envelope{
		{Epoch: "e1", Events: []bell.Event{ev}}, {Session: "s1"}, {Epoch: "e1", Events: []bell.Event{ev}},
	} {
		if diff := cmp.Diff(want, hear(t, sub)); diff != "" {
			t.Errorf("ring %d (-want +got):\n%s", i, diff)
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWhatIsQueuedAtTheStopIsStillRung(t *testing.T) {
	t.Parallel()

	const user, rings = 12345678, 600 // more than one pipeline
	r, sub := setup(t, user)
	for i := range rings {
		r.RingSessionEnd(user, fmt.Sprint(i))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for i := range rings {
		if got := hear(t, sub).Session; got != fmt.Sprint(i) {
			t.Fatalf("ring %d is of session %q", i, got)
		}
	}
}
