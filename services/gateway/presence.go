package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"pymessage/internal/bell"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

const (
	// presenceTick is how often friends are told who came and went, and watchers what
	// has become certain.
	presenceTick = time.Second
	// presenceGrace is how long a friend may be away before that is told.
	presenceGrace = 5 * time.Second
	// presenceRecheck is how often all who are watched are looked after: a gateway that
	// was killed tells nobody.
	presenceRecheck = 30 * time.Second
	// presenceBatch is how many users one question to Redis names.
	presenceBatch = 1000
)

// presence lets users watch which of their friends are connected.
//
//	first or last socket of a user here ──▶ moved ──▶ each second, to the channels of
//	                                                  the user's friends: came, gone
//	came ──▶ hear ──▶ those who watch: online
//	gone ──▶ hear ──▶ after the grace, if NUMSUB says 0: offline
//
// What the watchers were told is kept here, so that they hear of transitions only.
type presence struct {
	srv *Server

	mu      sync.Mutex               // guards all below
	moves   map[int]bool             // user: has a socket here; since the last tick
	watched map[int]*watch           // by who watches
	friends map[int]map[int]struct{} // by who is watched: those who watch
	leaving map[int]time.Time        // who may have gone, and when to look
	stale   map[int]struct{}         // watchers whose friends have changed
	checked time.Time                // when all were looked after
}

// watch is what one user's sockets were told.
type watch struct {
	conns map[*conn]struct{}
	told  map[int]bool     // friend: is online
	anew  map[int]struct{} // friends who were told, and perhaps forgotten
}

func newPresence(srv *Server) *presence {
	return &presence{
		srv: srv, moves: map[int]bool{}, watched: map[int]*watch{}, friends: map[int]map[int]struct{}{},
		leaving: map[int]time.Time{}, stale: map[int]struct{}{}, checked: time.Now(),
	}
}

// moved notes that a user's first socket came or last one went here.
func (p *presence) moved(user int, here bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moves[user] = here
}

// changed notes that a user may have other friends than before.
func (p *presence) changed(user int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[user] != nil {
		p.stale[user] = struct{}{}
	}
}

// parted notes that a user and a friend are friends no more. Should they be friends
// again before that is looked into, the user's sockets are told anew who is online:
// they have forgotten.
func (p *presence) parted(user, friend int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.watched[user]; w != nil && w.told[friend] {
		w.anew[friend] = struct{}{}
	}
}

// watchPresence answers who of the friends is online; from then on the socket is told
// of transitions.
func (c *conn) watchPresence() {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	friends, err := c.srv.social.Friends(ctx, c.user.id)
	if err != nil {
		c.fail(wire.ErrPresenceFailed)
		return
	}
	online, sure := c.srv.online(ctx, friends)
	p := c.srv.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	c.watching = true
	w := p.watched[c.user.id]
	if w == nil {
		w = &watch{conns: map[*conn]struct{}{}, told: map[int]bool{}, anew: map[int]struct{}{}}
		p.watched[c.user.id] = w
	}
	p.setFriends(c.user.id, friends)
	p.note(friends, online, sure)
	w.conns[c] = struct{}{}
	c.reply(wire.PresenceResp(w.online())) // before what comes next, since mu is held
}

// online are the friends that the sockets were told to be.
func (w *watch) online() (friends []int) {
	for friend, is := range w.told {
		if is {
			friends = append(friends, friend)
		}
	}
	slices.Sort(friends)
	return friends
}

// unwatch forgets a socket that ends.
func (p *presence) unwatch(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched[c.user.id]
	if w == nil {
		return
	}
	delete(w.conns, c)
	if len(w.conns) == 0 {
		p.setFriends(c.user.id, nil)
		delete(p.watched, c.user.id)
	}
}

// setFriends lets a user watch exactly these. It needs mu.
func (p *presence) setFriends(user int, friends []int) {
	w := p.watched[user]
	now := make(map[int]bool, len(friends))
	for _, friend := range friends {
		now[friend] = true
		if _, ok := w.told[friend]; ok {
			continue
		}
		w.told[friend] = false
		if p.friends[friend] == nil {
			p.friends[friend] = map[int]struct{}{}
		}
		p.friends[friend][user] = struct{}{}
	}
	for friend := range w.told {
		if !now[friend] {
			delete(w.told, friend)
			delete(w.anew, friend)
			delete(p.friends[friend], user)
			if len(p.friends[friend]) == 0 {
				delete(p.friends, friend)
				delete(p.leaving, friend)
			}
		}
	}
}

// note takes what a look at users has found. Who is gone gets the grace. It needs mu.
func (p *presence) note(users []int, online map[int]bool, sure bool) {
	for _, user := range users {
		if online[user] {
			p.tell(user, true)
		} else if sure {
			p.mayHaveGone(user)
		}
	}
}

// mayHaveGone has somebody looked after when the grace is over. It needs mu.
func (p *presence) mayHaveGone(user int) {
	if _, ok := p.leaving[user]; !ok && len(p.friends[user]) > 0 {
		p.leaving[user] = time.Now().Add(presenceGrace)
	}
}

// tell tells all who watch user, unless they were told already. A slow socket is told
// as well, however full its queue is: nothing would tell it later. It needs mu.
func (p *presence) tell(user int, online bool) {
	delete(p.leaving, user)
	frame := wire.OfflineEvent(user)
	if online {
		frame = wire.OnlineEvent(user)
	}
	for watcher := range p.friends[user] {
		w := p.watched[watcher]
		if _, anew := w.anew[user]; w.told[user] == online && !anew {
			continue
		}
		w.told[user] = online
		delete(w.anew, user)
		for c := range w.conns {
			c.notice(frame)
		}
	}
}

// hear takes from the channel of watcher that a friend came or went at some gateway.
func (p *presence) hear(watcher, friend int, came bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched[watcher]
	if w == nil {
		return
	}
	if _, ok := w.told[friend]; !ok {
		return // a friend no more, or not yet
	}
	if came {
		p.tell(friend, true)
	} else {
		p.mayHaveGone(friend)
	}
}

// run does what takes other services, until ctx ends.
func (p *presence) run(ctx context.Context) {
	tick := time.NewTicker(presenceTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		p.ringFriends(ctx)
		p.refresh(ctx)
		p.look(ctx)
	}
}

// ringFriends tells the friends of who came and went here. What fails is tried again.
func (p *presence) ringFriends(ctx context.Context) {
	p.mu.Lock()
	moves := p.moves
	p.moves = map[int]bool{}
	p.mu.Unlock()
	for users := range slices.Chunk(slices.Collect(maps.Keys(moves)), socialapi.MaxFriends) {
		friends, err := p.friendsOf(ctx, users)
		if err != nil {
			p.putBack(users, moves)
			continue
		}
		for user, theirs := range friends {
			kind := bell.PassingGone
			if moves[user] {
				kind = bell.PassingCame
			}
			for _, friend := range theirs {
				p.srv.ringer.Pass(friend, bell.Passing{Kind: kind, Peer: user})
			}
		}
	}
}

func (p *presence) friendsOf(ctx context.Context, users []int) (map[int][]int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	friends, err := p.srv.social.FriendsOf(ctx, users)
	if err != nil && ctx.Err() == nil {
		p.srv.log.Warn("friends could not be listed, trying again", "users", len(users), "err", err)
	}
	return friends, err
}

func (p *presence) putBack(users []int, moves map[int]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, user := range users {
		if _, newer := p.moves[user]; !newer {
			p.moves[user] = moves[user]
		}
	}
}

// refresh asks anew for the friends of watchers that have others than before, and who
// of the friends is online.
func (p *presence) refresh(ctx context.Context) {
	p.mu.Lock()
	stale := slices.Collect(maps.Keys(p.stale))
	clear(p.stale)
	p.mu.Unlock()
	for users := range slices.Chunk(stale, socialapi.MaxFriends) {
		friends, err := p.friendsOf(ctx, users)
		if err != nil {
			for _, user := range users {
				p.changed(user)
			}
			continue
		}
		for _, user := range users {
			online, sure := p.srv.online(ctx, friends[user])
			p.mu.Lock()
			if p.watched[user] != nil {
				p.setFriends(user, friends[user])
				p.note(friends[user], online, sure)
			}
			p.mu.Unlock()
		}
	}
}

// look looks after those whose grace is over, and now and again after all.
func (p *presence) look(ctx context.Context) {
	p.mu.Lock()
	due := p.due(time.Now())
	var all []int
	if time.Since(p.checked) >= presenceRecheck {
		p.checked = time.Now()
		all = slices.Collect(maps.Keys(p.friends))
	}
	p.mu.Unlock()
	for users := range slices.Chunk(due, presenceBatch) {
		online, sure := p.srv.online(ctx, users)
		p.mu.Lock()
		for _, user := range users {
			switch {
			case sure:
				p.tell(user, online[user])
			default:
				p.mayHaveGone(user)
			}
		}
		p.mu.Unlock()
	}
	for users := range slices.Chunk(all, presenceBatch) {
		online, sure := p.srv.online(ctx, users)
		p.mu.Lock()
		p.note(users, online, sure)
		if !sure { // again soon
			p.checked = time.Now().Add(presenceGrace - presenceRecheck)
		}
		p.mu.Unlock()
	}
}

// due takes out those whose grace is over. It needs mu.
func (p *presence) due(now time.Time) (users []int) {
	for user, at := range p.leaving {
		if !now.Before(at) {
			users = append(users, user)
			delete(p.leaving, user)
		}
	}
	return users
}

// online says who of users has a socket at some gateway. Unless it is sure, others may
// have one as well.
func (s *Server) online(ctx context.Context, users []int) (online map[int]bool, sure bool) {
	online, sure = map[int]bool{}, true
	var elsewhere []int
	for _, user := range users {
		if online[user] = s.hub.find(user) != nil; !online[user] {
			elsewhere = append(elsewhere, user)
		}
	}
	for chunk := range slices.Chunk(elsewhere, presenceBatch) {
		there, known := s.broker.Online(ctx, chunk)
		sure = sure && known
		for i, is := range there {
			online[chunk[i]] = is
		}
	}
	return online, sure
}
