package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// presencePatience is how late friends may hear who is connected, since a gateway
	// that was killed tells nobody; in beats.
	presencePatience = 45 * time.Second
	// leavers leave for a while when all is quiet.
	leavers = 3
	// deletionPatience is how long it may take until nothing of a deleted account is left:
	// what failed amid the faults is tried again after a pause.
	deletionPatience = 90 * time.Second
	// askTries is how often somebody asks at the end.
	askTries = 20
)

// settle waits until every request has its answer, or never gets one; then until
// everybody knows who is connected. Then it has a last message go to everybody, waits
// until every socket has come to it, and lets everybody ask for everything. It gives
// the moment at which all should have come.
func (w *world) settle(ctx context.Context) (end Instant) {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	w.awaitAnswers(ctx)
	w.watchPresence(ctx)
	began := w.rec.now()
	for _, i := range w.living() {
		w.users[len(w.users)-1].send(ctx, w.ids[i], last(w.ids[i]))
	}
	w.awaitAnswers(ctx)
	stored, err := w.contents(ctx)
	if err != nil {
		w.t.Errorf("reading what is stored: %v", err)
		return w.rec.now()
	}
	all := func() string { return w.rec.lacking(stored, began, last) }
	if !w.await(ctx, "everything to arrive", endPatience, all) {
		w.keepMetrics()
	}
	end = w.rec.now()
	w.askEverything(ctx)
	return end
}

// contents are what each inbox holds and its user sees.
func (w *world) contents(ctx context.Context) (map[int][]string, error) {
	logs, err := inboxes(ctx, w.d.PostgresURL(), w.rec.began)
	if err != nil {
		return nil, err
	}
	w.rec.word(logs)
	out := map[int][]string{}
	for user, inbox := range logs {
		for _, m := range inbox.Stored {
			if m.Content != "" && !w.isGone(user) {
				out[user] = append(out[user], m.Content)
			}
		}
	}
	return out, nil
}

func (w *world) isGone(id int) bool { return w.gone(slices.Index(w.ids, id)) }

// watchPresence has one more account be deleted and some users leave, with nothing
// else happening, and come back: their friends have to hear of it.
func (w *world) watchPresence(ctx context.Context) {
	mortal := w.mortals()
	w.delete(ctx, mortal[len(mortal)-1])
	if !w.settings.long {
		if err := endLeases(ctx, w.d.PostgresURL()); err != nil {
			w.t.Error(err)
		}
	}
	w.await(ctx, "deleted accounts to be gone", deletionPatience, func() string { return w.undeleted(ctx) })
	away := map[int]bool{}
	var back []func()
	for _, i := range w.choose() {
		away[w.ids[i]] = true
		back = append(back, w.users[i].leave())
	}
	w.awaitViews(ctx, "offline", func(user int) bool { return !away[user] })
	for _, b := range back {
		b()
	}
	w.awaitViews(ctx, "online", func(int) bool { return true })
}

// undeleted names what is left of deleted accounts.
func (w *world) undeleted(ctx context.Context) string {
	for _, i := range w.mortals() {
		if !w.gone(i) {
			return fmt.Sprintf("the account of %d", w.ids[i])
		}
	}
	switch n, err := departing(ctx, w.d.PostgresURL()); {
	case err != nil:
		return err.Error()
	case n > 0:
		return fmt.Sprintf("%d of which something may be left", n)
	}
	return ""
}

// choose picks the users of raw version 2 whom most others of these have as friends:
// they watch.
func (w *world) choose() []int {
	var raw []int
	watchers := map[int]int{} // by user
	for _, i := range w.living() {
		if _, ok := w.users[i].(*user2); ok {
			raw = append(raw, i)
			for _, friend := range w.rec.lists(w.ids[i]).Friends {
				watchers[friend]++
			}
		}
	}
	slices.SortFunc(raw, func(a, b int) int { return watchers[w.ids[b]] - watchers[w.ids[a]] })
	return raw[:min(leavers, len(raw))]
}

// awaitViews waits until all that watch were told what is so, and notes what they were
// told.
func (w *world) awaitViews(ctx context.Context, what string, online func(user int) bool) {
	logs, err := inboxes(ctx, w.d.PostgresURL(), w.rec.began)
	if err != nil {
		w.t.Errorf("reading who is a friend: %v", err)
		return
	}
	friends := map[int][]int{}
	for user, inbox := range logs {
		friends[user] = listsOf(inbox.Stored).Friends
	}
	w.await(ctx, "everybody to know who is "+what, presencePatience, func() string {
		for _, v := range w.rec.views(friends, online) {
			if !slices.Equal(v.Online, v.Truth) {
				return fmt.Sprintf("socket %d of user %d, who was told of %v instead of %v", v.Socket, v.User, v.Online, v.Truth)
			}
		}
		return ""
	})
	w.rec.view(w.rec.views(friends, online))
}

// askEverything has everybody of version 2 who is left ask for lists, and for the
// whole conversations with all others.
func (w *world) askEverything(ctx context.Context) {
	began := w.rec.now()
	turns := make(chan struct{}, 8) // at a time
	for _, i := range w.living() {
		u, ok := w.users[i].(friendly)
		if !ok {
			continue
		}
		turns <- struct{}{}
		w.running.Go(func() {
			defer func() { <-turns }()
			for _, act := range []Act{ActFriends, ActRequests, ActBlocked} {
				w.ask(ctx, u, Deed{Act: act, REST: i%8 < 4})
			}
			for j, peer := range w.ids {
				if j != i {
					w.converse(ctx, u, peer)
				}
			}
		})
	}
	for range cap(turns) {
		turns <- struct{}{}
	}
	w.t.Logf("asked for everything in %v", (w.rec.now() - began).Round(time.Millisecond))
}

// converse reads a whole conversation.
func (w *world) converse(ctx context.Context, u friendly, peer int) {
	before := ""
	for {
		d := w.ask(ctx, u, Deed{Act: ActHistory, Peer: peer, Before: before})
		if d == nil || !d.More || len(d.Said) == 0 {
			return
		}
		before = d.Said[0].ID
	}
}

// ask has a user do something, again and again until it is done.
func (w *world) ask(ctx context.Context, u friendly, what Deed) *Deed {
	for try := range askTries {
		d := what
		d.REST = what.REST && try == 0 // there may be no token that is good
		d.Last, d.done = true, make(chan struct{})
		u.do(ctx, &d)
		select {
		case <-d.done:
		case <-ctx.Done():
			w.t.Errorf("%s at the end was not answered in time", what.Act)
			return nil
		}
		if d.Outcome == Acknowledged {
			return &d
		}
		wait(ctx, deletePause)
	}
	w.t.Errorf("%s at the end was not done", what.Act)
	return nil
}
