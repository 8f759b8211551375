package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pymessage/services/accounts/accountsapi"
	"pymessage/services/social/socialapi"
)

// awaitWaiting waits until so many resumes wait for a call.
func (b *bundle) awaitWaiting(t *testing.T, resumes int) {
	t.Helper()
	g := b.asks.resume
	waiting := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.waiting)
	}
	until(t, fmt.Sprint(resumes, " resumes wait"), func() bool { return waiting() >= resumes })
}

// TestEachOfManyWhoComeBackAtOnceGoesOnWhereItWas lets sockets resume together: some with
// tokens of nobody, some with more to read than a short page holds.
func TestEachOfManyWhoComeBackAtOnceGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for _, earlier := range []bool{false, true} {
		t.Run(fmt.Sprint("beside an earlier version ", earlier), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.setEarlier(earlier)
			comeBackAtOnce(t, b)
			for _, path := range []string{accountsapi.PathResume, socialapi.PathOpen, socialapi.PathRead} {
				if n := b.askedTogether(path); n > 0 && earlier || n == 0 && !earlier && path == accountsapi.PathResume {
					t.Errorf("%d asks of %s came together", n, path)
				}
			}
		})
	}
}

func comeBackAtOnce(t *testing.T, b *bundle) {
	t.Helper()
	const people, left = 24, 5 // events that each person more has left, from 1 on
	sockets := make([]*client, people)
	tokens := make([]string, people)
	for i := range sockets {
		c, token := b.enter2(t, fmt.Sprint("person", i))
		for n := range left * i {
			b.append(c.id, 10000009, fmt.Sprint(n+1))
		}
		c.ws.Close()
		sockets[i], tokens[i] = b.dial2(t), token
		sockets[i].id = c.id
	}
	called, release := make(chan struct{}, people), make(chan struct{})
	b.fail(accountsapi.PathResume, func() error { called <- struct{}{}; <-release; return nil })
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	for i, c := range sockets {
		if i%4 == 3 {
			tokens[i] = "of nobody"
		}
		c.send(fmt.Sprintf(`{"type":"resume","token":"%s","since":1,"epoch":"epoch"}`, tokens[i]))
		if i < callsAtOnce { // the others wait
			await(t, "a call", called)
		}
	}
	b.awaitWaiting(t, people-callsAtOnce)
	letGo()
	for i, c := range sockets {
		wantReplay(t, c, int64(left*i), tokens[i] == "of nobody")
	}
}

// wantReplay reads what follows a resume after the first event.
func wantReplay(t *testing.T, c *client, head int64, nobody bool) {
	t.Helper()
	if nobody {
		c.expect(`{"type":"error","error":"session is over","code":"token_invalid"}`)
		return
	}
	if answer := c.object(); answer["type"] != "resume_resp" || answer["id"] != float64(c.id) || answer["seq"] != float64(head) {
		t.Fatalf("%d got %v", c.id, answer)
	}
	if head == 0 { // the first event is none of this log
		c.expect(`{"type":"resync","oldest":1,"seq":0,"epoch":"epoch"}`)
	}
	for seq := int64(2); seq <= head; seq++ {
		c.expect(event2(c.id, 10000009, seq, fmt.Sprint(seq)))
	}
	c.expect(fmt.Sprintf(`{"type":"synced","seq":%d}`, head))
}

func TestResumesThatFailTogetherMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob, token := b.enter2(t, "bob")
	var failures atomic.Int32
	failures.Store(1)
	b.fail(accountsapi.PathResume, func() error {
		if failures.Add(-1) >= 0 {
			panic(http.ErrAbortHandler) // as if the pod were killed
		}
		return nil
	})
	c := b.dial2(t)
	resume := fmt.Sprintf(`{"type":"resume","token":"%s","since":0,"epoch":"epoch"}`, token)
	c.send(resume)
	c.expect(`{"type":"error","error":"service unavailable, try again","code":"unavailable","retry_after_ms":1000}`)
	c.send(resume)
	if answer := c.object(); answer["id"] != float64(bob.id) {
		t.Errorf("got %v", answer)
	}
}

// TestATokenThatIsTooLongGoesNowhere matters to those who resume at the same time: they
// share a request, whose size is bounded.
func TestATokenThatIsTooLongGoesNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fail(accountsapi.PathResume, func() error {
		t.Error("accounts was asked")
		return nil
	})

	c := b.dial2(t)
	for _, length := range []int{accountsapi.MaxToken + 1, 60000} {
		c.send(fmt.Sprintf(`{"type":"resume","token":"%s","since":0,"epoch":"epoch"}`, strings.Repeat("<", length)))
		c.expect(`{"type":"error","error":"session is over","code":"token_invalid"}`)
	}
}
