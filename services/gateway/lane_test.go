package gateway

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

func TestABatchIsStoredOnceWhateverHappensToItsAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	b.drop(socialapi.PathSend, 3)
	for i := range 300 {
		alice.message(bob.id, fmt.Sprint(i))
	}
	for range 300 {
		alice.expect(sent)
	}
	for i := range 300 {
		bob.expectMessages(alice.id, fmt.Sprint(i))
	}
	b.neighbours.mu.Lock()
	defer b.neighbours.mu.Unlock()
	if got := len(b.inboxes[bob.id]); got != 300 {
		t.Errorf("%d messages are stored", got)
	}
	last := map[string]int64{}
	for _, batch := range b.stored {
		if batch.Number != last[batch.Lane]+1 {
			t.Errorf("lane %s: batch %d after %d", batch.Lane, batch.Number, last[batch.Lane])
		}
		last[batch.Lane] = batch.Number
	}
}

func TestARefusedMessageDoesNotFailItsNeighbours(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Lanes = 1 })

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	for range 50 {
		alice.message(bob.id, "refuse")
		alice.message(bob.id, "fine")
		alice.message(5, "nobody")
	}
	for range 50 {
		alice.expect(`{"type":"error","error":"bad request: content cannot be stored"}`)
		alice.expect(sent)
		alice.expect(`{"type":"error","error":"5 is not connected to the network"}`)
	}
	for range 50 {
		bob.expectMessages(alice.id, "fine")
	}
}

func TestWhileTheStoreIsAwaySendsFailAfterTheirTimeAndSucceedAgainLater(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.SendTimeout = time.Second })

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	var away atomic.Bool
	away.Store(true)
	b.fail(socialapi.PathSend, func() error {
		if away.Load() {
			return fault.New(fault.Unavailable, "as the test wants")
		}
		return nil
	})
	alice.message(bob.id, "lost, and said so")
	alice.expect(`{"type":"error","error":"failed to send message"}`)
	away.Store(false)
	alice.message(bob.id, "kept")
	alice.expect(sent)
	bob.expectMessages(alice.id, "kept")
}
