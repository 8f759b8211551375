package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pymessage/client"
)

// person is somebody who chats by the Go client.
type person struct {
	*client.Client
	t    *testing.T
	cfg  client.Config
	name string
	id   int

	heard chan client.Event
	ended chan error // gets what Run returned

	mu       sync.Mutex // guards all below
	statuses []status
	changed  chan struct{} // closed when there is another status
}

// status is a change of a connection, and when it was.
type status struct {
	client.Status
	at time.Time
}

const pin = "1234" // of everybody

var names atomic.Int64

// uniqueName is a username that no other test has.
func uniqueName(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, time.Now().UnixNano()%1e9, names.Add(1))
}

// join makes an account with a unique name that begins with prefix, at a base URL
// (http://...).
func join(t *testing.T, base string, version int, prefix string, change ...func(*client.Config)) *person {
	t.Helper()
	cfg := client.Config{URLs: []string{base}, Version: version, Username: uniqueName(prefix), Pin: pin, Create: true}
	return connect(t, cfg, change...)
}

// again connects another client of the same account, which begins anew.
func (p *person) again(base string, change ...func(*client.Config)) *person {
	p.t.Helper()
	return connect(p.t, client.Config{URLs: []string{base}, Version: p.cfg.Version, Username: p.name, Pin: pin}, change...)
}

// resumed connects another client that goes on where this one is.
func (p *person) resumed(base string, change ...func(*client.Config)) *person {
	p.t.Helper()
	next := connect(p.t, client.Config{URLs: []string{base}, State: p.State()}, change...)
	next.name = p.name
	return next
}

func connect(t *testing.T, cfg client.Config, change ...func(*client.Config)) *person {
	t.Helper()
	p := open(t, cfg, change...)
	p.ready()
	return p
}

// open is connect without waiting for the login.
func open(t *testing.T, cfg client.Config, change ...func(*client.Config)) *person {
	t.Helper()
	p := &person{
		t: t, name: cfg.Username, heard: make(chan client.Event, 10000), ended: make(chan error, 1),
		changed: make(chan struct{}),
	}
	cfg.OnEvent = func(_ context.Context, _ *client.Client, ev client.Event) { p.heard <- ev }
	cfg.OnStatus = p.note
	for _, f := range change {
		f(&cfg)
	}
	p.cfg = cfg
	var err error
	if p.Client, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { p.ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		p.end()
	})
	return p
}

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (p *person) ready() {
	p.t.Helper()
	var err error
	if p.id, err = p.Ready(within(p.t)); err != nil {
		p.t.Fatalf("%s cannot log in: %v", p.name, err)
	}
}

// end waits for the end of Run, and gives its error.
func (p *person) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(patience):
		p.t.Errorf("the client of %s does not end", p.name)
		return nil
	}
}

// leave confirms what was heard, and goes in good order.
func (p *person) leave() {
	p.t.Helper()
	p.Close()
	if err := p.end(); err != nil {
		p.t.Errorf("%s left with %v", p.name, err)
	}
}

func (p *person) note(s client.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses = append(p.statuses, status{s, time.Now()})
	close(p.changed)
	p.changed = make(chan struct{})
}

// awaitStatus waits for the first change of a connection that is like this.
func (p *person) awaitStatus(what string, is func(status) bool) status {
	p.t.Helper()
	late := time.After(patience)
	for next := 0; ; {
		p.mu.Lock()
		statuses, changed := p.statuses, p.changed
		p.mu.Unlock()
		for ; next < len(statuses); next++ {
			if is(statuses[next]) {
				return statuses[next]
			}
		}
		select {
		case <-changed:
		case <-late:
			p.t.Fatalf("%s: %s never came to pass", p.name, what)
		}
	}
}

// awaitLast waits until the last change of a connection is like this.
func (p *person) awaitLast(what string, is func(status) bool) {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		statuses, changed := p.statuses, p.changed
		p.mu.Unlock()
		if n := len(statuses); n > 0 && is(statuses[n-1]) {
			return
		}
		select {
		case <-changed:
		case <-late:
			p.t.Fatalf("%s: %s never came to pass", p.name, what)
		}
	}
}

// awaitClose waits until a gateway closes a connection with a code.
func (p *person) awaitClose(code int) status {
	p.t.Helper()
	return p.awaitStatus(fmt.Sprint("close code ", code), func(s status) bool { return isClose(s.Err, code) })
}

func isClose(err error, code int) bool {
	var closed *client.CloseError
	return errors.As(err, &closed) && closed.Code == code
}

// says sends a message, which is stored.
func (p *person) says(to int, content string) client.SendResult {
	p.t.Helper()
	result, err := p.Send(within(p.t), to, content)
	if err != nil {
		p.t.Fatalf("%s says %.40q to %d: %v", p.name, content, to, err)
	}
	return result
}

// next waits for the next message or friend request.
func (p *person) next() client.Event {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case ev := <-p.heard:
			if ev.Kind == client.Message || ev.Kind == client.FriendRequest {
				return ev
			}
		case <-late:
			p.t.Fatalf("%s hears nothing", p.name)
		}
	}
}

// hears expects messages of somebody.
func (p *person) hears(from int, contents ...string) {
	p.t.Helper()
	for _, content := range contents {
		if ev := p.next(); ev.Kind != client.Message || ev.Peer != from || ev.Content != content {
			p.t.Fatalf("%s heard %+v, want %.40q from %d", p.name, ev, content, from)
		}
	}
}

// isAsked expects a friend request.
func (p *person) isAsked(by int) {
	p.t.Helper()
	if ev := p.next(); ev.Kind != client.FriendRequest || ev.Peer != by {
		p.t.Fatalf("%s heard %+v, want a friend request of %d", p.name, ev, by)
	}
}

// does expects something that the client did to end well.
func (p *person) does(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// isRefused expects an error of the server.
func (p *person) isRefused(err error, code client.Code) {
	p.t.Helper()
	if !errors.Is(err, code) {
		p.t.Fatalf("%s got %v, want %s", p.name, err, code)
	}
}

// hasFriends expects the list of friends.
func (p *person) hasFriends(want ...*person) {
	p.t.Helper()
	got, err := p.Friends(within(p.t))
	p.does(err)
	list := []client.Friend{}
	for _, f := range want {
		list = append(list, client.Friend{Username: f.name, ID: f.id})
	}
	if fmt.Sprint(got) != fmt.Sprint(list) {
		p.t.Fatalf("%s has the friends %v, want %v", p.name, got, list)
	}
}

// forVersions runs a test for both versions of the protocol.
func forVersions(t *testing.T, test func(t *testing.T, version int)) {
	for _, version := range []int{client.Version1, client.Version2} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}
