package broker

import (
	"context"
	"slices"
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
// know of our own subscriptions, or was connected to anew within the last seconds. Who
// was found to be connected just now is not asked for again; who is asked for often is
// looked after in time (see refresh).
func (b *Broker) Connected(ctx context.Context, users []int) []bool {
	out := make([]bool, len(users))
	var rest, places []int
	for i, user := range users {
		if out[i] = b.line(user).remembers(user); !out[i] {
			rest, places = append(rest, user), append(places, i)
		}
	}
	if len(rest) == 0 {
		return out
	}
	there, known := b.find(ctx, rest)
	for i, place := range places {
		out[place] = there[i] || !known[i]
	}
	return out
}

// find is look, and remembers who is there.
func (b *Broker) find(ctx context.Context, users []int) (there, known []bool) {
	asked := b.moments()
	there, known = b.look(ctx, users)
	for i, user := range users {
		if there[i] {
			b.line(user).memory.found(user, asked[b.channels.Partition(user)])
		}
	}
	return there, known
}

// moments are, by partition, those at which a question begins.
func (b *Broker) moments() []moment {
	out := make([]moment, len(b.lines))
	for i, l := range b.lines {
		out[i] = l.memory.now()
	}
	return out
}

// Online is Connected for those who would rather not know: unknown does not count,
// and then it is not sure. It always asks.
func (b *Broker) Online(ctx context.Context, users []int) (online []bool, sure bool) {
	there, known := b.look(ctx, users)
	return there, !slices.Contains(known, false)
}

// look says of each user whether there is a socket, and whether that is known.
func (b *Broker) look(ctx context.Context, users []int) (there, known []bool) {
	if len(users) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	names := make([]string, len(users))
	question := make([][]string, len(b.lines))
	if len(b.lines) == 1 {
		question[0] = make([]string, 0, len(users)+1) // and the beacon
	}
	certain := b.certain()
	for i, user := range users {
		names[i] = b.channels.User(user)
		if n := b.channels.Partition(user); certain[n] {
			question[n] = append(question[n], names[i])
		}
	}
	answers := b.ask(ctx, question)
	certain = b.certain() // connections may have been lost meanwhile
	there, known = make([]bool, len(users)), make([]bool, len(users))
	for i, user := range users {
		n := b.channels.Partition(user)
		known[i] = certain[n] && answers[n].ours
		there[i] = known[i] && answers[n].counts[names[i]] > 0
	}
	if slices.Contains(known, false) {
		b.metrics.unknown.Inc()
	}
	return there, known
}

// certain says by line whether Redis knows by now what gateways have subscribed to.
func (b *Broker) certain() []bool {
	out := make([]bool, len(b.lines))
	for i, l := range b.lines {
		out[i] = !l.inDoubt()
	}
	return out
}
