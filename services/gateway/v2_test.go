package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/internal/fault"
	"pymessage/services/accounts/accountsapi"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

// object reads a frame of version 2.
func (c *client) object() map[string]any {
	c.t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(c.read()), &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// enter2 makes an account, or logs in to the one there is, on a version 2 socket,
// and gives the token.
func (b *bundle) enter2(t *testing.T, name string) (c *client, token string) {
	t.Helper()
	c = b.dial2(t)
	request := "create_acc"
	if b.idOf(name) != 0 {
		request = "login"
	}
	c.send(`{"type":"` + request + `","username":"` + name + `","pin":1234}`)
	answer := c.object()
	c.id = b.idOf(name)
	if answer["id"] != float64(c.id) || answer["epoch"] != "epoch" {
		t.Fatalf("got %v", answer)
	}
	return c, answer["token"].(string)
}

// resume opens a socket by token.
func (b *bundle) resume2(t *testing.T, id int, token string, since int64, epoch string) *client {
	t.Helper()
	c := b.dial2(t)
	c.id = id
	c.send(fmt.Sprintf(`{"type":"resume","token":"%s","since":%d,"epoch":"%s"}`, token, since, epoch))
	if answer := c.object(); answer["type"] != "resume_resp" || answer["token"] != nil {
		t.Fatalf("got %v", answer)
	}
	return c
}

func event2(user, sender int, seq int64, content string) string {
	return fmt.Sprintf(`{"type":"message","sender":%d,"content":"%s","seq":%d,"id":"%d-%d","sent_at":0}`, sender, content, seq, user, seq)
}

func TestEveryRequestIsHandled(t *testing.T) {
	t.Parallel()
	for _, kind := range wire.Types(wire.V2) {
		if handlers[kind] == nil && kind != wire.SendMsg { // which goes into a lane
			t.Errorf("nobody handles %s", kind)
		}
	}
}

func TestVersion2CarriesRefsAndCodes(t *testing.T) {
	t.Parallel()
	b := setup(t)

	c := b.dial2(t)
	c.send(`{"type":"get_friends","ref":"a"}`)
	c.expect(`{"type":"error","error":"not logged in","code":"not_logged_in","ref":"a"}`)
	c.send(`{"type":"login","username":"nobody","pin":"1234","ref":7}`)
	c.expect(`{"type":"error","error":"acc not found","code":"acc_not_found","ref":7}`)
	c.send(`{"type":"create_acc","username":"alice","pin":"1234","ref":8}`)
	c.expect(`{"type":"create_acc_resp","id":10000001,"token":"token-0","expires_at":1700000000123,"seq":0,"epoch":"epoch","ref":8}`)
	c.expect(`{"type":"synced","seq":0}`)
	c.send(`{"type":"get_friends","ref":-1.5}`)
	c.expect(strings.TrimSuffix(aliceOnly, "}") + `,"ref":-1.5}`)
	c.send(`{"type":"get_friends"}`)
	c.expect(aliceOnly)
	c.send(`{"type":"send_msg","recipient":10000001,"content":"refuse","ref":"s"}`)
	c.expect(`{"type":"error","error":"bad request: content cannot be stored","code":"bad_request","ref":"s"}`)
	c.send(`{"type":"nope","ref":"n"}`)
	c.expect(`{"type":"error","error":"endpoint not found","code":"endpoint_not_found","ref":"n"}`)
}

func TestVersion1SeesNothingOfVersion2(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice := b.enter(t, "alice")
	for _, request := range wire.Types(wire.V2)[len(wire.Types(wire.V1)):] {
		alice.send(`{"type":"` + string(request) + `","ref":"r","seq":1,"token":"t","since":0,"epoch":"e","user":10000001}`)
		alice.expect(endpointFail)
	}
	alice.send(`{"type":"send_msg","recipient":10000001,"content":"x","nonce":5,"ref":{}}`)
	first, second := alice.read(), alice.read()
	if first != sent && second != sent {
		t.Errorf("got %s and %s", first, second)
	}
}

func TestASendToWhoIsNotConnectedIsQueued(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	alice, _ := b.enter2(t, "alice")
	alice.expect(`{"type":"synced","seq":0}`)
	alice.message(bob.id, "there")
	alice.expect(fmt.Sprintf(`{"type":"send_resp","status":"success","id":"%d-1","sent_at":0}`, bob.id))
	bob.expectMessages(alice.id, "there")
	bob.ws.Close()
	b.awaitGone(t, bob.id)
	b.awaitRedis(t)
	alice.message(bob.id, "away")
	alice.expect(fmt.Sprintf(`{"type":"send_resp","status":"queued","id":"%d-2","sent_at":0}`, bob.id))
	bob = b.enter(t, "bob")
	for frame := bob.read(); frame != fmt.Sprintf(`{"type":"message","sender":%d,"content":"away"}`, alice.id); {
		frame = bob.read() // "there" may not have been confirmed
	}
}

func TestTheSameNonceIsOneMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	alice, _ := b.enter2(t, "alice")
	alice.expect(`{"type":"synced","seq":0}`)
	for i := range 3 {
		alice.send(fmt.Sprintf(`{"type":"send_msg","recipient":%d,"content":"once","nonce":"n","ref":%d}`, bob.id, i))
	}
	for i, sentAt := range []int{0, 5, 5} {
		alice.expect(fmt.Sprintf(`{"type":"send_resp","status":"success","id":"%d-1","sent_at":%d,"ref":%d}`, bob.id, sentAt, i))
	}
	alice.message(bob.id, "twice")
	bob.expectMessages(alice.id, "once", "twice")
}

func TestResumeReplaysWhatCameSinceAndSaysWhenItIsDone(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, token := b.enter2(t, "bob")
	bob.expect(`{"type":"synced","seq":0}`)
	for i := range 5 {
		b.ring(bob.id, b.append(bob.id, 10000009, fmt.Sprint(i+1)))
	}
	for i := range 5 {
		bob.expect(event2(bob.id, 10000009, int64(i+1), fmt.Sprint(i+1)))
	}
	bob.ws.Close()
	b.append(bob.id, 10000009, "6")
	again := b.resume2(t, bob.id, token, 3, "epoch")
	for i := 4; i <= 6; i++ {
		again.expect(event2(bob.id, 10000009, int64(i), fmt.Sprint(i)))
	}
	again.expect(`{"type":"synced","seq":6}`)
	nothing := b.resume2(t, bob.id, token, 6, "epoch")
	nothing.expect(`{"type":"synced","seq":6}`)
}

func TestAResumeThatCannotGoOnSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, token := b.enter2(t, "bob")
	for i := range 5 {
		b.append(bob.id, 10000009, fmt.Sprint(i+1))
	}
	b.neighbours.mu.Lock()
	b.neighbours.positions[bob.id] = 4
	b.neighbours.mu.Unlock()

	beyond := b.resume2(t, bob.id, token, 99, "epoch")
	beyond.expect(`{"type":"resync","oldest":1,"seq":5,"epoch":"epoch"}`)
	beyond.expect(`{"type":"synced","seq":5}`)

	other := b.resume2(t, bob.id, token, 5, "of another log")
	other.expect(`{"type":"resync","oldest":1,"seq":4,"epoch":"epoch"}`)
	other.expect(event2(bob.id, 10000009, 5, "5"))
	other.expect(`{"type":"synced","seq":5}`)

	b.neighbours.mu.Lock()
	b.oldest[bob.id] = 4
	b.neighbours.mu.Unlock()
	pruned := b.resume2(t, bob.id, token, 1, "epoch")
	pruned.expect(`{"type":"resync","oldest":4,"seq":3,"epoch":"epoch"}`)
	pruned.expect(event2(bob.id, 10000009, 4, "4"))
	pruned.expect(event2(bob.id, 10000009, 5, "5"))
	pruned.expect(`{"type":"synced","seq":5}`)
}

func TestASocketWhoseNextEventsArePrunedIsToldSo(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, _ := b.enter2(t, "bob")
	bob.expect(`{"type":"synced","seq":0}`)
	old := b.enter(t, "bob") // version 1 has no word for it
	b.ring(old.id, b.append(old.id, 10000009, "1"))
	bob.expect(event2(old.id, 10000009, 1, "1"))
	old.expectMessages(10000009, "1")
	for i := range 4 {
		b.append(old.id, 10000009, fmt.Sprint(i+2)) // not rung for, and another socket was faster
	}
	b.neighbours.mu.Lock()
	b.oldest[old.id] = 5
	b.neighbours.mu.Unlock()
	b.ring(old.id, b.append(old.id, 10000009, "6"))
	bob.expect(`{"type":"resync","oldest":5,"seq":4,"epoch":"epoch"}`)
	bob.expect(event2(old.id, 10000009, 5, "5"))
	bob.expect(event2(old.id, 10000009, 6, "6"))
	old.expectMessages(10000009, "5", "6")
}

func TestAnotherEpochStartsEverySocketAnew(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.HeadCheck = time.Second })

	new2, _ := b.enter2(t, "bob")
	new2.expect(`{"type":"synced","seq":0}`)
	old := b.enter(t, "bob")
	for i := range 3 {
		b.ring(old.id, b.append(old.id, 10000009, fmt.Sprint(i+1)))
	}
	old.expectMessages(10000009, "1", "2", "3")
	for i := range 3 {
		new2.expect(event2(old.id, 10000009, int64(i+1), fmt.Sprint(i+1)))
	}
	b.neighbours.mu.Lock() // a restore: the last event is lost, and another takes its place
	b.epoch = "later"
	b.neighbours.positions[old.id] = 2
	b.inboxes[old.id] = slices.Clip(b.inboxes[old.id][:2]) // an answer may still be written from the old array
	b.neighbours.mu.Unlock()
	b.append(old.id, 10000009, "other 3")
	old.expectMessages(10000009, "other 3")
	new2.expect(`{"type":"resync","oldest":1,"seq":2,"epoch":"later"}`)
	new2.expect(event2(old.id, 10000009, 3, "other 3"))
	new2.expect(`{"type":"synced","seq":3}`)
}

func TestOnlyAnAckMovesThePositionOfVersion2(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, _ := b.enter2(t, "bob")
	bob.expect(`{"type":"synced","seq":0}`)
	b.ring(bob.id, b.append(bob.id, 10000009, "1"))
	b.ring(bob.id, b.append(bob.id, 10000009, "2"))
	bob.expect(event2(bob.id, 10000009, 1, "1"))
	bob.expect(event2(bob.id, 10000009, 2, "2"))
	bob.send(`{"type":"ack","seq":3,"ref":"far"}`)
	bob.expect(`{"type":"error","error":"bad request: seq is beyond what was sent","code":"bad_request","ref":"far"}`)
	bob.send(`{"type":"ack","seq":1}`)
	bob.send(`{"type":"ack","seq":1,"ref":"again"}`)
	bob.expect(`{"type":"ack_resp","seq":1,"ref":"again"}`)
	b.awaitPosition(t, bob.id, 1)
	bob.ws.Close()
	again, _ := b.enter2(t, "bob") // by pin: from the position on
	again.expect(event2(bob.id, 10000009, 2, "2"))
	again.expect(`{"type":"synced","seq":2}`)
}

func TestAHeartbeatTellsTheNewestSeq(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = time.Second })

	b.enter2(t, "other")
	bob, _ := b.enter2(t, "bob")
	bob.expect(`{"type":"synced","seq":0}`)
	b.ring(bob.id, b.append(bob.id, 10000009, "1"))
	for frame := bob.read(); frame != `{"type":"heartbeat","seq":1}`; frame = bob.read() {
		if frame != `{"type":"heartbeat","seq":0}` && frame != event2(bob.id, 10000009, 1, "1") {
			t.Fatalf("got %s", frame)
		}
	}
}

func TestTheAnswerToALoginComesBeforeAHeartbeat(t *testing.T) {
	t.Parallel()
	b := setup(t)

	b.enter2(t, "alice")
	b.fail(socialapi.PathOpen, func() error { // the login is under way
		for _, c := range b.allConns() {
			c.beat()
		}
		return nil
	})
	bob := b.dial2(t)
	bob.send(`{"type":"create_acc","username":"bob","pin":1234}`)
	if got := bob.read(); !strings.HasPrefix(got, `{"type":"create_acc_resp"`) {
		t.Errorf("got %s", got)
	}
}

func TestVersion2IsNotLoggedInWhileItsInboxCannotBeOpened(t *testing.T) {
	t.Parallel()
	b := setup(t)

	b.enter2(t, "alice")
	var failures atomic.Int32
	failures.Store(1)
	b.fail(socialapi.PathOpen, func() error {
		if failures.Add(-1) >= 0 {
			return fault.New(fault.Unavailable, "as the test wants")
		}
		return nil
	})
	c := b.dial2(t)
	c.send(`{"type":"login","username":"alice","pin":"1234"}`)
	c.expect(`{"type":"error","error":"service unavailable, try again","code":"unavailable","retry_after_ms":1000}`)
	c.send(`{"type":"get_friends"}`)
	c.expect(`{"type":"error","error":"not logged in","code":"not_logged_in"}`)
	c.send(`{"type":"login","username":"alice","pin":"1234"}`)
	if got := c.object(); got["type"] != "resp" {
		t.Fatalf("got %v", got)
	}
}

func TestAnUnknownSubprotocolIsVersion1(t *testing.T) {
	t.Parallel()
	b := setup(t)

	dialer := websocket.Dialer{Subprotocols: []string{"pymessage.v99"}}
	ws, _, err := dialer.Dial("ws://"+b.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if ws.Subprotocol() != "" {
		t.Errorf("the subprotocol is %q", ws.Subprotocol())
	}
}

func TestWhenAllSessionsEndOnlyTheExceptionGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, token := b.enter2(t, "bob")
	bob.expect(`{"type":"synced","seq":0}`)
	other, _ := b.enter2(t, "bob")
	old, alice := b.enter(t, "bob"), b.enter(t, "alice")
	b.ringer.RingSessionsEnd(bob.id, token) // here a session is called as its token
	other.expect(`{"type":"synced","seq":0}`)
	other.expectClose(4502)
	old.expectClose(4502)
	bob.send(`{"type":"ack","seq":0,"ref":1}`)
	bob.expect(`{"type":"ack_resp","seq":0,"ref":1}`)
	b.ringer.RingSessionsEnd(bob.id, "")
	bob.expectClose(4502)
	alice.message(alice.id, "still here")
	alice.expect(sent)
}

// The ring may come before the socket is there to hear it, or get lost.
func TestASocketOfADeletedAccountEndsWithoutARing(t *testing.T) {
	t.Parallel()
	b := setup(t)

	deleted := make(chan struct{})
	b.fail(accountsapi.PathEnded, func() error { <-deleted; return nil }) // the check of new sockets waits for it
	bob := b.enter(t, "bob")
	b.delete(bob.id)
	close(deleted)
	bob.expectClose(4502) // within a second, since it is new
	alice := b.enter(t, "alice")
	alice.message(alice.id, "still here")
	alice.expect(sent)
}
