package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

func TestTheBacklogComesAtLoginInOrderHoweverLong(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.Close()
	b.awaitGone(t, bob.id)
	const backlog = 3*pageSize + 7
	for i := range backlog {
		b.append(bob.id, 10000009, fmt.Sprint(i))
	}
	bob = b.enter(t, "bob")
	for i := range backlog {
		bob.expectMessages(10000009, fmt.Sprint(i))
	}
}

func TestRequestsThatWaitComeBeforeTheBacklogAtLogin(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.Close()
	b.append(bob.id, 10000009, "old")
	b.append(bob.id, 10000009, "new")
	b.neighbours.mu.Lock()
	b.neighbours.positions[bob.id], b.waiting[bob.id] = 1, []int{10000005, 10000006}
	b.neighbours.mu.Unlock()
	bob = b.enter(t, "bob")
	bob.expect(`{"type":"friend_request","user":10000005}`)
	bob.expect(`{"type":"friend_request","user":10000006}`)
	bob.expectMessages(10000009, "new")
}

func TestRingsThatOvertakeEachOtherAreHeardInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	b.ring(bob.id, b.append(bob.id, 10000009, "1"))
	bob.expectMessages(10000009, "1")
	reads := b.readCount()
	var events []bell.Event
	for i := 2; i <= 5; i++ {
		events = append(events, b.append(bob.id, 10000009, fmt.Sprint(i)))
	}
	for _, i := range []int{3, 1, 2, 0, 0, 2} { // out of order, and some twice
		b.ring(bob.id, events[i])
	}
	bob.expectMessages(10000009, "2", "3", "4", "5")
	if got := b.readCount(); got != reads {
		t.Logf("the store was read %d times: rings took longer than %v", got-reads, overtake)
	}
}

func (n *neighbours) readCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reads
}

func TestALostRingIsFoundByTheNextOne(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	for i := range 5 {
		b.append(bob.id, 10000009, fmt.Sprint(i)) // not rung for
	}
	b.ring(bob.id, b.append(bob.id, 10000009, "5"))
	bob.expectMessages(10000009, "0", "1", "2", "3", "4", "5")
}

func TestALostLastRingIsFoundByTheHeadCheck(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.HeadCheck = time.Second })

	bob := b.enter(t, "bob")
	b.append(bob.id, 10000009, "silent")
	bob.expectMessages(10000009, "silent")
}

func TestWithoutRedisLoginsGoOnAndMessagesArrive(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisServer(t)
	b := setupOn(t, redis.URL(), "gone", newNeighbours(t))

	alice := b.enter(t, "alice")
	if err := redis.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob := b.enter(t, "bob")
	alice.message(bob.id, "no bell")
	alice.expect(sent)
	bob.expectMessages(alice.id, "no bell")
	alice.message(10000077, "unknown counts as connected")
	alice.expect(sent)
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.awaitRedis(t)
	alice.message(bob.id, "bell again")
	alice.expect(sent)
	bob.expectMessages(alice.id, "bell again")
}

func TestAStoreThatFailsIsReadAgainUntilItAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.Close()
	b.append(bob.id, 10000009, "kept")
	for _, path := range []string{socialapi.PathOpen, socialapi.PathRead} {
		var failures atomic.Int32
		failures.Store(3)
		b.fail(path, func() error {
			if failures.Add(-1) >= 0 {
				return fault.New(fault.Unavailable, "as the test wants")
			}
			return nil
		})
	}
	bob = b.enter(t, "bob")
	bob.expectMessages(10000009, "kept")
}

func TestKindsThatVersion1DoesNotKnowArePassedSilently(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	b.ring(bob.id, b.append(bob.id, 10000009, "1"))
	b.neighbours.mu.Lock()
	b.inboxes[bob.id] = append(b.inboxes[bob.id], bell.Event{Seq: 2, Kind: "of the future", Peer: 3})
	b.neighbours.mu.Unlock()
	b.ring(bob.id, b.append(bob.id, 10000009, "3"))
	bob.expectMessages(10000009, "1", "3")
}

func TestEventsThatWerePrunedAreSkipped(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.Close()
	for i := range 10 {
		b.append(bob.id, 10000009, fmt.Sprint(i+1))
	}
	b.neighbours.mu.Lock()
	b.oldest[bob.id] = 8
	b.neighbours.mu.Unlock()
	bob = b.enter(t, "bob")
	bob.expectMessages(10000009, "8", "9", "10")
}

func TestAPongConfirmsWhatWasWrittenBeforeItsPing(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	b.ring(bob.id, b.append(bob.id, 10000009, "1"))
	b.ring(bob.id, b.append(bob.id, 10000009, "2"))
	bob.expectMessages(10000009, "1", "2")
	done := make(chan struct{})
	go func() { // a library pongs by itself while it reads
		defer close(done)
		_, _, _ = bob.ws.ReadMessage()
	}()
	b.awaitPosition(t, bob.id, 2)
	bob.ws.Close()
	<-done
	b.append(bob.id, 10000009, "3")
	again := b.enter(t, "bob")
	again.expectMessages(10000009, "3")
}

func TestAPongBeyondWhatWasWrittenIsIgnored(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.SetPingHandler(func(string) error { return nil })
	for _, payload := range []string{"99", "99.1", "1.1", "1.2", "1", "-1.1", "", ".", "x.1", "9223372036854775808.1"} {
		if err := bob.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	bob.send(`{"type":"nothing"}`) // its answer comes once the pongs were read
	bob.expect(`{"type":"error","error":"endpoint not found"}`)
	b.ring(bob.id, b.append(bob.id, 10000009, "1"))
	bob.expectMessages(10000009, "1")
	bob.ws.Close()
	b.awaitGone(t, bob.id)
	again := b.enter(t, "bob")
	again.expectMessages(10000009, "1") // was never confirmed
	if got, _ := b.position(bob.id); got != 0 {
		t.Errorf("position is %d", got)
	}
}

func TestPingsComeAmidALongBacklog(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.Close()
	b.awaitGone(t, bob.id)
	const messages = 100
	content := strings.Repeat("x", 4096)
	for range messages {
		b.append(bob.id, 10000009, content)
	}
	again := b.enter(t, "bob")
	got, confirmed, most := 0, 0, 0 // most was read without having been asked for
	again.ws.SetPingHandler(func(payload string) error {
		seq, _ := strconv.Atoi(payload[:strings.Index(payload, ".")])
		most, confirmed = max(most, got-confirmed), seq
		return nil
	})
	for ; got < messages; got++ {
		again.expectMessages(10000009, content)
	}
	if limit := pingBytes/len(content) + 1; max(most, got-confirmed) > limit {
		t.Errorf("%d events came between two pings, want at most %d", most, limit)
	}
}

func TestEverySocketOfAnAccountGetsEveryEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	url, prefix := testenv.Redis(t)
	other := setupOn(t, url, prefix, b.neighbours)
	third := setupOn(t, url, prefix, b.neighbours)

	one, two, three := other.enter(t, "bob"), other.enter(t, "bob"), third.enter(t, "bob")
	alice := third.enter(t, "alice")
	for i := range 20 {
		alice.message(one.id, fmt.Sprint(i))
		alice.expect(sent)
	}
	for _, c := range []*client{one, two, three} {
		for i := range 20 {
			c.expectMessages(alice.id, fmt.Sprint(i))
		}
	}
}

func TestARingThatOvertakesTheOpeningIsNotForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.HeadCheck = time.Hour })

	b.fail(socialapi.PathOpen, func() error { return fault.New(fault.Unavailable, "later") })
	bob := b.enter(t, "bob")
	f := b.hub.find(bob.id)
	f.mu.Lock()
	c := f.conns[0]
	f.mu.Unlock()
	opening := socialapi.Opening{Epoch: "epoch", Oldest: 1} // of the moment before
	f.onRing(bell.Envelope{Epoch: "epoch", Events: []bell.Event{b.append(bob.id, 10000009, "1")}})
	f.start(c, opening, held{})
	bob.expectMessages(10000009, "1")
}
