package broker

import (
	"sync"
	"time"
)

// memoryLife is for how long at most an answer about who is connected is used again,
// when nobody tells that it is over: the gateway was killed, or is of the version before.
// Users who write to each other ask for each other more often.
const memoryLife = 5 * time.Second

// memory holds, of one partition, who was found to be connected. Only that is worth
// remembering: who was taken for connected for a moment too long gets the message at
// the next login, but who was taken for absent would not get it.
//
// Gateways tell each other who has left (see line.left). What is told while the
// question is under way is newer than the answer, whichever comes first.
type memory struct {
	mu      sync.Mutex // guards all below
	clock   int64      // counts what was told, and what was forgotten
	cleared int64      // when all was forgotten
	turn    time.Time  // when young became old last
	young   map[int]sight
	old     map[int]sight
}

// sight is what is known of a user: connected, or not any more since a moment of the
// clock.
type sight struct {
	connected bool
	left      int64
}

func newMemory() *memory {
	return &memory{turn: time.Now(), young: map[int]sight{}, old: map[int]sight{}}
}

// has says whether user was found to be connected.
func (m *memory) has(user int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	return m.of(user).connected
}

// now is the moment at which a question begins.
func (m *memory) now() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clock
}

// found notes the answer to a question that began at asked: user is connected, unless
// it was told meanwhile that this is over.
func (m *memory) found(user int, asked int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	if max(m.of(user).left, m.cleared) <= asked {
		m.young[user] = sight{connected: true}
	}
}

// left forgets those who have left some gateway. They may be connected to another.
func (m *memory) left(users []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	m.clock++
	for _, user := range users {
		m.young[user] = sight{left: m.clock}
	}
}

// clear forgets all: something may have been told that we did not hear. An answer to a
// question under way counts for nothing either.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock++
	m.cleared = m.clock
	m.young, m.old = map[int]sight{}, map[int]sight{}
}

// of needs mu.
func (m *memory) of(user int) sight {
	if s, ok := m.young[user]; ok {
		return s
	}
	return m.old[user]
}

// age makes the young old after half a life, and forgets the old: nothing that was found
// is known for longer than a life. It needs mu.
func (m *memory) age(now time.Time) {
	switch since := now.Sub(m.turn); {
	case since < memoryLife/2:
		return
	case since < memoryLife:
		m.old, m.turn = m.young, m.turn.Add(memoryLife/2)
	default:
		m.old, m.turn = map[int]sight{}, now
	}
	m.young = map[int]sight{}
}
