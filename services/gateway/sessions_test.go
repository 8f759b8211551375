package gateway

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/internal/fault"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
)

// over ends a session as accounts does, but for the ring.
func (n *neighbours) over(token string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tokens[token] = 0
}

func TestASessionThatEndsLosesItsSocketsAndNoOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, token := b.enter2(t, "bob")
	resumed := b.resume2(t, bob.id, token, 0, "epoch")
	other, _ := b.enter2(t, "bob")
	old := b.enter(t, "bob")
	bob.send(`{"type":"logout","ref":1}`)
	bob.expect(`{"type":"synced","seq":0}`)
	bob.expect(`{"type":"logout_resp","status":"success","ref":1}`)
	bob.expectClose(4502)
	resumed.expectClose(4502) // within a second, since it is new
	late := b.dial2(t)
	late.send(`{"type":"resume","token":"` + token + `","since":0,"epoch":"epoch"}`)
	late.expect(`{"type":"error","error":"session is over","code":"token_invalid"}`)
	old.message(bob.id, "still here")
	old.expect(sent)
	other.expect(`{"type":"synced","seq":0}`)
	other.expect(event2(bob.id, bob.id, 1, "still here"))
}

func TestTheAnswerToLogoutComesBeforeTheEndThoughTheRingIsFaster(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint("the request fails: ", fails), func(t *testing.T) {
			t.Parallel()
			b := setup(t)

			bob, token := b.enter2(t, "bob")
			bob.expect(`{"type":"synced","seq":0}`)
			resumed := b.resume2(t, bob.id, token, 0, "epoch")
			began, goOn := make(chan struct{}), make(chan struct{})
			b.fail(accountsapi.PathEnd, func() error {
				close(began)
				<-goOn
				if fails {
					return fault.New(fault.Unavailable, "as the test wants")
				}
				return nil
			})
			bob.send(`{"type":"logout","ref":1}`)
			<-began
			b.ringer.RingSessionEnd(bob.id, token)
			resumed.expectClose(4502)
			close(goOn)
			bob.expect(`{"type":"logout_resp","status":"success","ref":1}`)
			bob.expectClose(4502)
		})
	}
}

func TestALogoutThatFailsLeavesTheSocketOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, _ := b.enter2(t, "bob")
	bob.expect(`{"type":"synced","seq":0}`)
	b.fail(accountsapi.PathEnd, func() error { return fault.New(fault.Unavailable, "as the test wants") })
	bob.send(`{"type":"logout"}`)
	bob.expect(`{"type":"error","error":"service unavailable, try again","code":"unavailable","retry_after_ms":1000}`)
	b.fail(accountsapi.PathEnd, nil)
	bob.send(`{"type":"logout"}`)
	bob.expect(`{"type":"logout_resp","status":"success"}`)
	bob.expectClose(4502)
}

// freeze opens a socket that does not read, and has more queued for it than the
// kernel takes.
func (b *bundle) freeze(t *testing.T, name string) (c *client, token string) {
	t.Helper()
	c, token = b.enter2(t, name)
	if err := c.ws.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	c.expect(`{"type":"synced","seq":0}`)
	content := strings.Repeat("x", 4000)
	for range 1000 {
		b.ring(c.id, b.append(c.id, 10000009, content))
	}
	return c, token
}

func TestARevokedSocketThatDoesNotReadIsCutOff(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.QueueBytes = 16 << 20 })

	frozen, token := b.freeze(t, "frozen")
	began := time.Now()
	b.ringer.RingSessionEnd(frozen.id, token)
	b.awaitGone(t, frozen.id)
	if took := time.Since(began); took > b.cfg.Patience/2 {
		t.Errorf("it was cut off after %v, as if it were only slow", took)
	}
}

func TestARevokedSocketIsNotListenedTo(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.QueueBytes = 16 << 20 })

	frozen, token := b.freeze(t, "frozen")
	watcher, _ := b.enter2(t, "frozen") // sees that the session has ended
	b.ringer.RingSessionEnd(frozen.id, token)
	b.ringer.RingSessionEnd(frozen.id, "token-1")
	watcher.expectClose(4502)
	alice := b.enter(t, "alice")
	frozen.message(alice.id, "from beyond")
	b.awaitGone(t, frozen.id)
	alice.message(alice.id, "the end")
	if first, second := alice.read(), alice.read(); strings.Contains(first+second, "beyond") {
		t.Errorf("got %s and %s", first, second)
	}
}

func TestSessionsThatEndWhileRedisIsAwayAreFound(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisServer(t)
	b := setupOn(t, redis.URL(), "gone", newNeighbours(t))

	bob, token := b.enter2(t, "bob")
	b.awaitSessionCheck(t)
	if err := redis.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	var failures atomic.Int32 // and accounts is away for a moment, too
	failures.Store(1)
	b.fail(accountsapi.PathEnded, func() error {
		if failures.Add(-1) >= 0 {
			return fault.New(fault.Unavailable, "as the test wants")
		}
		return nil
	})
	b.over(token)
	bob.expectClose(4502)
}

func TestSessionsWhoseEndWasNotHeardAreFoundWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, token := b.enter2(t, "bob")
	b.awaitSessionCheck(t)
	b.over(token)
	b.hub.Restored()
	bob.expectClose(4502)
}

// awaitSessionCheck has the sessions checked that there are now, also the new ones. Then
// only what is tested finds the end of a session in time.
func (b *bundle) awaitSessionCheck(t *testing.T) {
	t.Helper()
	checked := make(chan struct{}, 1)
	b.fail(accountsapi.PathEnded, func() error {
		select {
		case checked <- struct{}{}:
		default:
		}
		return nil
	})
	b.hub.Restored()
	await(t, "a check of the sessions", checked)
	b.fail(accountsapi.PathEnded, nil)
}

func TestNothingFollowsACloseFrame(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	events := 0
	next := func() { // whatever bob reads, there is another event
		b.ring(bob.id, b.append(bob.id, 10000009, fmt.Sprint(events)))
		events++
	}
	for range 500 {
		next()
	}
	var stopped sync.WaitGroup
	read := int64(0)
	_, data, err := bob.ws.ReadMessage()
	for ; err == nil; _, data, err = bob.ws.ReadMessage() {
		if want := fmt.Sprintf(`{"type":"message","sender":10000009,"content":"%d"}`, read); string(data) != want {
			t.Fatalf("got %s, want %s", data, want)
		}
		read++
		next()
		if read == 1000 {
			stopped.Go(b.stop)
		}
	}
	if !websocket.IsCloseError(err, 1012) {
		t.Errorf("ended with %v", err)
	}
	bob.ws.Close()
	stopped.Wait()
	if position, _ := b.position(bob.id); position != read {
		t.Errorf("%d events were read, and %d confirmed", read, position)
	}
}
