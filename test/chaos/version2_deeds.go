package chaos

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// endings are the times at which all sessions of a user are ended. A session that
// begins beside that may be ended too.
type endings struct {
	mu      sync.Mutex
	begun   int
	running int
}

// watch gives a function that says whether none has happened since.
func (e *endings) watch() (none func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	begun, running := e.begun, e.running
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return running == 0 && e.begun == begun
	}
}

func (e *endings) begin() (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun++
	e.running++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.running--
	}
}

// begin notes a new session, which surely goes on if no ending was beside.
func (d *device2) begin(token string, surely func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bearer, d.since, d.session = token, d.rec.now(), live
	if !surely() {
		d.session = doubtful
	}
}

// doubt says of a session that is live that it may end, and of one from before a
// moment that is not zero that it is over.
func (d *device2) doubt(before Instant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.session == live:
		d.session = doubtful
	case d.session == doubtful && d.since < before:
		d.session = over
	}
}

// hear remembers what can be marked as read.
func (u *user2) hear(sender int, seq int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard[sender] = max(u.heard[sender], seq)
}

func (u *user2) do(ctx context.Context, d *Deed) {
	d.User = u.id
	u.mu.Lock()
	d.Seq = u.heard[d.Peer]
	u.mu.Unlock()
	switch {
	case d.Act == ActMark && d.Seq == 0, u.deleted.Load():
		d.giveUp()
	case d.Act == ActRevoke:
		u.besides(func() { u.endSessions(ctx, d) })
	case d.Act == ActDelete:
		u.besides(func() { u.delete(ctx, d) })
	case d.REST:
		if token := u.devices[0].tokenForREST(); token != "" {
			u.besides(func() { rest(u.address).do(ctx, u.rec, token, d) })
			return
		}
		d.giveUp()
	default:
		u.devices[rand.IntN(len(u.devices))].act(d)
	}
}

// besides does what is not done by a socket.
func (u *user2) besides(f func()) {
	u.asking.Add(1)
	u.aside.Go(func() {
		defer u.asking.Add(-1)
		f()
	})
}

func (d *device2) tokenForREST() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != live {
		return ""
	}
	return d.bearer
}

// act asks for a deed on the socket, if there is one.
func (d *device2) act(deed *Deed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ws == nil || d.leaving || len(d.waiting) >= maxPending {
		deed.giveUp()
		return
	}
	d.put(&request{deed: d.rec.deed(deed)})
}

// did takes the answer of a deed.
func (d *device2) did(deed *Deed, f frame2, data []byte) {
	if f.Type == ways[deed.Act].answer {
		if err := deed.read(data); err != nil {
			d.rec.stray(d.id, "an answer to "+string(deed.Act), string(data))
		}
		if deed.Act == ActWatch {
			d.rec.watches(d.socket, deed.People)
		}
		d.rec.done(deed, Acknowledged)
		return
	}
	outcome, ok := outcomeOf(f.Code, f.RetryAfterMS > 0)
	if !ok {
		d.rec.stray(d.id, "error", string(data))
	}
	d.rec.done(deed, outcome)
	if deed.Act == ActWatch {
		d.wantWatch()
	}
}

// endSessions ends all sessions of the user. That of the first device asks.
func (u *user2) endSessions(ctx context.Context, d *Deed) {
	token := u.devices[0].tokenForREST()
	if token == "" {
		d.giveUp()
		return
	}
	defer u.ends.begin()()
	for _, device := range u.devices {
		device.doubt(0)
	}
	rest(u.address).do(ctx, u.rec, token, d)
	if d.Outcome != Acknowledged {
		return
	}
	for _, device := range u.devices {
		device.doubt(d.At)
	}
}

// deletePause is between two attempts to delete an account.
const deletePause = 200 * time.Millisecond

// delete deletes the account, however often that takes. It has succeeded as well when
// nobody knows the account any more.
func (u *user2) delete(ctx context.Context, d *Deed) {
	u.ends.begin()
	for _, device := range u.devices {
		device.doubt(0)
	}
	u.rec.deed(d)
	r := rest(u.address)
	for ctx.Err() == nil {
		token, status, err := r.enter(ctx, u.name)
		if err == nil && status == http.StatusUnauthorized {
			break
		}
		if token != "" {
			status, _, err = r.ask(ctx, token, http.MethodPost, d.path(), d.body())
			if err == nil && status == http.StatusNoContent {
				break
			}
		}
		wait(ctx, deletePause)
	}
	if ctx.Err() != nil {
		u.rec.abandon(d)
		return
	}
	u.rec.done(d, Acknowledged)
	u.deleted.Store(true)
}
