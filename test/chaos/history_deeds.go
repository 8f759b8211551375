package chaos

import "slices"

// deed notes that something is about to be done.
func (r *recorder) deed(d *Deed) *Deed {
	r.record(func(h *History, now Instant) {
		d.At = now
		h.Deeds = append(h.Deeds, d)
	})
	return d
}

func (r *recorder) done(d *Deed, o Outcome) {
	r.record(func(_ *History, now Instant) {
		d.Outcome, d.Answered = o, now
		r.tell()
	})
	d.giveUp()
}

// abandon notes that a deed will have no answer.
func (r *recorder) abandon(d *Deed) {
	r.record(func(*History, Instant) { r.tell() })
	d.giveUp()
}

// giveUp lets go who waits for a deed.
func (d *Deed) giveUp() {
	if d.done != nil {
		close(d.done)
	}
}

func (r *recorder) passing(p Passing) {
	r.record(func(h *History, now Instant) {
		p.At = now
		h.Passings = append(h.Passings, p)
	})
}

// watches notes who of the friends is online, as a socket is told from now on.
func (r *recorder) watches(s *Socket, online []int) {
	r.record(func(*History, Instant) {
		s.watching, s.online = true, map[int]bool{}
		for _, friend := range online {
			s.online[friend] = true
		}
		r.tell()
	})
}

// presence notes that a socket was told of a friend.
func (r *recorder) presence(s *Socket, friend int, online bool) {
	r.record(func(_ *History, now Instant) {
		if s.online == nil {
			r.h.Strays = append(r.h.Strays, Stray{User: s.User, What: "presence without watching", At: now})
			return
		}
		s.online[friend] = online
		r.tell()
	})
}

// views are what the sockets of raw version 2 that are open were told of their
// friends, beside what is so. Clients watch nothing.
func (r *recorder) views(friends map[int][]int, online func(user int) bool) (views []View) {
	r.record(func(h *History, _ Instant) {
		for _, s := range h.Sockets {
			if s.Hidden || s.Until > 0 || h.Versions[s.User] == 1 {
				continue
			}
			v := View{User: s.User, Socket: s.Number}
			for _, friend := range friends[s.User] {
				if s.online[friend] {
					v.Online = append(v.Online, friend)
				}
				if online(friend) {
					v.Truth = append(v.Truth, friend)
				}
			}
			slices.Sort(v.Online)
			slices.Sort(v.Truth)
			if !s.watching {
				v.Online = []int{-1} // knows nothing
			}
			views = append(views, v)
		}
	})
	return views
}

// view adds to the history what sockets were told of presence.
func (r *recorder) view(views []View) {
	r.record(func(h *History, _ Instant) { h.Views = append(h.Views, views...) })
}

// following is what a user of version 2 knows by the events that came.
type following struct {
	lists
	last int64
}

// follow needs r.mu.
func (r *recorder) follow(got Receipt) {
	f := r.follows[got.User]
	if f == nil {
		f = &following{}
		r.follows[got.User] = f
	}
	if got.Seq > f.last {
		f.last = got.Seq
		f.take(Stored{Kind: got.Kind, Sender: got.Sender})
	}
}

// lists are what a user knows just now.
func (r *recorder) lists(user int) (l lists) {
	r.record(func(*History, Instant) {
		if f := r.follows[user]; f != nil {
			l = lists{slices.Clone(f.Friends), slices.Clone(f.Incoming), slices.Clone(f.Outgoing), slices.Clone(f.Blocked)}
		}
	})
	return l
}
