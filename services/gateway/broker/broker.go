// Package broker is a gateway's side of Redis: it subscribes to the channels of
// the users whose sockets the gateway holds, hands on what is rung there, and
// asks who else is connected. Presence is the subscription: a user is connected
// while some gateway subscribes to the user's channel.
//
// Redis is one server, or a Redis Cluster: then the users are spread over partitions,
// and there is a connection, a line, for each partition. One server has one line.
//
// Delivery is at most once and may be out of order. What the broker promises is to
// tell when it may have missed something (Handler.Restored).
package broker

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
)

// Handler is told what comes in. It must not block, for it holds up all users of a
// partition.
type Handler interface {
	// Deliver hands over a ring on user's channel. Those of one user come from one
	// goroutine. The memory of env.Events is used again afterwards.
	Deliver(user int, env bell.Envelope)
	// Restored says that all channels of a line are subscribed to again after its
	// connection was lost, and that rings may have been missed until now.
	Restored()
	// Left says that users of a partition have no socket here any more, and that
	// Redis knows. All gateways are to be told (Channels.Everybody, PassingLeft), who
	// may remember these users as connected.
	Left(partition int, users []int)
}

// Broker owns the lines.
type Broker struct {
	// Static after construction.
	rdb      redis.UniversalClient
	presence redis.UniversalClient // apart, so that a question waits for no rings
	channels bell.Channels
	verbs    verbs
	handler  Handler
	log      *slog.Logger
	metrics  metrics
	lines    []*line       // by partition
	due      chan struct{} // capacity 1: somebody is due in a memory
}

// verbs are what a subscriber says and hears.
type verbs struct {
	subscribe, unsubscribe   func(*redis.PubSub, context.Context, ...string) error
	subscribed, unsubscribed string // kinds of confirmations
}

var (
	plain   = verbs{(*redis.PubSub).Subscribe, (*redis.PubSub).Unsubscribe, "subscribe", "unsubscribe"}
	sharded = verbs{(*redis.PubSub).SSubscribe, (*redis.PubSub).SUnsubscribe, "ssubscribe", "sunsubscribe"}
)

// New makes a Broker on the Redis of the settings.
func New(settings bell.Redis, h Handler, log *slog.Logger, reg prometheus.Registerer) (*Broker, error) {
	rdb, err := settings.Connect()
	if err != nil {
		return nil, err
	}
	presence, err := settings.ConnectOnce()
	if err != nil {
		return nil, err
	}
	bell.Measure(reg, map[string]redis.UniversalClient{"rings": rdb, "presence": presence})
	b := &Broker{rdb: rdb, presence: presence, channels: settings.Channels(), verbs: plain, handler: h, log: log,
		due: make(chan struct{}, 1)}
	if b.channels.Sharded() {
		b.verbs = sharded
	}
	for partition := range b.channels.Partitions() {
		b.lines = append(b.lines, newLine(b, partition))
	}
	b.measure(reg)
	return b, nil
}

// Close gives up the connections. Run must have returned.
func (b *Broker) Close() {
	b.rdb.Close()
	b.presence.Close()
}

// Client is the client for commands other than the broker's, such as publishing.
func (b *Broker) Client() redis.UniversalClient { return b.rdb }

// Channels are the names of the channels that the broker listens to.
func (b *Broker) Channels() bell.Channels { return b.channels }

// Ping asks whether Redis is there.
func (b *Broker) Ping(ctx context.Context) error { return b.rdb.Ping(ctx).Err() }

// Run keeps the lines up, and what they remember fresh, until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, l := range b.lines {
		g.Go(func() error { return l.run(ctx) })
	}
	g.Go(func() error { return b.watch(ctx) })
	g.Go(func() error { return b.refresh(ctx) })
	return g.Wait()
}

func (b *Broker) line(user int) *line { return b.lines[b.channels.Partition(user)] }

// Healthy says whether every wanted channel is known to be subscribed to, except
// those asked for just now. While it is not, rings may be missed.
func (b *Broker) Healthy() bool {
	for _, l := range b.lines {
		if !l.healthy() {
			return false
		}
	}
	return true
}

// Subscribe asks for user's channel. The channel it returns is closed once Redis
// has confirmed.
func (b *Broker) Subscribe(user int) <-chan struct{} { return b.line(user).subscribe(user) }

// Unsubscribe gives user's channel up.
func (b *Broker) Unsubscribe(user int) { b.line(user).unsubscribe(user) }
