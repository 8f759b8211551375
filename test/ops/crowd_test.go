package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pymessage/client"
)

// crowd are people in pairs who write to each other all the time, and a record of
// what they did and got.
type crowd struct {
	t      *testing.T
	people []*talker
	stop   context.CancelFunc
	all    sync.WaitGroup
}

// talker is one of them.
type talker struct {
	*client.Client
	name string
	id   int

	mu       sync.Mutex // guards all below
	sent     []string   // acknowledged, in order
	got      []string
	slowest  time.Duration // from the sending of a message to its answer, repetitions included
	comeback []time.Time   // when the connection was there again
	news     chan struct{} // closed at the next message
}

// gather lets n people in, pairs of neighbours, the i-th at urls[i%len(urls)] first.
func gather(t *testing.T, n int, urls ...string) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{t: t, stop: stop}
	t.Cleanup(func() {
		stop()
		c.all.Wait()
	})
	for i := range n {
		p := &talker{name: fmt.Sprint("talker", i), news: make(chan struct{})}
		first := i % len(urls)
		p.Client = person(t, ctx, &c.all, client.Config{
			URLs: slices.Concat(urls[first:], urls[:first]), Username: p.name, Pin: "1234", Create: true,
			OnEvent: p.onEvent, OnStatus: p.onStatus,
		})
		c.people = append(c.people, p)
	}
	for _, p := range c.people {
		var err error
		if p.id, err = p.Ready(ctx); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
	return c
}

// talk makes everybody write every pause, until the crowd is quiet.
func (c *crowd) talk(pause time.Duration) (quiet func()) {
	ctx, stop := context.WithCancel(context.Background())
	var talking sync.WaitGroup
	for i, p := range c.people {
		talking.Go(func() { p.talk(ctx, c.t, c.partner(i).id, pause) })
	}
	return func() {
		stop()
		talking.Wait()
	}
}

func (c *crowd) partner(i int) *talker { return c.people[i^1] }

func (p *talker) talk(ctx context.Context, t *testing.T, to int, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		content := fmt.Sprint("message ", i, " of ", p.name)
		limit, end := context.WithTimeout(context.Background(), patience)
		began := time.Now()
		_, err := p.Send(limit, to, content) // repeated with its nonce until it is answered
		end()
		if err != nil {
			t.Errorf("%s: %q was never acknowledged: %v", p.name, content, err)
			return
		}
		p.mu.Lock()
		p.sent = append(p.sent, content)
		p.slowest = max(p.slowest, time.Since(began))
		p.mu.Unlock()
	}
}

func (p *talker) onEvent(_ context.Context, _ *client.Client, ev client.Event) {
	if ev.Kind != client.Message {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, ev.Content)
	close(p.news)
	p.news = make(chan struct{})
}

func (p *talker) onStatus(s client.Status) {
	if !s.Connected {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.comeback = append(p.comeback, time.Now())
}

// await waits until p has got count messages.
func (p *talker) await(count int) ([]string, error) {
	late := time.After(patience)
	for {
		p.mu.Lock()
		got, news := slices.Clone(p.got), p.news
		p.mu.Unlock()
		if len(got) >= count {
			return got, nil
		}
		select {
		case <-news:
		case <-late:
			return got, errors.New("too few messages came")
		}
	}
}

// goOn waits until everybody has got some more messages.
func (c *crowd) goOn(what string, more int) {
	c.t.Helper()
	wanted := make([]int, len(c.people))
	for i, p := range c.people {
		p.mu.Lock()
		wanted[i] = len(p.got) + more
		p.mu.Unlock()
	}
	for i, p := range c.people {
		if got, err := p.await(wanted[i]); err != nil {
			c.t.Fatalf("%s: %s got %d messages, want %d: %v", what, p.name, len(got), wanted[i], err)
		}
	}
}

// check compares what was acknowledged with what came. The crowd is quiet.
func (c *crowd) check() {
	c.t.Helper()
	total := 0
	for i, p := range c.people {
		sent := c.partner(i).sent
		got, err := p.await(len(sent))
		if err != nil || !slices.Equal(got, sent) {
			c.t.Errorf("%s was sent %d messages and got %d, or in another order: %v", p.name, len(sent), len(got), err)
		}
		total += len(got)
	}
	if total == 0 {
		c.t.Error("nobody wrote anything")
	}
	c.t.Logf("%d messages were acknowledged, and came once and in order", total)
}

// slowest is the longest that a message took to be acknowledged.
func (c *crowd) slowest() (slowest time.Duration) {
	for _, p := range c.people {
		p.mu.Lock()
		slowest = max(slowest, p.slowest)
		p.mu.Unlock()
	}
	return slowest
}

// comebacks are the moments since then at which people were connected again, in order.
func (c *crowd) comebacks(since time.Time) (out []time.Time) {
	for _, p := range c.people {
		p.mu.Lock()
		for _, at := range p.comeback {
			if at.After(since) {
				out = append(out, at)
			}
		}
		p.mu.Unlock()
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}
