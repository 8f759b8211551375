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

// keptEvents is of how many events of a ring the memory is used again.
const keptEvents = 256

var (
	// errSilent ends a connection that no longer answers pings.
	errSilent = errors.New("the connection does not answer")
	// errMoved ends one whose node is no longer in charge of the slot.
	errMoved = errors.New("the slot has moved to another node")
)

// session subscribes to everything that is wanted on a new connection and serves
// it until it breaks. go-redis would reconnect and resubscribe by itself, but
// silently; we give the connection up at the first error instead, so that nothing
// is missed without notice.
func (l *line) session(ctx context.Context) error {
	ctx, drop := context.WithCancelCause(ctx)
	defer drop(nil)
	ps := l.b.rdb.Subscribe(ctx)
	defer ps.Close()
	if err := l.light(ctx, ps); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	l.begin(drop)
	defer l.end()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.receive(gctx, ps) })
	g.Go(func() error { return l.command(gctx, ps) })
	g.Go(func() error { // a read does not notice the end of its context
		<-gctx.Done()
		return ps.Close()
	})
	err := g.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// light subscribes to the beacon, whose slot decides in a cluster which node go-redis
// connects to, and to what is said to all gateways.
func (l *line) light(ctx context.Context, ps *redis.PubSub) error {
	ctx, cancel := context.WithTimeout(ctx, probeInterval)
	defer cancel()
	return l.b.verbs.subscribe(ps, ctx, l.b.channels.User(l.beacon), l.b.channels.User(l.everybody()))
}

// begin marks everything that is wanted as to be subscribed to.
func (l *line) begin(drop context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for user, s := range l.subs {
		if s.wanted {
			l.markDirty(user)
			if l.broke {
				l.b.metrics.restored.Inc()
			}
		} else {
			delete(l.subs, user)
		}
	}
	l.drop = drop
	l.restoring = true
	if l.broke {
		l.reconnect = time.Now() // Redis may have come back empty
	}
}

// settle ends the restoring of a connection on which nothing needs restoring.
func (l *line) settle() {
	l.mu.Lock()
	restored := l.finishRestore()
	l.mu.Unlock()
	if restored {
		l.b.handler.Restored()
	}
}

// end forgets what was subscribed to on the connection that is gone.
func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop = nil
	l.connected = false
	l.pending, l.leaving, l.left = 0, 0, nil
	l.memory.clear() // we may not hear who leaves
	for _, s := range l.subs {
		if s.sent && s.pending == 0 {
			s.confirmed = make(chan struct{})
		}
		s.sent, s.pending = false, 0
	}
}

// receive hands on what the connection brings. It owns all reads.
func (l *line) receive(ctx context.Context, ps *redis.PubSub) error {
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
		if err := l.dispatch(msg); err != nil {
			return err
		}
	}
}

func (l *line) dispatch(msg any) error {
	switch m := msg.(type) {
	case *redis.Message:
		user, ok := l.b.channels.UserOf(m.Channel)
		env, err := bell.DecodeInto(m.Payload, l.room)
		if !ok || err != nil {
			l.b.metrics.garbage.Inc()
			return nil
		}
		defer l.keepRoom(env.Events)
		if user == l.everybody() {
			l.hearAll(env)
			return nil
		}
		l.b.handler.Deliver(user, env)
	case *redis.Subscription:
		user, ok := l.b.channels.UserOf(m.Channel)
		switch {
		case ok && m.Kind == l.b.verbs.subscribed:
			l.confirm(user)
		case ok && m.Kind == l.b.verbs.unsubscribed && user == l.beacon: // unasked
			return errMoved
		case ok && m.Kind == l.b.verbs.unsubscribed:
			l.unsubscribed(user)
		}
	}
	return nil
}

// keepRoom keeps the memory of events that were handed on.
func (l *line) keepRoom(events []bell.Event) {
	clear(events)
	if n := cap(events); n > 0 && n <= keptEvents {
		l.room = events[:0]
	}
}

// everybody is the id on whose channel all gateways are told something.
func (l *line) everybody() int { return l.b.channels.Everybody(l.number) }

func (l *line) hearAll(env bell.Envelope) {
	if env.Passing != nil && env.Passing.Kind == bell.PassingLeft {
		l.memory.left(env.Passing.Peers)
	}
}

// command sends what makes the connection's channels those that are wanted. It
// owns all writes but pings.
func (l *line) command(ctx context.Context, ps *redis.PubSub) error {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		subscribe, unsubscribe := l.takeDirty()
		if err := inBatches(ctx, ps, unsubscribe, l.b.verbs.unsubscribe); err != nil {
			return err
		}
		if err := inBatches(ctx, ps, subscribe, l.b.verbs.subscribe); err != nil {
			return err
		}
		l.settle()
	}
}

// takeDirty turns differences into commands, and counts them as sent: their
// confirmations may come before the sending returns.
func (l *line) takeDirty() (subscribe, unsubscribe []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for user := range l.dirty {
		delete(l.dirty, user)
		s := l.subs[user]
		switch {
		case s == nil:
		case s.wanted && !s.sent:
			s.sent = true
			s.pending++
			l.pending++
			subscribe = append(subscribe, l.b.channels.User(user))
		case !s.wanted && s.sent:
			if s.pending == 0 {
				s.confirmed = make(chan struct{})
			}
			s.sent = false
			l.leaving++
			unsubscribe = append(unsubscribe, l.b.channels.User(user))
			l.forget(user, s)
		case !s.wanted:
			l.forget(user, s)
		}
	}
	return subscribe, unsubscribe
}

// inBatches never sends an empty command: UNSUBSCRIBE without a channel drops all.
func inBatches(ctx context.Context, ps *redis.PubSub, channels []string,
	send func(*redis.PubSub, context.Context, ...string) error) error {
	for len(channels) > 0 {
		n := min(len(channels), commandBatch)
		if err := send(ps, ctx, channels[:n]...); err != nil {
			return err
		}
		channels = channels[n:]
	}
	return nil
}
