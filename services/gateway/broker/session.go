package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
)

// errSilent ends a connection that no longer answers pings.
var errSilent = errors.New("the connection does not answer")

// session subscribes to everything that is wanted on a new connection and serves
// it until it breaks. go-redis would reconnect and resubscribe by itself, but
// silently; we give the connection up at the first error instead, so that nothing
// is missed without notice.
func (b *Broker) session(ctx context.Context) error {
	ps := b.rdb.Subscribe(ctx)
	defer ps.Close()
	dial, cancel := context.WithTimeout(ctx, probeInterval)
	err := ps.Ping(dial)
	cancel()
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	b.begin()
	defer b.end()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.receive(gctx, ps) })
	g.Go(func() error { return b.command(gctx, ps) })
	g.Go(func() error { // a read does not notice the end of its context
		<-gctx.Done()
		return ps.Close()
	})
	return g.Wait()
}

// begin marks everything that is wanted as to be subscribed to.
func (b *Broker) begin() {
	b.mu.Lock()
	for user, s := range b.subs {
		if s.wanted {
			b.markDirty(user)
			if b.broke {
				b.metrics.restored.Inc()
			}
		} else {
			delete(b.subs, user)
		}
	}
	b.connected = true
	b.restoring = true
	if b.broke {
		b.reconnect = time.Now() // Redis may have come back empty
	}
	b.mu.Unlock()
	b.settle()
}

// settle ends the restoring of a connection on which nothing needs restoring.
func (b *Broker) settle() {
	b.mu.Lock()
	restored := b.finishRestore()
	b.mu.Unlock()
	if restored {
		b.handler.Restored()
	}
}

// end forgets what was subscribed to on the connection that is gone.
func (b *Broker) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connected = false
	b.pending = 0
	for _, s := range b.subs {
		if s.sent && s.pending == 0 {
			s.confirmed = make(chan struct{})
		}
		s.sent, s.pending = false, 0
	}
}

// receive hands on what the connection brings. It owns all reads.
func (b *Broker) receive(ctx context.Context, ps *redis.PubSub) error {
	probed := false
	for {
		msg, err := ps.ReceiveTimeout(ctx, probeInterval)
		var netErr net.Error
		if errors.As(err, &netErr) && netErr.Timeout() && ctx.Err() == nil {
			if probed {
				return errSilent
			}
			probed = true
			if err := ps.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		probed = false
		b.dispatch(msg)
	}
}

func (b *Broker) dispatch(msg any) {
	switch m := msg.(type) {
	case *redis.Message:
		user, ok := b.channels.UserOf(m.Channel)
		env, err := bell.Decode(m.Payload)
		if !ok || err != nil {
			b.metrics.garbage.Inc()
			return
		}
		b.handler.Deliver(user, env)
	case *redis.Subscription:
		if user, ok := b.channels.UserOf(m.Channel); ok && m.Kind == "subscribe" {
			b.confirm(user)
		}
	}
}

// command sends what makes the connection's channels those that are wanted. It
// owns all writes but pings.
func (b *Broker) command(ctx context.Context, ps *redis.PubSub) error {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		subscribe, unsubscribe := b.takeDirty()
		if err := inBatches(ctx, unsubscribe, ps.Unsubscribe); err != nil {
			return err
		}
		if err := inBatches(ctx, subscribe, ps.Subscribe); err != nil {
			return err
		}
		b.settle()
	}
}

// takeDirty turns differences into commands, and counts them as sent: their
// confirmations may come before the sending returns.
func (b *Broker) takeDirty() (subscribe, unsubscribe []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for user := range b.dirty {
		delete(b.dirty, user)
		s := b.subs[user]
		switch {
		case s == nil:
		case s.wanted && !s.sent:
			s.sent = true
			s.pending++
			b.pending++
			subscribe = append(subscribe, b.channels.User(user))
		case !s.wanted && s.sent:
			if s.pending == 0 {
				s.confirmed = make(chan struct{})
			}
			s.sent = false
			unsubscribe = append(unsubscribe, b.channels.User(user))
			b.forget(user, s)
		case !s.wanted:
			b.forget(user, s)
		}
	}
	return subscribe, unsubscribe
}

// inBatches never sends an empty command: UNSUBSCRIBE without a channel drops all.
func inBatches(ctx context.Context, channels []string, send func(context.Context, ...string) error) error {
	for len(channels) > 0 {
		n := min(len(channels), commandBatch)
		if err := send(ctx, channels[:n]...); err != nil {
			return err
		}
		channels = channels[n:]
	}
	return nil
}
