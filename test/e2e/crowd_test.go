package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pymessage/client"
)

const (
	// crowdSize is how many people there are, every other one of version 1.
	crowdSize = 40
	// sendEvery is how often each of them writes to somebody, if the last message was
	// answered.
	sendEvery = 200 * time.Millisecond
)

// crowd are people who write to each other while something happens, and remember
// what was acknowledged and what came.
type crowd struct {
	t       *testing.T
	members []*member
	stop    chan struct{} // closed when nothing more is to be sent
	senders sync.WaitGroup
	answers chan struct{} // gets one for each message that is acknowledged
}

type member struct {
	*person
	mu           sync.Mutex          // guards all below
	acknowledged map[string]struct{} // what others sent to this one
	got          []client.Event
	news         chan struct{} // closed when there is more in got
}

// gather logs the crowd in at the front door.
func gather(t *testing.T, door string) *crowd {
	t.Helper()
	c := &crowd{t: t, stop: make(chan struct{}), answers: make(chan struct{}, 1<<20)}
	for i := range crowdSize {
		m := &member{acknowledged: map[string]struct{}{}, news: make(chan struct{})}
		m.person = join(t, door, client.Version1+i%2, "member", func(cfg *client.Config) { cfg.OnEvent = m.hear })
		c.members = append(c.members, m)
	}
	return c
}

func (m *member) hear(_ context.Context, _ *client.Client, ev client.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, ev)
	close(m.news)
	m.news = make(chan struct{})
}

// chat has everybody write until quiet is called.
func (c *crowd) chat() {
	for _, m := range c.members {
		c.senders.Go(func() { c.write(m) })
	}
}

func (c *crowd) write(m *member) {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
		to := c.members[rand.IntN(len(c.members))]
		content := fmt.Sprint(m.id, " ", n)
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		_, err := m.Send(ctx, to.id, content)
		cancel()
		switch {
		case err == nil:
			to.owe(content)
			c.answers <- struct{}{}
		case m.cfg.Version == client.Version2:
			c.t.Errorf("a send of version 2 was not retried to success: %v", err)
		case !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotConnected) && !errors.Is(err, client.ErrSendFailed):
			c.t.Errorf("a send of version 1 failed: %v", err)
		}
	}
}

func (m *member) owe(content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acknowledged[content] = struct{}{}
}

// quiet ends the chat, and checks that everybody has got what was acknowledged: in
// order, and nothing twice where the version can tell.
func (c *crowd) quiet() {
	c.t.Helper()
	close(c.stop)
	c.senders.Wait()
	acknowledged, repeated := 0, 0
	for _, m := range c.members {
		m.awaitAll()
		acknowledged += len(m.acknowledged)
		repeated += m.checkOrder()
	}
	c.t.Logf("%d messages were acknowledged, and all came; %d came twice to version 1", acknowledged, repeated)
}

// awaitAll waits until all that was acknowledged has come.
func (m *member) awaitAll() {
	m.t.Helper()
	missing := map[string]struct{}{}
	for content := range m.acknowledged {
		missing[content] = struct{}{}
	}
	late := time.After(patience)
	for seen := 0; ; {
		m.mu.Lock()
		got, news := m.got, m.news
		m.mu.Unlock()
		for ; seen < len(got); seen++ {
			delete(missing, got[seen].Content)
		}
		if len(missing) == 0 {
			return
		}
		select {
		case <-news:
		case <-late:
			m.t.Errorf("%s (version %d) never got %v", m.name, m.cfg.Version, missing)
			return
		}
	}
}

// checkOrder checks what came, and says how much came again.
func (m *member) checkOrder() (repeated int) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	seen, last, seq := map[string]bool{}, map[int]int{}, int64(0)
	for _, ev := range m.got {
		if seen[ev.Content] {
			repeated++
			continue
		}
		seen[ev.Content] = true
		var sender, n int
		if _, err := fmt.Sscan(ev.Content, &sender, &n); err != nil || sender != ev.Peer {
			m.t.Fatalf("got %+v", ev)
		}
		if n < last[sender] {
			m.t.Errorf("%s got %d of %d after %d", m.name, n, sender, last[sender])
		}
		last[sender] = n
		if m.cfg.Version == client.Version2 && ev.Seq != seq+1 {
			m.t.Errorf("%s got %d after %d", m.name, ev.Seq, seq)
		}
		seq = ev.Seq
	}
	if repeated > 0 && m.cfg.Version == client.Version2 {
		m.t.Errorf("%s got %d messages twice", m.name, repeated)
	}
	return repeated
}

// breaks are the ends of connections since a moment.
func (c *crowd) breaks(since time.Time) (ends, returns []status) {
	for _, m := range c.members {
		m.person.mu.Lock()
		var end *status
		for _, s := range m.statuses {
			if s.at.Before(since) {
				continue
			}
			if s.Connected && end != nil {
				ends, returns, end = append(ends, *end), append(returns, s), nil
			} else if end == nil {
				end = &s
			}
		}
		m.person.mu.Unlock()
	}
	return ends, returns
}

// goOn waits until everybody is connected, and some more messages are acknowledged.
func (c *crowd) goOn() {
	c.t.Helper()
	for _, m := range c.members {
		m.awaitLast("a login", func(s status) bool { return s.Connected })
	}
	for len(c.answers) > 0 {
		<-c.answers
	}
	late := time.After(patience)
	for range 2 * crowdSize {
		select {
		case <-c.answers:
		case <-late:
			c.t.Fatal("the crowd has fallen silent")
		}
	}
}

// describe lists the reasons for ends.
func describe(ends []status) string {
	reasons := map[string]int{}
	for _, s := range ends {
		reasons[fmt.Sprint(s.Err)]++
	}
	var out []string
	for reason, n := range reasons {
		out = append(out, fmt.Sprintf("%d: %s", n, reason))
	}
	return strings.Join(out, "; ")
}
