package broker

import (
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	const user = 10000001
	for _, test := range []struct {
		name string
		do   func(m *memory)
		want bool
	}{
		{"knows nobody at first", func(*memory) {}, false},
		{"knows who was found", func(m *memory) { m.found(user, m.now()) }, true},
		{"forgets who left", func(m *memory) { m.found(user, m.now()); m.left([]int{user}) }, false},
		{"does not mind who else left", func(m *memory) { m.found(user, m.now()); m.left([]int{user + 1}) }, true},
		{"believes no answer to a question asked before the user left", func(m *memory) {
			asked := m.now()
			m.left([]int{user})
			m.found(user, asked)
		}, false},
		{"believes one to a question asked afterwards", func(m *memory) {
			m.left([]int{user})
			m.found(user, m.now())
		}, true},
		{"forgets after a life that was asked about late in its halves", func(m *memory) {
			m.found(user, m.now())
			from := m.turn
			m.age(from.Add(memoryLife - 1))
			m.age(from.Add(memoryLife))
		}, false},
		{"believes no answer to a question asked before all was forgotten", func(m *memory) {
			asked := m.now()
			m.clear()
			m.found(user, asked)
		}, false},
		{"forgets all", func(m *memory) { m.found(user, m.now()); m.clear() }, false},
		{"still knows after half a life", func(m *memory) {
			m.found(user, m.now())
			m.age(m.turn.Add(memoryLife / 2))
		}, true},
		{"forgets after a life", func(m *memory) {
			m.found(user, m.now())
			m.age(m.turn.Add(memoryLife / 2))
			m.age(m.turn.Add(memoryLife / 2))
		}, false},
		{"forgets after a life in which nobody asked", func(m *memory) {
			m.found(user, m.now())
			m.age(m.turn.Add(memoryLife))
		}, false},
		{"remembers that a user left for longer than any question takes", func(m *memory) {
			asked := m.now()
			m.left([]int{user})
			m.age(m.turn.Add(memoryLife / 2))
			m.found(user, asked)
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			m.turn = time.Now().Add(time.Hour) // only the test ages it
			test.do(m)
			if got := m.has(user); got != test.want {
				t.Errorf("knows the user: %v, want %v", got, test.want)
			}
		})
	}
}
