package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

const (
	// laneBatch is how many messages are stored at once.
	laneBatch = 256
	// laneQueue bounds the messages that wait for a lane. Beyond it the sockets
	// that send are not read.
	laneQueue = 4096
	// laneShare is how many messages wait for a lane before others go to the next one.
	laneShare = 64
	// lanePace is the least time from the beginning of a batch to that of the next one
	// where some messages wait, but fewer than lanePaced. With a few thousand messages a
	// second each would else be a batch of its own, and the processor busy with waking
	// those who handle batches. A lane for which none waits is not held up.
	lanePace  = 500 * time.Microsecond
	lanePaced = 16
	// attemptTimeout bounds one attempt to store a batch; the next one carries the
	// same number, so that nothing is stored twice.
	attemptTimeout = 3 * time.Second
)

// send is one message on its way into the store.
type send struct {
	conn      *conn
	sender    int
	recipient int
	content   string
	nonce     string // version 2; may be empty
	ref       string // version 2; may be empty

	read time.Time // when its lane got it
}

// kept says whether the message is stored: version 1 only for who is connected,
// version 2 always.
func (s send) kept(connected bool) bool { return connected || s.conn.version == wire.V2 }

// fail answers with an error.
func (s send) fail(e wire.Error) { s.answer(wire.ErrorResp(s.conn.version, e)) }

func (s send) answer(data []byte) { s.conn.endSend(wire.WithRef(data, s.ref)) }

// lane stores the messages of the sockets that use it at the time, in order, one
// batch at a time; what arrives meanwhile makes the next batch. It numbers its
// batches, so that social stores each once whatever happens to the answer.
type lane struct {
	// Static after construction.
	srv  *Server
	name string

	// Owned by run.
	number int64  // of the last batch
	batch  []send // is used again for each, as are its messages
	kept   []socialapi.Message

	wake    chan struct{} // capacity 1: the queue is not empty
	waiting atomic.Int32  // how long the queue is
	waited  atomic.Int64  // nanoseconds that the batch under way waited; 0: there is none, or a short one
	// inDoubt: the last attempt failed, and may be carried out yet unless a later one was.
	inDoubt atomic.Bool

	mu    sync.Mutex // guards all below
	room  sync.Cond  // on mu: the queue has become shorter
	queue []send
	taken int // of the queue, from its beginning
	ended bool
}

func newLane(srv *Server) *lane {
	l := &lane{srv: srv, name: uuid.NewString(), wake: make(chan struct{}, 1)}
	l.room.L = &l.mu
	return l
}

// lane chooses where to queue for a socket that has no message under way: in the first
// lane with room in its next batch, so that messages share batches where there are few;
// and if there is none, in the one where the fewest wait. A lane in doubt is the last
// choice.
func (s *Server) lane() *lane {
	best := s.lanes[0]
	for _, l := range s.lanes {
		n := l.load()
		if n < laneShare {
			return l
		}
		if n < best.load() {
			best = l
		}
	}
	return best
}

// laneWait is how long the batches under way have waited for their lanes, at most. Short
// ones do not count: they waited for the store, which was slow, and not for each other.
func (s *Server) laneWait() (most time.Duration) {
	for _, l := range s.lanes {
		most = max(most, time.Duration(l.waited.Load()))
	}
	return most
}

// load is how many wait for the lane.
func (l *lane) load() int32 {
	if l.inDoubt.Load() {
		return laneQueue + l.waiting.Load()
	}
	return l.waiting.Load()
}

// put queues a message, unless its socket is about to end; it blocks while the lane
// is full.
func (s *Server) put(m send) {
	l := m.conn.beginSend()
	if l == nil {
		return
	}
	l.put(m)
}

func (l *lane) put(s send) {
	s.read = time.Now()
	l.mu.Lock()
	for l.queued() >= laneQueue && !l.ended {
		l.room.Wait()
	}
	ended := l.ended
	if !ended {
		l.queue = append(l.queue, s)
		l.waiting.Store(int32(l.queued()))
	}
	l.mu.Unlock()
	if ended {
		s.fail(wire.ErrSendFailed)
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// rest lets a few messages that wait become more. Where none waits the next one is not
// held up: it may be of somebody who waits for each answer.
func (l *lane) rest(pause time.Duration) {
	if n := l.waiting.Load(); pause > 0 && n > 0 && n < lanePaced {
		time.Sleep(pause)
	}
}

// queued needs mu.
func (l *lane) queued() int { return len(l.queue) - l.taken }

// run stores batches until ctx ends; by then no socket sends any more.
func (l *lane) run(ctx context.Context) {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			l.refuseRest()
			return
		}
		for batch := l.take(); len(batch) > 0; batch = l.take() {
			began := time.Now()
			l.process(ctx, batch)
			l.rest(lanePace - time.Since(began))
		}
		l.waited.Store(0)
	}
}

// take gives the next batch, which is good until the next call. What was taken stays in
// the queue until half of it was, so that it is seldom moved and never grows anew.
func (l *lane) take() []send {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.batch)
	l.batch = append(l.batch[:0], l.queue[l.taken:min(l.taken+laneBatch, len(l.queue))]...)
	l.taken += len(l.batch)
	if l.taken >= l.queued() {
		l.queue = slices.Delete(l.queue, 0, l.taken)
		l.taken = 0
	}
	l.waiting.Store(int32(l.queued()))
	l.room.Broadcast()
	return l.batch
}

func (l *lane) refuseRest() {
	l.mu.Lock()
	rest := l.queue[l.taken:]
	l.queue, l.taken, l.ended = nil, 0, true
	l.room.Broadcast()
	l.mu.Unlock()
	for _, s := range rest {
		s.fail(wire.ErrSendFailed)
	}
}

// process stores a batch, rings for what was stored, and answers in order.
func (l *lane) process(ctx context.Context, batch []send) {
	waited := time.Since(batch[0].read)
	l.srv.metrics.laneWait.Observe(waited.Seconds())
	if len(batch) < laneShare {
		waited = 0
	}
	l.waited.Store(int64(waited))
	connected := l.connected(ctx, batch)
	results, ok := l.store(ctx, l.messagesOf(batch, connected))
	next := 0
	for i, s := range batch {
		switch {
		case !s.kept(connected[i]):
			l.refuse(s, "not_connected", wire.NotConnected(int64(s.recipient)))
		case !ok:
			l.refuse(s, "failed", wire.ErrSendFailed)
		default:
			l.conclude(s, connected[i], results, results.Results[next])
			next++
		}
	}
	l.srv.metrics.sendSeconds.Observe(time.Since(batch[0].read).Seconds())
}

// messagesOf leaves out what is not kept. It is good until the next call.
func (l *lane) messagesOf(batch []send, connected []bool) []socialapi.Message {
	clear(l.kept)
	l.kept = l.kept[:0]
	for i, s := range batch {
		if s.kept(connected[i]) {
			l.kept = append(l.kept, socialapi.Message{Sender: s.sender, Recipient: s.recipient, Content: s.content,
				Nonce: s.nonce, Connected: connected[i]})
		}
	}
	return l.kept
}

// isUserID says whether id can be a user's.
func isUserID(id int) bool { return id >= 10000000 && id <= 99999999 }

// connected says of each recipient whether somebody holds a socket of theirs. Who
// is here, or cannot exist, need not be asked for.
func (l *lane) connected(ctx context.Context, batch []send) []bool {
	out := make([]bool, len(batch))
	asked := map[int]int{} // user: place in elsewhere
	var elsewhere []int
	for i, s := range batch {
		if out[i] = l.srv.hub.find(s.recipient) != nil; out[i] || !isUserID(s.recipient) {
			continue
		}
		if _, ok := asked[s.recipient]; !ok {
			asked[s.recipient] = len(elsewhere)
			elsewhere = append(elsewhere, s.recipient)
		}
	}
	there := l.srv.broker.Connected(ctx, elsewhere)
	for i, s := range batch {
		if place, ok := asked[s.recipient]; ok && !out[i] {
			out[i] = there[place]
		}
	}
	return out
}

// store has social store messages as one numbered batch, and tries again with the
// same number until it is answered or SEND_TIMEOUT is over. ok is false when they
// may or may not have been stored, or social refused the batch whole.
func (l *lane) store(ctx context.Context, messages []socialapi.Message) (res socialapi.BatchResult, ok bool) {
	if len(messages) == 0 {
		return res, true
	}
	l.number++
	batch := socialapi.Batch{Lane: l.name, Number: l.number, Messages: messages}
	l.srv.metrics.batchSize.Observe(float64(len(messages)))
	ctx, cancel := context.WithTimeout(ctx, l.srv.cfg.SendTimeout)
	defer cancel()
	for pause := retryMin; ; {
		res, err := l.attempt(ctx, batch)
		if err == nil && len(res.Results) == len(messages) {
			l.inDoubt.Store(false)
			return res, true
		}
		l.srv.log.Warn("batch not stored yet", "lane", l.name, "number", l.number, "messages", len(messages), "err", err)
		l.srv.metrics.batchRetries.Inc()
		l.inDoubt.Store(true)
		if !errors.Is(err, fault.Unavailable) || !sleep(ctx, &pause) {
			return res, false
		}
	}
}

func (l *lane) attempt(ctx context.Context, batch socialapi.Batch) (socialapi.BatchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return l.srv.social.Send(ctx, batch)
}

// conclude rings for a message and answers its sender.
func (l *lane) conclude(s send, connected bool, batch socialapi.BatchResult, r socialapi.Result) {
	switch {
	case r.Refused == "" && r.First != nil: // rung for when it was stored
		l.stored(s, r.First.Recipient, r.Seq, r.First.SentAt, r.First.Connected)
	case r.Refused == "":
		// The answer first: who writes to oneself gets it before the message.
		l.stored(s, s.recipient, r.Seq, batch.SentAt, connected)
		l.srv.ringer.Ring(s.recipient, batch.Epoch, bell.Event{
			Seq: r.Seq, Kind: bell.KindMessage, Peer: s.sender, Content: s.content, SentAt: batch.SentAt,
			Quiet: s.conn.version == wire.V1,
		})
		s.conn.user.copySent(s.conn, s.recipient, s.content, r.Seq, batch.SentAt)
	case r.Refused == socialapi.RefusedUnknown:
		l.refuse(s, "not_connected", wire.NotConnected(int64(s.recipient)))
	case r.Refused == socialapi.RefusedNotFriend:
		l.refuse(s, "not_friend", wire.NotFriend(int64(s.recipient)))
	case r.Refused == socialapi.RefusedInvalid:
		l.refuse(s, "invalid", wire.BadRequest("content cannot be stored"))
	default:
		l.refuse(s, "failed", wire.ErrSendFailed)
	}
}

// stored answers a send that is in the store.
func (l *lane) stored(s send, recipient int, seq, sentAt int64, connected bool) {
	l.srv.metrics.stored.Inc()
	if s.conn.version == wire.V1 {
		s.answer(wire.SendResp)
		return
	}
	status := wire.StatusQueued
	if connected {
		status = wire.StatusSuccess
	}
	s.answer(wire.SendResp2(status, wire.EventID(recipient, seq), sentAt))
}

func (l *lane) refuse(s send, outcome string, e wire.Error) {
	l.srv.metrics.sends.WithLabelValues(outcome).Inc()
	s.fail(e)
}
