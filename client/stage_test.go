package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"pymessage/client"
)

// bubble runs a test on a clock of its own, which goes on only when everybody
// waits. So tests wait for whole backoffs and deadlines, and take no time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// scene is what a server does with one connection. When it returns the connection
// is cut. nil refuses the connection.
type scene func(p *peer)

// stage is a server that has a scene for each connection, in order.
type stage struct {
	t      *testing.T
	scenes []scene
	then   scene // of all connections after those

	mu      sync.Mutex
	played  int
	dialed  []string // the addresses
	current scene

	running sync.WaitGroup
	fail    func() // ends the client
}

// bot is a client under test.
type bot struct {
	*client.Client
	t     *testing.T
	stage *stage
	heard chan string
	ended chan error
	stop  context.CancelFunc
}

// user of the scripted servers.
const me = 10000001

// play has a client meet the scenes. When the test ends, so does the client, and all
// scenes must have been played to their ends.
func play(t *testing.T, change func(*client.Config), scenes ...scene) *bot {
	t.Helper()
	b := rehearse(t, change, scenes...)
	b.run(t.Context())
	return b
}

// rehearse is play without Run.
func rehearse(t *testing.T, change func(*client.Config), scenes ...scene) *bot {
	t.Helper()
	s := &stage{t: t, scenes: scenes}
	b := &bot{t: t, stage: s, heard: make(chan string, 1000), ended: make(chan error, 1)}
	cfg := client.Config{
		URLs: []string{"ws://a/"}, Username: "bob", Pin: "1234",
		OnEvent:  func(_ context.Context, _ *client.Client, ev client.Event) { b.heard <- describe(ev) },
		OnSynced: func(_ context.Context, _ *client.Client, seq int64) { b.heard <- fmt.Sprint("synced ", seq) },
		OnResync: func(_ context.Context, _ *client.Client, r client.Resync) {
			b.heard <- fmt.Sprint("resync ", r.Oldest, " ", r.Seq, " ", r.Epoch)
		},
	}
	if change != nil {
		change(&cfg)
	}
	subprotocols := []string{"pymessage.v2"}
	if cfg.Version == client.Version1 {
		subprotocols = nil
	}
	network := serve(t, subprotocols, s.play)
	if cfg.DialContext == nil {
		cfg.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
			if !s.next(address) {
				return nil, errors.New("refused")
			}
			return network.dial(ctx)
		}
	}
	var err error
	if b.Client, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	s.fail = b.Close
	t.Cleanup(b.finish)
	return b
}

func describe(ev client.Event) string {
	return fmt.Sprintf("%d %s %d %s", ev.Seq, ev.Kind, ev.Peer, ev.Content)
}

func (b *bot) run(ctx context.Context) {
	ctx, b.stop = context.WithCancel(ctx)
	go func() { b.ended <- b.Run(ctx) }()
}

// next moves to the next scene, and is false if it refuses.
func (s *stage) next(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialed = append(s.dialed, address)
	if s.played == len(s.scenes) && s.then != nil {
		s.current = s.then
		s.running.Add(1)
		return true
	}
	if s.played == len(s.scenes) {
		s.t.Errorf("connection %d was not expected", s.played+1)
		s.fail()
		return false
	}
	s.current = s.scenes[s.played]
	s.played++
	if s.current != nil {
		s.running.Add(1)
	}
	return s.current != nil
}

func (s *stage) play(ws *websocket.Conn) {
	s.mu.Lock()
	scene := s.current
	s.mu.Unlock()
	defer s.running.Done()
	scene(&peer{t: s.t, ws: ws})
}

// finish ends the client, unless it has ended, and checks that all was played.
func (b *bot) finish() {
	if b.stop != nil {
		b.Close()
		b.stop()
		<-b.ended
		b.ended <- nil
	}
	b.stage.mu.Lock()
	played := b.stage.played
	b.stage.mu.Unlock()
	if played != len(b.stage.scenes) {
		b.t.Errorf("%d of %d connections were made", played, len(b.stage.scenes))
	}
	b.stage.running.Wait()
}

// patience is longer than anything that the tests wait for.
const patience = time.Hour

// hears waits for what the handlers are told.
func (b *bot) hears(want ...string) {
	b.t.Helper()
	for _, want := range want {
		select {
		case got := <-b.heard:
			if got != want {
				b.t.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(patience):
			b.t.Fatalf("did not hear %q", want)
		}
	}
}

// ends waits for Run's end.
func (b *bot) ends() error {
	b.t.Helper()
	select {
	case err := <-b.ended:
		b.ended <- err // for finish
		return err
	case <-time.After(patience):
		b.t.Fatal("Run has not returned")
		return nil
	}
}
