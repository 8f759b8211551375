package gateway

import (
	"context"
	"sync"
	"time"

	"pymessage/internal/bell"
	"pymessage/services/gateway/wire"
)

const (
	// receiptInterval is how often a sender hears at most of the delivery to one
	// recipient.
	receiptInterval = time.Second
	// maxUnconfirmed bounds the messages whose senders a socket remembers until they
	// are confirmed, and maxReceipts the receipts that wait to be told. What does not
	// fit is found in history.
	maxUnconfirmed = 256
	maxReceipts    = 1 << 16
)

// unconfirmed are the messages that were queued for a socket and that the client has
// not confirmed.
type unconfirmed struct {
	mu       sync.Mutex
	messages []sentBy // in order
}

type sentBy struct {
	seq  int64
	peer int
}

// note remembers who sent a message. Of one sender's in a row the newest will do once
// there are many.
func (u *unconfirmed) note(ev bell.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := len(u.messages); n < maxUnconfirmed {
		u.messages = append(u.messages, sentBy{ev.Seq, ev.Peer})
	} else if last := &u.messages[n-1]; last.peer == ev.Peer {
		last.seq = ev.Seq
	}
}

// confirm takes out what is confirmed: the newest message of each sender.
func (u *unconfirmed) confirm(seq int64) (newest map[int]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for n < len(u.messages) && u.messages[n].seq <= seq {
		if newest == nil {
			newest = map[int]int64{}
		}
		newest[u.messages[n].peer] = u.messages[n].seq
		n++
	}
	if u.messages = u.messages[n:]; len(u.messages) == 0 {
		u.messages = nil
	}
	return newest
}

func (u *unconfirmed) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.messages = nil
}

// wantsReceipt says whether somebody wants to hear of the delivery of ev to user.
func wantsReceipt(ev bell.Event, user int) bool {
	return ev.Kind == bell.KindMessage && !ev.Quiet && ev.Peer != user
}

// tellSenders tells the senders of what the client has confirmed.
func (c *conn) tellSenders(seq int64) {
	for sender, newest := range c.unconfirmed.confirm(seq) {
		c.srv.receipts.add(receipt{sender, c.user.id}, newest)
	}
}

// receipt is for the sender of messages to recipient.
type receipt struct{ sender, recipient int }

// receipts collects what was delivered and tells the senders in batches.
type receipts struct {
	srv *Server

	mu      sync.Mutex
	pending map[receipt]int64 // the newest seq
}

func (r *receipts) add(of receipt, seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pending[of]; !ok && len(r.pending) >= maxReceipts {
		r.srv.metrics.passingDropped.Inc()
		return
	}
	r.pending[of] = max(r.pending[of], seq)
}

func (r *receipts) take() map[receipt]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.pending
	r.pending = map[receipt]int64{}
	return pending
}

// run tells until ctx ends.
func (r *receipts) run(ctx context.Context) {
	tick := time.NewTicker(receiptInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for of, seq := range r.take() {
			r.srv.ringer.Pass(of.sender, bell.Passing{
				Kind: bell.PassingReceipt, Peer: of.recipient, State: wire.StateDelivered, ID: wire.EventID(of.recipient, seq),
			})
		}
	}
}
