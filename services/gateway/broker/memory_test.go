package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// user and other are those whom the tests of the memory ask for; half is when it turns.
const (
	user  = 10000001
	other = 10000002
	half  = memoryLife / 2
)

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(m *memory) // on a clock that stands still but when it sleeps
		want bool
	}{
		{"knows nobody at first", func(*memory) {}, false},
		{"knows who was found", func(m *memory) { m.found(user, m.now()) }, true},
		{"forgets who left", func(m *memory) { m.found(user, m.now()); m.left([]int{user}) }, false},
		{"does not mind who else left", func(m *memory) { m.found(user, m.now()); m.left([]int{other}) }, true},
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
			time.Sleep(memoryLife - 1)
			m.has(user)
			time.Sleep(time.Nanosecond)
		}, false},
		{"believes no answer to a question asked before all was forgotten", func(m *memory) {
			asked := m.now()
			m.clear()
			m.found(user, asked)
		}, false},
		{"forgets all", func(m *memory) { m.found(user, m.now()); m.clear() }, false},
		{"still knows after half a life", func(m *memory) {
			m.found(user, m.now())
			time.Sleep(half)
		}, true},
		{"forgets after a life", func(m *memory) {
			m.found(user, m.now())
			time.Sleep(half)
			m.has(user)
			time.Sleep(half)
		}, false},
		{"forgets after a life in which nobody asked", func(m *memory) {
			m.found(user, m.now())
			time.Sleep(memoryLife)
		}, false},
		{"remembers that a user left for longer than any question takes", func(m *memory) {
			asked := m.now()
			m.left([]int{user})
			time.Sleep(half)
			m.found(user, asked)
		}, false},
		{"knows who was found again for another life", func(m *memory) {
			m.found(user, m.now())
			time.Sleep(half)
			m.found(user, m.now())
			time.Sleep(memoryLife - 1)
		}, true},
		{"knows who was found while it turned", func(m *memory) {
			time.Sleep(half - 1)
			asked := m.now()
			time.Sleep(time.Nanosecond)
			m.found(user, asked)
		}, true},
		{"counts the life from the question, also if it turned before the answer", func(m *memory) {
			time.Sleep(half - 1)
			asked := m.now()
			time.Sleep(time.Nanosecond)
			m.found(user, asked)
			time.Sleep(memoryLife - 1)
		}, false},
		{"has no use for an answer that took half a life and longer", func(m *memory) {
			asked := m.now()
			time.Sleep(memoryLife)
			m.found(user, asked)
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(make(chan struct{}, 1))
				test.do(m)
				if got := m.has(user); got != test.want {
					t.Errorf("knows the user: %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestWhoIsDue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(m *memory) // half a life after user and other were found
		want []int
	}{
		{"nobody who was not asked for", func(*memory) {}, nil},
		{"who was asked for, once", func(m *memory) { m.has(user); m.has(user) }, []int{user}},
		{"all who were asked for", func(m *memory) { m.has(user); m.has(other) }, []int{user, other}},
		{"nobody who is not known", func(m *memory) { m.has(other + 1) }, nil},
		{"nobody who was found meanwhile", func(m *memory) { m.has(user); m.found(user, m.now()) }, nil},
		{"nobody who left meanwhile", func(m *memory) { m.has(user); m.left([]int{user}) }, nil},
		{"nobody once all was forgotten", func(m *memory) { m.has(user); m.clear() }, nil},
		{"nobody who was forgotten", func(m *memory) { m.has(user); time.Sleep(half) }, nil},
		{"nobody twice", func(m *memory) { m.has(user); m.takeDue() }, nil},
		{"who is asked for again, and was not found", func(m *memory) { m.has(user); m.takeDue(); m.has(user) }, []int{user}},
		{"nobody who was asked for in young years", func(m *memory) { m.found(user, m.now()); m.has(user) }, nil},
		{"who was found again and became old again", func(m *memory) {
			m.found(user, m.now())
			time.Sleep(half)
			m.has(user)
		}, []int{user}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				wake := make(chan struct{}, 1)
				m := newMemory(wake)
				m.found(user, m.now())
				m.found(other, m.now())
				time.Sleep(half)
				test.do(m)
				got := m.takeDue()
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("due: %v, want %v", got, test.want)
				}
				if len(got) > 0 && len(wake) == 0 {
					t.Error("nobody was told")
				}
			})
		})
	}
}
