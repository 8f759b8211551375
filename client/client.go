package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Client keeps one user connected while Run runs. Its methods may be called from
// any goroutine, also before Run and from handlers.
type Client struct {
	cfg   Config // complete
	calls *calls
	inbox *inbox
	acks  acks
	refs  atomic.Int64 // the last that was given

	started   atomic.Bool
	closing   context.Context // ends by Close
	close     context.CancelFunc
	ready     chan struct{} // closed at the first login
	handled   chan struct{} // closed when the handler goroutine is over
	behind    atomic.Pointer[session]
	loggedOut atomic.Bool // by Logout
	stats     counters

	// Owned by Run's goroutine, which also reads the connections.
	track    track
	failures backoff
	turn     int  // of the URLs
	created  bool // the account is there

	mu    sync.Mutex // guards all below
	id    int        // 0 before the first login
	token string
	done  cursor // where the user is, by what was handled
}

type counters struct{ logins, events, repeated, gaps, skipped, dropped atomic.Int64 }

// New makes a Client, which does nothing until Run.
func New(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &Client{
		cfg:     cfg,
		calls:   newCalls(cfg.MaxOutstanding, cfg.Version == Version1),
		inbox:   newInbox(cfg.EventQueue),
		acks:    acks{more: make(chan struct{}, 1)},
		ready:   make(chan struct{}),
		handled: make(chan struct{}),
		token:   cfg.State.Token,
		created: !cfg.Create || cfg.State != (State{}),
	}
	c.closing, c.close = context.WithCancel(context.Background())
	if cfg.State.Epoch != "" {
		c.done = cursor{cfg.State.Epoch, cfg.State.Since}
		c.track.at = c.done
	}
	return c, nil
}

// Run keeps the user connected until ctx ends, Close or Logout is called, or the
// server says that there is no use in coming back: the name or the pin is wrong, the
// session is over (ErrTokenInvalid) and there is no pin to begin another, or another
// CloseError of 4500 to 4999. It returns the context's error, nil, or the server's.
// All goroutines of the Client are over then. It can be called once.
func (c *Client) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return errors.New("client: Run was called before")
	}
	connecting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(c.closing, stop)()
	go c.handle(ctx)
	err := c.keepConnected(connecting)
	asked := c.closing.Err() != nil || c.loggedOut.Load() && errors.Is(err, ErrTokenInvalid)
	c.end(err)
	<-c.handled
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case asked:
		return nil
	}
	return err
}

// end fails all requests, and lets the handler finish with what was received.
func (c *Client) end(why error) {
	c.Close()
	c.calls.close(fmt.Errorf("%w: %w", ErrClosed, why))
}

// Close lets Run end in good order: what was received is handled and confirmed, and
// the connection is closed by its handshake. It does not wait; Run returns nil.
func (c *Client) Close() {
	c.inbox.close()
	c.close()
}

// Ready waits for the first login, and gives the user's id.
func (c *Client) Ready(ctx context.Context) (id int, err error) {
	select {
	case <-c.ready:
	case <-c.calls.over:
		return 0, c.calls.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id, nil
}

// State is how far the user has got: what to give to another Client later, so that
// it goes on from there. While OnEvent runs its event does not count yet.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{Token: c.token, Since: c.done.seq, Epoch: c.done.epoch}
}

// Stats counts what has happened so far.
func (c *Client) Stats() Stats {
	n := &c.stats
	return Stats{
		Logins: n.logins.Load(), Events: n.events.Load(), Repeated: n.repeated.Load(),
		Gaps: n.gaps.Load(), Skipped: n.skipped.Load(), Dropped: n.dropped.Load(),
	}
}

// handle is the handler goroutine: it calls the user's functions, one at a time.
func (c *Client) handle(ctx context.Context) {
	defer close(c.handled)
	for {
		it, ok := c.inbox.take(ctx)
		if !ok {
			return
		}
		it.give(ctx)
		c.finish(it)
		c.relieve()
	}
}

// finish notes that an item was handled.
func (c *Client) finish(it item) {
	if !it.at.known() {
		return // version 1
	}
	c.mu.Lock()
	c.done = it.at
	c.mu.Unlock()
	if it.confirm {
		c.acks.handle(it.at)
	}
}

// relieve ends a connection that had to drop events, once there is room for them:
// the next one asks for them again.
func (c *Client) relieve() {
	if c.behind.Load() == nil || !c.inbox.low() {
		return
	}
	if s := c.behind.Swap(nil); s != nil {
		s.cancel(errBehind)
	}
}

func (c *Client) version1() bool { return c.cfg.Version == Version1 }

// stopping says that no new event should be taken.
func (c *Client) stopping() bool {
	select {
	case <-c.handled:
		return true
	default:
		return c.closing.Err() != nil
	}
}
