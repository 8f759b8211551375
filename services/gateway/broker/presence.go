package broker

import (
	"context"
	"time"
)

const (
	// presenceTimeout bounds what a question may cost a message. Unanswered by
	// then counts as connected.
	presenceTimeout = 100 * time.Millisecond
	// presenceDoubt is how long after a reconnect answers are not believed: Redis
	// may have come back empty, and the gateways need a moment to subscribe again.
	presenceDoubt = 5 * time.Second
)

// Connected says of each user whether some gateway holds a socket of that user.
// Unknown counts as connected: when Redis is away, does not answer in time, does not
// know of our own subscriptions, or was connected to anew within the last seconds.
func (b *Broker) Connected(ctx context.Context, users []int) []bool {
	if len(users) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	names := make([]string, len(users))
	question := make([][]string, len(b.lines))
	certain := b.certain()
	for i, user := range users {
		names[i] = b.channels.User(user)
		if n := b.channels.Partition(user); certain[n] {
			question[n] = append(question[n], names[i])
		}
	}
	answers := b.ask(ctx, question)
	certain = b.certain() // connections may have been lost meanwhile
	unknown := false
	out := make([]bool, len(users))
	for i, user := range users {
		n := b.channels.Partition(user)
		known := certain[n] && answers[n].ours
		unknown = unknown || !known
		out[i] = !known || answers[n].counts[names[i]] > 0
	}
	if unknown {
		b.metrics.unknown.Inc()
	}
	return out
}

// certain says by line whether Redis knows by now what gateways have subscribed to.
func (b *Broker) certain() []bool {
	out := make([]bool, len(b.lines))
	for i, l := range b.lines {
		out[i] = !l.inDoubt()
	}
	return out
}
