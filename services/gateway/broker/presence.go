package broker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"pymessage/internal/bell"
)

const (
	// presenceTimeout bounds what a question may cost a message. Unanswered by
	// then counts as connected.
	presenceTimeout = 100 * time.Millisecond
	// presenceDoubt is how long after a reconnect answers are not believed: Redis
	// may have come back empty, and the gateways need a moment to subscribe again.
	presenceDoubt = 5 * time.Second
)

// connectPresence makes a client with a single connection, so that every dial but
// the first one means that Redis may have been restarted.
func (b *Broker) connectPresence(url string) (*redis.Client, error) {
	options, err := bell.Options(url)
	if err != nil {
		return nil, err
	}
	options.PoolSize = 1
	options.ConnMaxIdleTime = -1
	options.OnConnect = func(context.Context, *redis.Conn) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.dialed {
			b.reconnect = time.Now()
		}
		b.dialed = true
		return nil
	}
	return redis.NewClient(options), nil
}

// Connected says of each user whether some gateway holds a socket of that user.
// Unknown counts as connected: when Redis is away, does not answer in time, or was
// connected to anew within the last seconds.
func (b *Broker) Connected(ctx context.Context, users []int) []bool {
	if len(users) == 0 {
		return nil
	}
	counts, err := b.count(ctx, users)
	unknown := err != nil || b.inDoubt()
	if unknown {
		b.metrics.unknown.Inc()
	}
	out := make([]bool, len(users))
	for i, user := range users {
		out[i] = unknown || counts[b.channels.User(user)] > 0
	}
	return out
}

func (b *Broker) count(ctx context.Context, users []int) (map[string]int64, error) {
	if b.inDoubt() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	names := make([]string, len(users))
	for i, user := range users {
		names[i] = b.channels.User(user)
	}
	return b.presence.PubSubNumSub(ctx, names...).Result()
}

func (b *Broker) inDoubt() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.connected || (!b.reconnect.IsZero() && time.Since(b.reconnect) < presenceDoubt)
}
