package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestASlowSocketIsToldWhoIsOnlineAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.QueueBytes = 16 << 10 })

	slow, _ := b.freeze(t, "slow")
	late := time.After(patience)
	for testutil.ToFloat64(b.metrics.stalls) == 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatal("its queue is never full")
		}
	}
	const friend = 10000009
	f, p := b.hub.find(slow.id), b.presence
	f.mu.Lock()
	c := f.conns[0]
	f.mu.Unlock()
	p.mu.Lock()
	p.watched[slow.id] = &watch{conns: map[*conn]struct{}{c: {}}, told: map[int]bool{}}
	p.setFriends(slow.id, []int{friend})
	const times = 1000 // more than there is room for
	for n := range times {
		p.tell(friend, n%2 == 0)
	}
	p.mu.Unlock()
	for n := range times {
		frame := slow.read()
		for strings.HasPrefix(frame, `{"type":"message"`) {
			frame = slow.read()
		}
		want := fmt.Sprintf(`{"type":"%s","user":%d}`, []string{"online", "offline"}[n%2], friend)
		if frame != want {
			t.Fatalf("got %s, want %s", frame, want)
		}
	}
}

// TestWhoPartedAndIsAFriendAgainIsToldAnew looks at what is told, by what is left to tell:
// without sockets there is nobody to tell.
func TestWhoPartedAndIsAFriendAgainIsToldAnew(t *testing.T) {
	t.Parallel()
	const watcher, friend = 10000001, 10000002
	for _, online := range []bool{true, false} { // when the friend is looked after again
		p := newPresence(nil)
		w := &watch{conns: map[*conn]struct{}{}, told: map[int]bool{}, anew: map[int]struct{}{}}
		p.watched[watcher] = w
		p.setFriends(watcher, []int{friend})
		p.tell(friend, true)
		p.parted(watcher, friend)
		if _, anew := w.anew[friend]; !anew || !w.told[friend] {
			t.Fatalf("after the end of the friendship: told %v, anew %v", w.told, w.anew)
		}
		p.tell(friend, online)
		if _, anew := w.anew[friend]; anew || w.told[friend] != online {
			t.Errorf("online %v: told %v, anew %v", online, w.told, w.anew)
		}
	}
}
