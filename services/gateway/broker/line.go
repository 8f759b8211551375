package broker

import (
	"context"
	"sync"
	"time"

	"pymessage/internal/bell"
)

const (
	// probeInterval is how long a line may be silent before it is pinged, and then
	// how long it has to answer.
	probeInterval = 3 * time.Second
	// commandBatch is how many channels one (UN)SUBSCRIBE names.
	commandBatch = 256
	// retryMin and retryMax bound the pause before connecting again.
	retryMin = 50 * time.Millisecond
	retryMax = time.Second
)

// line is the subscriber connection of a partition and the set of channels on it.
type line struct {
	// Static after construction.
	b      *Broker
	number int
	// beacon has the channel that every connection subscribes to first and keeps. As
	// long as Redis counts it, it counts the others as well.
	beacon int
	wake   chan struct{} // capacity 1: there are dirty subscriptions
	memory *memory

	room []bell.Event // owned by receive

	mu        sync.Mutex // guards all below
	subs      map[int]*subscription
	dirty     map[int]struct{}        // users whose subscription may differ from what is wanted
	drop      context.CancelCauseFunc // gives up the present connection; nil without one
	connected bool                    // and the beacon is confirmed
	restoring bool                    // the channels of an earlier connection are not all confirmed
	pending   int                     // SUBSCRIBEs without their confirmation
	leaving   int                     // UNSUBSCRIBEs without it
	left      []int                   // users that were unsubscribed from, not told yet
	broke     bool                    // some attempt to connect or some connection has failed
	reconnect time.Time               // of the last connection that followed a failure
}

// subscription is one user's channel on the present connection.
type subscription struct {
	wanted    bool
	sent      bool          // the last command sent for it was SUBSCRIBE
	pending   int           // SUBSCRIBEs sent and not confirmed; counted, since confirmations carry no id
	confirmed chan struct{} // closed while sent and confirmed
}

func newLine(b *Broker, partition int) *line {
	return &line{b: b, number: partition, beacon: b.channels.Nobody(partition),
		wake: make(chan struct{}, 1), memory: newMemory(b.due), subs: map[int]*subscription{}, dirty: map[int]struct{}{}}
}

func (l *line) healthy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected && !l.restoring
}

func (l *line) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.subs)
}

// inDoubt says whether Redis may not know yet what gateways have subscribed to.
func (l *line) inDoubt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.connected || (!l.reconnect.IsZero() && time.Since(l.reconnect) < presenceDoubt)
}

func (l *line) subscribe(user int) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.subs[user]
	if s == nil {
		s = &subscription{confirmed: make(chan struct{})}
		l.subs[user] = s
	}
	s.wanted = true
	l.markDirty(user)
	return s.confirmed
}

func (l *line) unsubscribe(user int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.subs[user]; s != nil {
		s.wanted = false
		l.markDirty(user)
	}
}

// markDirty needs l.mu.
func (l *line) markDirty(user int) {
	l.dirty[user] = struct{}{}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// remembers says whether user was found to be connected just now.
func (l *line) remembers(user int) bool { return !l.inDoubt() && l.memory.has(user) }

// unsubscribed takes one confirmation of an UNSUBSCRIBE. Only now does whoever asks get
// another answer, so only now others are told to ask again.
func (l *line) unsubscribed(user int) {
	l.mu.Lock()
	l.leaving--
	l.left = append(l.left, user)
	var left []int
	if l.leaving <= 0 || len(l.left) >= commandBatch {
		left, l.left = l.left, nil
	}
	l.mu.Unlock()
	if len(left) > 0 {
		l.b.handler.Left(l.number, left)
	}
}

// run keeps the connection up until ctx ends.
func (l *line) run(ctx context.Context) error {
	pause := retryMin
	for {
		began := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.b.log.WarnContext(ctx, "lost a subscriber connection to Redis", "partition", l.number, "err", err)
		l.b.metrics.reconnects.Inc()
		l.noteBreak()
		if time.Since(began) > retryMax {
			pause = retryMin
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, retryMax)
		l.b.reload(ctx)
	}
}

func (l *line) noteBreak() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broke = true
}

// confirm counts one confirmation of a SUBSCRIBE.
func (l *line) confirm(user int) {
	l.mu.Lock()
	if user == l.beacon {
		l.connected = true
	} else if !l.confirmSubscription(user) {
		l.mu.Unlock()
		return
	}
	restored := l.finishRestore()
	l.mu.Unlock()
	if restored {
		l.b.handler.Restored()
	}
}

// confirmSubscription is false when none was waited for. It needs l.mu.
func (l *line) confirmSubscription(user int) bool {
	s := l.subs[user]
	if s == nil || s.pending == 0 {
		return false
	}
	s.pending--
	l.pending--
	if s.pending == 0 && s.sent {
		close(s.confirmed)
	}
	l.forget(user, s)
	return true
}

// forget drops a subscription that nobody wants and Redis owes nothing for. It
// needs l.mu.
func (l *line) forget(user int, s *subscription) {
	if !s.wanted && !s.sent && s.pending == 0 {
		delete(l.subs, user)
	}
}

// finishRestore says whether this moment ends the restoring of a connection. It
// needs l.mu.
func (l *line) finishRestore() bool {
	if !l.restoring || !l.connected || l.pending > 0 || len(l.dirty) > 0 {
		return false
	}
	l.restoring = false
	return true
}
