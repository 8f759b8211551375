package gateway

import (
	"fmt"
	"slices"
	"sync"
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
	away := b.takeStoreAway()
	alice.message(bob.id, "lost, and said so")
	alice.expect(`{"type":"error","error":"failed to send message"}`)
	away.Store(false)
	alice.message(bob.id, "kept")
	alice.expect(sent)
	bob.expectMessages(alice.id, "kept")
}

func TestMessagesOfManySocketsShareABatchWhileThereAreFew(t *testing.T) {
	t.Parallel()
	b := setup(t)

	const others = laneShare - 1
	first, bob := b.enter(t, "first"), b.enter(t, "bob")
	var senders []*client
	for i := range others {
		senders = append(senders, b.enter(t, fmt.Sprint("sender ", i)))
	}
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.fail(socialapi.PathSend, func() error {
		once.Do(func() {
			close(arrived)
			<-release
		})
		return nil
	})
	first.message(bob.id, "alone")
	<-arrived
	for _, c := range senders {
		c.message(bob.id, "with others")
	}
	until(t, "all others wait", func() bool { return b.Server.lanes[0].waiting.Load() == others })
	close(release)
	first.expect(sent)
	for _, c := range senders {
		c.expect(sent)
	}
	b.neighbours.mu.Lock()
	defer b.neighbours.mu.Unlock()
	if len(b.stored) != 2 || len(b.stored[0].Messages) != 1 || len(b.stored[1].Messages) != others {
		t.Errorf("stored as %+v", b.stored)
	}
}

func TestTheLaneOfASocket(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		waiting  [3]int32
		inFlight int
		inDoubt  bool // what its last lane, the second, stored
		want     int
	}{
		{"is the first one that has room in its next batch", [3]int32{laneShare - 1, 0, 0}, 0, false, 0},
		{"is another one when that is full", [3]int32{laneShare, laneShare - 1, 0}, 0, false, 1},
		{"is the one where the fewest wait when all are full", [3]int32{laneShare + 2, laneShare + 1, laneShare}, 0, false, 2},
		{"stays the same while a send is under way", [3]int32{0, 1000, 0}, 1, false, 1},
		{"stays the same while a send may be stored yet", [3]int32{0, 1000, 0}, 0, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &Server{}
			for _, waiting := range test.waiting {
				l := newLane(s)
				l.waiting.Store(waiting)
				s.lanes = append(s.lanes, l)
			}
			s.lanes[1].inDoubt.Store(test.inDoubt)
			c := &conn{srv: s, lane: s.lanes[1], inFlight: test.inFlight}
			if got := c.beginSend(); got != s.lanes[test.want] {
				t.Errorf("is lane %d, want %d", slices.Index(s.lanes, got), test.want)
			}
		})
	}
}

func TestALaneIsInDoubtFromABatchThatFailedToOneThatIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.SendTimeout = 100 * time.Millisecond; c.Lanes = 1 })

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	away := b.takeStoreAway()
	alice.message(bob.id, "not stored")
	alice.expect(`{"type":"error","error":"failed to send message"}`)
	alice.message(5, "nobody, hence no batch")
	alice.expect(`{"type":"error","error":"5 is not connected to the network"}`)
	if !b.Server.lanes[0].inDoubt.Load() {
		t.Error("no doubt after a batch that failed")
	}
	away.Store(false)
	alice.message(bob.id, "stored")
	alice.expect(sent)
	if b.Server.lanes[0].inDoubt.Load() {
		t.Error("still in doubt after a batch that was stored")
	}
}

func TestALaneInDoubtIsTheLastChoice(t *testing.T) {
	t.Parallel()
	s := &Server{}
	s.lanes = []*lane{newLane(s), newLane(s)}
	s.lanes[0].inDoubt.Store(true)
	s.lanes[1].waiting.Store(10 * laneShare)
	if s.lane() != s.lanes[1] {
		t.Error("a lane in doubt was chosen before a busy one")
	}
	s.lanes[1].inDoubt.Store(true)
	if s.lane() != s.lanes[0] {
		t.Error("of two lanes in doubt the busier one was chosen")
	}
}

// takeStoreAway lets all batches fail until away is false.
func (b *bundle) takeStoreAway() (away *atomic.Bool) {
	away = &atomic.Bool{}
	away.Store(true)
	b.fail(socialapi.PathSend, func() error {
		if away.Load() {
			return fault.New(fault.Unavailable, "as the test wants")
		}
		return nil
	})
	return away
}
