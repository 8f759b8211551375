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
	wake chan<- struct{} // told when somebody is due; capacity 1

	mu      sync.Mutex // guards all below
	clock   int64      // counts what was told, and what was forgotten
	cleared int64      // when all was forgotten
	turn    time.Time  // when young became old last
	young   map[int]sight
	old     map[int]sight
	due     map[int]struct{} // the old who were asked for: worth another question before they are forgotten
}

// sight is what is known of a user: connected, or not any more since a moment of the
// clock.
type sight struct {
	connected bool
	left      int64
}

// moment is one at which a question begins.
type moment struct {
	clock int64     // how it stands to what is told
	at    time.Time // from when on its answer may be used
}

func newMemory(wake chan<- struct{}) *memory {
	return &memory{wake: wake, turn: time.Now(), young: map[int]sight{}, old: map[int]sight{}, due: map[int]struct{}{}}
}

// has says whether user was found to be connected. Who is asked for, and will be
// forgotten at the next turn, is due.
func (m *memory) has(user int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	s := m.of(user)
	if _, fresh := m.young[user]; s.connected && !fresh {
		m.due[user] = struct{}{}
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return s.connected
}

// takeDue are those who became due since the last time, but for those who were found or
// have left meanwhile.
func (m *memory) takeDue() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	var out []int
	for user := range m.due {
		if _, fresh := m.young[user]; !fresh {
			out = append(out, user)
		}
	}
	m.due = map[int]struct{}{}
	return out
}

// now is the moment at which a question begins.
func (m *memory) now() moment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return moment{m.clock, time.Now()}
}

// found notes the answer to a question that began at asked: user is connected, unless
// it was told meanwhile that this is over. An answer is as old as its question.
func (m *memory) found(user int, asked moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.age(time.Now())
	if max(m.of(user).left, m.cleared) > asked.clock {
		return
	}
	switch before := m.turn.Sub(asked.at); {
	case before <= 0:
		m.young[user] = sight{connected: true}
	case before <= memoryLife/2:
		m.old[user] = sight{connected: true}
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
	m.young, m.old, m.due = map[int]sight{}, map[int]sight{}, map[int]struct{}{}
}

// of needs mu.
func (m *memory) of(user int) sight {
	if s, ok := m.young[user]; ok {
		return s
	}
	return m.old[user]
}

// age makes the young old after half a life, and forgets the old, and with them who of
// them was due: nothing that was found is known for longer than a life. It needs mu.
func (m *memory) age(now time.Time) {
	switch since := now.Sub(m.turn); {
	case since < memoryLife/2:
		return
	case since < memoryLife:
		m.old, m.turn = m.young, m.turn.Add(memoryLife/2)
	default:
		m.old, m.turn = map[int]sight{}, now
	}
	m.young, m.due = map[int]sight{}, map[int]struct{}{}
}
