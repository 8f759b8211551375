package broker

import (
	"context"
	"time"

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

// Remembers says whether user was found to be connected just now. It asks for the user
// like Connected, but never Redis.
func (b *Broker) Remembers(user int) bool { return b.line(user).remembers(user) }

// Holds is Remembers, whether what is remembered may be used or not, and does not count
// as asking for the user.
func (b *Broker) Holds(user int) bool {
	m := b.line(user).memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	return m.of(user).connected
}

// Fresh says whether user was found to be connected within half a life.
func (b *Broker) Fresh(user int) bool {
	m := b.line(user).memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	return m.young[user].connected
}

// Age makes half a life pass for what is remembered.
func (b *Broker) Age() {
	for _, l := range b.lines {
		l.memory.mu.Lock()
		now := time.Now()
		l.memory.age(now)
		l.memory.turn = now.Add(-memoryLife / 2)
		l.memory.age(now)
		l.memory.mu.Unlock()
	}
}
