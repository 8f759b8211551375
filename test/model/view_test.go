package model

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pymessage/client"
)

// snapshot is all that a user can ask for about others.
type snapshot struct {
	Friends, Blocked   []int // in order
	Incoming, Outgoing []int // in order
	Said               map[int][]string
}

// view is what one socket knows: a snapshot at the start, and what it was told since.
type view struct {
	me int

	mu      sync.Mutex
	changed chan struct{} // capacity 1
	now     snapshot
	odd     []string // events that say nothing new
	live    map[client.Kind]int
}

func newView() *view {
	return &view{changed: make(chan struct{}, 1), now: snapshot{Said: map[int][]string{}}, live: map[client.Kind]int{}}
}

// said is a message as the views, the model and the answers write it, so that it sorts
// as the server does within what a client can know: by time, then by id.
func said(sentAt time.Time, id string, sender int, content string) string {
	user, seq, _ := strings.Cut(id, "-")
	n, _ := strconv.Atoi(seq)
	return fmt.Sprintf("%d %s-%06d %d %s", sentAt.UnixMilli(), user, n, sender, content)
}

// add and drop are false if there is nothing to do.
func add(list *[]int, user int) bool {
	if slices.Contains(*list, user) {
		return false
	}
	*list = append(*list, user)
	return true
}

func drop(list *[]int, user int) bool {
	before := len(*list)
	*list = slices.DeleteFunc(slices.Clone(*list), func(u int) bool { return u == user })
	return len(*list) < before
}

// onEvent is what any client would make of an event.
func (v *view) onEvent(_ context.Context, _ *client.Client, ev client.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	news := true
	switch ev.Kind {
	case client.Message:
		v.say(ev.Peer, said(ev.SentAt, ev.ID, ev.Peer, ev.Content))
	case client.FriendRequest:
		news = add(&v.now.Incoming, ev.Peer)
	case client.RequestSent:
		news = add(&v.now.Outgoing, ev.Peer)
	case client.FriendAdded:
		news = add(&v.now.Friends, ev.Peer)
		_, _ = drop(&v.now.Incoming, ev.Peer), drop(&v.now.Outgoing, ev.Peer)
	case client.FriendRemoved:
		news = drop(&v.now.Friends, ev.Peer)
	case client.RequestClosed:
		in, out := drop(&v.now.Incoming, ev.Peer), drop(&v.now.Outgoing, ev.Peer)
		news = in || out
	case client.Blocked:
		news = add(&v.now.Blocked, ev.Peer)
	case client.Unblocked:
		news = drop(&v.now.Blocked, ev.Peer)
	default:
		news = false
	}
	if !news {
		v.odd = append(v.odd, fmt.Sprintf("%s %d", ev.Kind, ev.Peer))
	}
	v.wake()
}

func (v *view) onPassing(_ context.Context, _ *client.Client, p client.Passing) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.live[p.Kind]++
	if p.Kind == client.Sent {
		v.say(p.Peer, said(p.SentAt, p.ID, v.me, p.Content))
	}
	v.wake()
}

// sent notes what this socket sent itself.
func (v *view) sent(to int, r client.SendResult, content string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if to != v.me { // that comes as an event
		v.say(to, said(r.SentAt, r.ID, v.me, content))
	}
	v.wake()
}

// say needs mu. The message comes into its place: copies of own sends and events come
// in no order.
func (v *view) say(peer int, message string) {
	list := append(slices.Clone(v.now.Said[peer]), message)
	slices.Sort(list)
	v.now.Said[peer] = list
}

func (v *view) wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

func (v *view) snapshot() snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.now
	s.Said = maps.Clone(s.Said)
	return s
}

// await waits until the socket was told of what must be.
func (v *view) await(t *testing.T, what string, want snapshot) {
	t.Helper()
	late := time.After(patience)
	for {
		diff := want.diff(v.snapshot())
		if diff == "" {
			return
		}
		select {
		case <-v.changed:
		case <-late:
			t.Fatalf("%s: user %d was not told (-want +told):\n%s", what, v.me, diff)
		}
	}
}

// ask makes a fresh snapshot.
func ask(t *testing.T, c *client.Client, peers []int) snapshot {
	t.Helper()
	ctx := t.Context()
	friends, err := c.Friends(ctx)
	fatal(t, err)
	blocked, err := c.Blocked(ctx)
	fatal(t, err)
	requests, err := c.Requests(ctx)
	fatal(t, err)
	s := snapshot{Said: map[int][]string{}}
	for _, f := range friends {
		s.Friends = append(s.Friends, f.ID)
	}
	for _, f := range blocked {
		s.Blocked = append(s.Blocked, f.ID)
	}
	for _, r := range requests.Incoming {
		s.Incoming = append(s.Incoming, r.ID)
	}
	for _, r := range requests.Outgoing {
		s.Outgoing = append(s.Outgoing, r.ID)
	}
	for i, peer := range peers {
		if list := askSaid(t, c, peer, []int{3, 50, 200}[i%3]); len(list) > 0 {
			s.Said[peer] = list
		}
	}
	return s
}

// askSaid reads a whole conversation in pages.
func askSaid(t *testing.T, c *client.Client, peer, limit int) (all []string) {
	t.Helper()
	before := ""
	for {
		page, err := c.History(t.Context(), peer, before, limit)
		fatal(t, err)
		for _, m := range page.Messages {
			all = append(all, said(m.SentAt, m.ID, m.Sender, m.Content))
		}
		if !page.More {
			slices.Sort(all)
			return all
		}
		before = page.Messages[0].ID
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// diff is empty if both are the same.
func (s snapshot) diff(other snapshot) string {
	return compare(s, other)
}

// unordered forgets the order of lists: changes at the same time have none.
func (s snapshot) unordered() snapshot {
	for _, list := range []*[]int{&s.Friends, &s.Blocked, &s.Incoming, &s.Outgoing} {
		*list = slices.SortedFunc(slices.Values(*list), cmp.Compare[int])
	}
	return s
}
