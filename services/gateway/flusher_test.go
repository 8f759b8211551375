package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

func TestTheFlusherRestsOnlyWhereMessagesWaitForTheirLanes(t *testing.T) {
	t.Parallel()
	for waited, want := range map[time.Duration]time.Duration{
		0: 0, leastRest - 1: 0, leastRest: leastRest, 40 * time.Millisecond: 40 * time.Millisecond,
		mostRest: mostRest, time.Hour: mostRest,
	} {
		if got := restAfter(waited); got != want {
			t.Errorf("where messages wait %v it rests %v, want %v", waited, got, want)
		}
	}
}

func TestTheLanesTellHowLongMessagesWaitForFullOnes(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Lanes = 1 })

	alice, bob := b.enter(t, "alice"), b.enter(t, "bob")
	waits, release := make(chan time.Duration, 3), make(chan struct{})
	b.fail(socialapi.PathSend, func() error {
		waits <- b.laneWait()
		<-release
		return nil
	})
	// behind sends what waits while another batch is under way, and tells for how long it
	// waited for sure.
	behind := func(messages int32) time.Duration {
		alice.message(bob.id, "the first of them")
		until(t, "a message waits", func() bool { return b.Server.lanes[0].waiting.Load() == 1 })
		began := time.Now()
		for range messages - 1 {
			alice.message(bob.id, "another one")
		}
		until(t, "all wait", func() bool { return b.Server.lanes[0].waiting.Load() == messages })
		return time.Since(began)
	}
	alice.message(bob.id, "at once")
	if waited := <-waits; waited != 0 {
		t.Errorf("a batch of one waited %v", waited)
	}
	behind(laneShare - 1)
	release <- struct{}{}
	if waited := <-waits; waited != 0 {
		t.Errorf("a short batch waited %v", waited)
	}
	held := behind(laneShare)
	release <- struct{}{}
	if waited := <-waits; waited < held {
		t.Errorf("a full batch waited %v, and at least %v are true", waited, held)
	}
	release <- struct{}{}
	for range 1 + laneShare - 1 + laneShare {
		alice.expect(sent)
	}
	until(t, "nothing waits any more", func() bool { return b.laneWait() == 0 })
}

// While others are slow, the writers of all are there for who reads.
func TestSocketsThatDoNotReadHoldUpNobodyHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.QueueBytes, c.Patience = 16<<20, time.Minute })

	for i := range 2 * runtime.GOMAXPROCS(0) {
		frozen, _ := b.freeze(t, fmt.Sprint("frozen ", i))
		defer frozen.ws.Close()
	}
	alice := b.enter(t, "alice")
	alice.message(alice.id, "hi")
	alice.expect(sent)
}

// The deadline of a write that waited must not be one for those that do not wait.
func TestASocketThatWasSlowOnceIsWrittenToAfterItsPatience(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.QueueBytes, c.Patience, c.Heartbeat = 32<<20, 2*time.Second, time.Second
	})

	slow, _ := b.enter2(t, "slow")
	content := strings.Repeat("x", 4000)
	const events = 3000 // 12 MB: more than the kernel's buffers hold
	for range events {
		b.ring(slow.id, b.append(slow.id, 10000009, content))
	}
	last := fmt.Sprintf(`{"type":"heartbeat","seq":%d}`, events)
	for beats := 0; beats < 4; { // for longer than the patience
		if slow.read() == last {
			beats++
		}
	}
}

func TestACloseFrameOfTheClientIsAnsweredBehindAllThatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)

	for _, code := range []int{websocket.CloseNormalClosure, websocket.CloseGoingAway, 4999} {
		bob := b.enter(t, fmt.Sprint("bob", code))
		var heard atomic.Int64
		bob.ws.SetCloseHandler(func(code int, _ string) error {
			heard.Store(int64(code))
			return nil
		})
		bob.message(5, "answered")
		bob.expect(`{"type":"error","error":"5 is not connected to the network"}`)
		if err := bob.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "bye"), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; {
			_, _, err = bob.ws.ReadMessage()
		}
		if heard.Load() != int64(code) {
			t.Errorf("a close with %d was answered with %d", code, heard.Load())
		}
		b.awaitGone(t, bob.id)
	}
}

func TestAGatewayEndsWithItsSocketsWhenAPartOfItFails(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	n := newNeighbours(t)
	s := newServer(t, url, prefix, n)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve(context.Background(), l) }()
	b := &bundle{Server: s, neighbours: n, addr: l.Addr().String()}
	b.awaitRedis(t)
	alice, _ := b.enter2(t, "alice")
	alice.expect(`{"type":"synced","seq":0}`)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	alice.expectClose(websocket.CloseServiceRestart)
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
}
