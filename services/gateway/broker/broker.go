// Package broker is a gateway's side of Redis: it subscribes to the channels of
// the users whose sockets the gateway holds, hands on what is rung there, and
// asks who else is connected. Presence is the subscription: a user is connected
// while some gateway subscribes to the user's channel.
//
// Delivery is at most once and may be out of order. What the broker promises is to
// tell when it may have missed something (Handler.Restored).
package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"pymessage/internal/bell"
)

const (
	// probeInterval is how long the subscriber connection may be silent before it
	// is pinged, and then how long it has to answer.
	probeInterval = 3 * time.Second
	// commandBatch is how many channels one (UN)SUBSCRIBE names.
	commandBatch = 256
	// retryMin and retryMax bound the pause before connecting again.
	retryMin = 50 * time.Millisecond
	retryMax = time.Second
)

// Handler is told what comes in. It must not block, for it holds up all users.
type Handler interface {
	// Deliver hands over a ring on user's channel. From one goroutine.
	Deliver(user int, env bell.Envelope)
	// Restored says that all channels are subscribed to again after the
	// connection was lost, and that rings may have been missed until now.
	Restored()
}

// Broker owns one subscriber connection and the set of channels on it.
type Broker struct {
	// Static after construction.
	rdb      *redis.Client
	presence *redis.Client
	channels bell.Channels
	handler  Handler
	log      *slog.Logger
	metrics  metrics
	wake     chan struct{} // capacity 1: there are dirty subscriptions

	mu        sync.Mutex // guards all below
	subs      map[int]*subscription
	dirty     map[int]struct{} // users whose subscription may differ from what is wanted
	connected bool
	restoring bool      // the channels of an earlier connection are not all confirmed
	pending   int       // SUBSCRIBEs without their confirmation
	broke     bool      // some attempt to connect or some connection has failed
	reconnect time.Time // of the last connection that followed a failure
	dialed    bool      // the presence connection was made once
}

// subscription is one user's channel on the present connection.
type subscription struct {
	wanted    bool
	sent      bool          // the last command sent for it was SUBSCRIBE
	pending   int           // SUBSCRIBEs sent and not confirmed; counted, since confirmations carry no id
	confirmed chan struct{} // closed while sent and confirmed
}

type metrics struct {
	reconnects prometheus.Counter
	garbage    prometheus.Counter
	unknown    prometheus.Counter
	restored   prometheus.Counter
}

// New makes a Broker on the Redis at url.
func New(url string, channels bell.Channels, h Handler, log *slog.Logger, reg prometheus.Registerer) (*Broker, error) {
	options, err := bell.Options(url)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		rdb: redis.NewClient(options), channels: channels, handler: h, log: log,
		wake: make(chan struct{}, 1),
		subs: map[int]*subscription{}, dirty: map[int]struct{}{},
	}
	if b.presence, err = b.connectPresence(url); err != nil {
		return nil, err
	}
	bell.Measure(reg, map[string]*redis.Client{"rings": b.rdb, "presence": b.presence})
	f := promauto.With(reg)
	b.metrics = metrics{
		reconnects: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_reconnects_total",
			Help: "Times the subscriber connection to Redis was lost and made anew."}),
		garbage: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_garbage_total",
			Help: "Payloads on our channels that are no envelopes; ignored."}),
		unknown: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_presence_unknown_total",
			Help: "Presence questions that could not be answered and counted as connected."}),
		restored: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_resubscriptions_total",
			Help: "Channels that had to be subscribed to again on a new connection."}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "pymessage_broker_channels",
		Help: "Channels that are subscribed to or about to be: users with sockets on this gateway."},
		func() float64 {
			b.mu.Lock()
			defer b.mu.Unlock()
			return float64(len(b.subs))
		})
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "pymessage_broker_connected",
		Help: "1 while the subscriber connection to Redis is up and every channel is confirmed."},
		func() float64 {
			if b.Healthy() {
				return 1
			}
			return 0
		})
	return b, nil
}

// Close gives up the connections. Run must have returned.
func (b *Broker) Close() {
	b.rdb.Close()
	b.presence.Close()
}

// Client is the client for commands other than the broker's, such as publishing.
func (b *Broker) Client() *redis.Client { return b.rdb }

// Ping asks whether Redis is there.
func (b *Broker) Ping(ctx context.Context) error { return b.rdb.Ping(ctx).Err() }

// Healthy says whether every wanted channel is known to be subscribed to, except
// those asked for just now. While it is not, rings may be missed.
func (b *Broker) Healthy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connected && !b.restoring
}

// Subscribe asks for user's channel. The channel it returns is closed once Redis
// has confirmed.
func (b *Broker) Subscribe(user int) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subs[user]
	if s == nil {
		s = &subscription{confirmed: make(chan struct{})}
		b.subs[user] = s
	}
	s.wanted = true
	b.markDirty(user)
	return s.confirmed
}

// Unsubscribe gives user's channel up.
func (b *Broker) Unsubscribe(user int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.subs[user]; s != nil {
		s.wanted = false
		b.markDirty(user)
	}
}

// markDirty needs b.mu.
func (b *Broker) markDirty(user int) {
	b.dirty[user] = struct{}{}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run keeps the subscriber connection up until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	pause := retryMin
	for {
		began := time.Now()
		err := b.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.WarnContext(ctx, "lost the subscriber connection to Redis", "err", err)
		b.metrics.reconnects.Inc()
		b.noteBreak()
		if time.Since(began) > retryMax {
			pause = retryMin
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, retryMax)
	}
}

func (b *Broker) noteBreak() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broke = true
}

// confirm counts one confirmation of a SUBSCRIBE.
func (b *Broker) confirm(user int) {
	b.mu.Lock()
	s := b.subs[user]
	if s == nil || s.pending == 0 {
		b.mu.Unlock()
		return
	}
	s.pending--
	b.pending--
	if s.pending == 0 && s.sent {
		close(s.confirmed)
	}
	b.forget(user, s)
	restored := b.finishRestore()
	b.mu.Unlock()
	if restored {
		b.handler.Restored()
	}
}

// forget drops a subscription that nobody wants and Redis owes nothing for. It
// needs b.mu.
func (b *Broker) forget(user int, s *subscription) {
	if !s.wanted && !s.sent && s.pending == 0 {
		delete(b.subs, user)
	}
}

// finishRestore says whether this moment ends the restoring of a connection. It
// needs b.mu.
func (b *Broker) finishRestore() bool {
	if !b.restoring || b.pending > 0 || len(b.dirty) > 0 {
		return false
	}
	b.restoring = false
	return true
}
