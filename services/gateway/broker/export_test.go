package broker

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Believes says whether an answer of a node about a user would be taken as one.
func (b *Broker) Believes(ctx context.Context, node *redis.Client, user int) bool {
	l := b.line(user)
	channels, answers := make([][]string, len(b.lines)), make([]answer, len(b.lines))
	channels[l.number] = []string{b.channels.User(user)}
	b.askNode(ctx, node, []*line{l}, channels, answers)
	return answers[l.number].given
}

// Remembers says whether user was found to be connected just now.
func (b *Broker) Remembers(user int) bool { return b.line(user).remembers(user) }

// Holds is Remembers, whether what is remembered may be used or not.
func (b *Broker) Holds(user int) bool { return b.line(user).memory.has(user) }
