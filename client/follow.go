package client

import (
	"context"
	"errors"
	"time"
)

// aheadPatience is how long the newest event may be on its way after a heartbeat
// told of it, while nothing else comes either. Rings that overtake each other and
// a check of the heads are behind it in less.
const aheadPatience = 3 * time.Second

// ahead is an event that a heartbeat has told of and that has not come yet.
type ahead struct {
	seq   int64 // 0: none
	until time.Time
}

// isLate says that it should have come by now.
func (a *ahead) isLate(at int64) bool {
	if at >= a.seq {
		a.seq = 0
	}
	return a.seq > 0 && !time.Now().Before(a.until)
}

// wait begins the time for it anew.
func (a *ahead) wait() { a.until = time.Now().Add(aheadPatience) }

// isAnswer are the answers of version 1, in which everything else is an event.
var isAnswer = map[string]bool{
	"error": true, "send_resp": true, "friends_resp": true, "request_resp": true, "add_resp": true, "deny_resp": true,
}

// dispatch deals with a frame. An error ends the connection.
func (s *session) dispatch(f *frame) error {
	if s.c.version1() {
		return s.dispatch1(f)
	}
	switch {
	case f.Ref != 0:
		s.c.calls.answered(f)
	case f.Type == "error":
		s.c.cfg.Logger.Warn("the server did not take an ack", "err", f.Error)
	case f.Type == "heartbeat":
		s.onHeartbeat(f.Seq)
	case f.Type == "resync":
		s.onResync(f)
	case f.Type == "synced":
		return s.onSynced(f.Seq)
	case f.Seq > 0:
		return s.onEvent(f)
	case isPassing[Kind(f.Type)]:
		s.onPassing(f.passing())
	}
	return nil
}

// onPassing hands over what is in no log, if there is room: it is not asked for again.
func (s *session) onPassing(p Passing) {
	if h := s.c.cfg.OnPassing; h != nil && !s.dropped {
		s.c.inbox.offer(item{give: func(ctx context.Context) { h(ctx, s.c, p) }})
	}
}

func (s *session) dispatch1(f *frame) error {
	switch {
	case f.Type == string(Message) || f.Type == string(FriendRequest):
		s.admit(s.c.eventItem(f.event()))
	case isAnswer[f.Type] && !s.c.calls.answered(f):
		return errors.New("the server sent an answer that nobody waits for: " + f.Type)
	}
	return nil
}

// onEvent takes an event if it is the next one.
func (s *session) onEvent(f *frame) error {
	if s.dropped {
		s.drop()
		return nil
	}
	if err := s.sameLog(); err != nil {
		return err
	}
	switch s.c.track.judge(f.Seq) {
	case repeated:
		s.c.stats.repeated.Add(1)
		return nil
	case gap:
		return s.missing()
	}
	it := s.c.eventItem(f.event())
	it.at, it.confirm = cursor{s.epoch, f.Seq}, true
	if s.admit(it) {
		s.advance(it.at)
	}
	return nil
}

// sameLog refuses events of another log than the user's, of which no resync has
// told.
func (s *session) sameLog() error {
	if at := s.c.track.at; at.known() && at.epoch != s.epoch {
		return errors.New("the server sent events of another log without a resync")
	}
	return nil
}

// advance moves the user's place forward.
func (s *session) advance(to cursor) {
	t := &s.c.track
	if t.at.known() && to.seq > t.at.seq+1 {
		s.c.stats.skipped.Add(to.seq - t.at.seq - 1)
		s.c.cfg.Logger.Warn("the server does not show some events", "after", t.at.seq, "before", to.seq)
	}
	t.at = to
	s.ahead.wait()
}

// missing ends the connection, since the next one gets what is missing.
func (s *session) missing() error {
	s.c.stats.gaps.Add(1)
	s.c.track.missing = s.c.track.at
	return errGap
}

// onSynced learns that everything up to seq was sent.
func (s *session) onSynced(seq int64) error {
	t := &s.c.track
	if err := s.sameLog(); err != nil || s.dropped {
		return err
	}
	at := cursor{s.epoch, seq}
	if t.at.known() && seq <= t.at.seq {
		at = t.at
	} else if t.judge(seq+1) == gap {
		return s.missing()
	}
	it := item{at: at, give: func(ctx context.Context) {
		if h := s.c.cfg.OnSynced; h != nil {
			h(ctx, s.c, seq)
		}
	}}
	if s.admit(it) {
		s.synced = true
		if at != t.at {
			s.skipTo(at)
		}
		t.missing = cursor{} // from now on a hole is a hole
	}
	return nil
}

// skipTo moves to a place up to which there is nothing to show.
func (s *session) skipTo(at cursor) {
	t := &s.c.track
	if t.at.known() {
		s.c.stats.skipped.Add(at.seq - t.at.seq)
	}
	t.at = at
}

// onHeartbeat learns the newest seq. While the log is still being replayed it says
// nothing about what is missing.
func (s *session) onHeartbeat(seq int64) {
	if s.synced && !s.dropped && s.ahead.seq == 0 && seq > s.c.track.at.seq {
		s.ahead.seq = seq
		s.ahead.wait()
	}
}

// onResync goes to where the server says it goes on.
func (s *session) onResync(f *frame) {
	if s.dropped {
		return // it will come again
	}
	r := Resync{Oldest: f.Oldest, Seq: f.Seq, Epoch: f.Epoch}
	it := item{at: cursor{r.Epoch, r.Seq}, give: func(ctx context.Context) {
		if h := s.c.cfg.OnResync; h != nil {
			h(ctx, s.c, r)
		}
	}}
	if s.admit(it) {
		s.epoch = r.Epoch
		s.c.track.at = it.at
		s.ahead, s.synced = ahead{}, false
		s.c.acks.begin(r.Epoch)
	}
}

// eventItem hands an event over.
func (c *Client) eventItem(ev Event) item {
	return item{give: func(ctx context.Context) {
		c.stats.events.Add(1)
		if h := c.cfg.OnEvent; h != nil {
			h(ctx, c, ev)
		}
	}}
}

// admit puts an item into the inbox, and is false if it had to be dropped. While
// there is no room the reader waits, which makes the server wait and keep the rest.
// But it must not keep the answers that are behind the events from those who wait
// for them: a handler that sends would never return. Then it reads on, drops
// events, and the connection ends once there is room to ask for them again.
func (s *session) admit(it item) bool {
	for !s.dropped {
		taken, open := s.c.inbox.offer(it)
		if taken || !open {
			return taken
		}
		select {
		case <-s.c.inbox.room:
		case <-s.c.calls.working():
			s.awaitRoom()
		case <-s.c.handled:
		case <-s.ctx.Done():
			return false
		}
		if s.c.stopping() {
			return false
		}
	}
	s.drop()
	return false
}

// fullPatience is how long an answer may be held up by a handler that is only
// slow, before events are dropped for it.
const fullPatience = 100 * time.Millisecond

// awaitRoom gives the handler a last chance to make room.
func (s *session) awaitRoom() {
	late := time.NewTimer(fullPatience)
	defer late.Stop()
	select {
	case <-s.c.inbox.room:
	case <-s.ctx.Done():
	case <-s.c.handled:
	case <-late.C:
		s.dropped = true
		s.c.behind.Store(s)
		s.c.relieve() // there may be room by now
	}
}

// drop loses an event on this connection. It does so only while somebody waits for
// an answer.
func (s *session) drop() {
	s.c.stats.dropped.Add(1)
	select {
	case <-s.c.calls.working():
	case <-s.c.handled:
	case <-s.ctx.Done():
	}
}
