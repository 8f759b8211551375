package chaos

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// commitPatience is the longest from the begin of a transaction to its end, and
	// ghostTime from a request that got no answer to the time when it is carried out at
	// the latest.
	commitPatience = 20 * time.Second
	ghostTime      = 30 * time.Second
	// clockSlack is how far the clocks of the store and of the history may be apart.
	clockSlack = 20 * time.Millisecond
)

// pair are two users, the lower id first.
type pair [2]int

func pairOf(a, b int) pair { return pair{min(a, b), max(a, b)} }

// relation is what is between two users.
type relation struct {
	friends bool
	asker   int         // whose request waits; 0: none
	blocks  map[int]int // by who blocks: 1
}

func (r relation) blocked() bool { return len(r.blocks) > 0 }

// turn is a change of the relation of two users, as their logs tell it.
type turn struct {
	kind  string // as in the log of by; kindSent stands for both sides of a request
	by    int    // whom it is known to be of: who asks, blocks or unblocks; else 0
	begun Instant
	known Instant // by then it was committed
}

// story is all that was ever between two users.
type story struct {
	pair   pair
	turns  []turn
	states []relation // after so many turns
	broken bool       // it makes no sense, and so anything may have been
}

// isMutual says whether an event of a kind is in both logs.
func isMutual(kind string) bool { return kind != kindBlocked && kind != kindUnblocked }

// tellStories reads what is between all users from their logs, and checks that those of
// two tell the same. Each change is a transaction that holds the row of the two, so
// that the events are in the same order in both logs. What is between somebody and a
// deleted account stands in one log alone.
func (c *check) tellStories() {
	logs := map[pair]map[int][]turn{}
	for _, user := range c.users() {
		for _, m := range c.Inboxes[user].Stored {
			if m.Kind == kindMessage || m.Kind == kindTombstone {
				continue
			}
			p := pairOf(user, m.Sender)
			if logs[p] == nil {
				logs[p] = map[int][]turn{}
			}
			logs[p][user] = append(logs[p][user], c.turn(user, m))
		}
	}
	c.stories = map[pair]*story{}
	for _, p := range slices.SortedFunc(maps.Keys(logs), func(a, b pair) int { return slices.Compare(a[:], b[:]) }) {
		c.stories[p] = c.tell(p, logs[p][p[0]], logs[p][p[1]])
	}
}

// turn is what an event in the log of user says.
func (c *check) turn(user int, m Stored) turn {
	t := turn{kind: m.Kind, begun: m.At, known: m.At + commitPatience}
	switch m.Kind {
	case kindRequest:
		t.kind, t.by = kindSent, m.Sender
	case kindSent, kindBlocked, kindUnblocked:
		t.by = user
	}
	if came, ok := c.came[user][m.Seq]; ok {
		t.known = min(t.known, came)
	}
	return t
}

// tell merges two logs.
func (c *check) tell(p pair, one, other []turn) *story {
	s := &story{pair: p, states: []relation{{}}}
	if c.deleted[p[0]] != nil || c.deleted[p[1]] != nil {
		s.turns = slices.Concat(one, other)
	} else if !s.merge(one, other) {
		c.found(RuleStory, "%d has %v, %d has %v", p[0], kindsOf(one), p[1], kindsOf(other))
		return &story{pair: p, broken: true}
	}
	for _, t := range s.turns {
		next, ok := s.states[len(s.states)-1].after(t)
		if !ok {
			c.found(RuleStory, "%s by %d at %v makes no sense for %d and %d, amid %v", t.kind, t.by, t.begun, p[0], p[1], kindsOf(s.turns))
			return &story{pair: p, broken: true}
		}
		s.states = append(s.states, next)
	}
	return s
}

func kindsOf(turns []turn) (kinds []string) {
	for _, t := range turns {
		kinds = append(kinds, t.kind)
	}
	return kinds
}

// merge takes what is mutual from both, and between that what each has alone, by time.
func (s *story) merge(one, other []turn) bool {
	for len(one)+len(other) > 0 {
		i := slices.IndexFunc(one, func(t turn) bool { return isMutual(t.kind) })
		j := slices.IndexFunc(other, func(t turn) bool { return isMutual(t.kind) })
		if (i < 0) != (j < 0) {
			return false
		}
		if i < 0 {
			i, j = len(one), len(other)
		}
		alone := slices.Concat(one[:i], other[:j])
		slices.SortStableFunc(alone, func(a, b turn) int { return cmp.Compare(a.begun, b.begun) })
		s.turns = append(s.turns, alone...)
		if one, other = one[i:], other[j:]; len(one) == 0 {
			break
		}
		if one[0].kind != other[0].kind || one[0].by != other[0].by {
			return false
		}
		both := one[0]
		both.known = min(both.known, other[0].known)
		s.turns = append(s.turns, both)
		one, other = one[1:], other[1:]
	}
	return true
}

// after is what a turn makes of a relation, if it can come then.
func (r relation) after(t turn) (relation, bool) {
	next := relation{friends: r.friends, asker: r.asker, blocks: map[int]int{}}
	for user := range r.blocks {
		next.blocks[user] = 1
	}
	ok := false
	switch t.kind {
	case kindSent:
		ok = !r.friends && r.asker == 0
		next.asker = t.by
	case kindAdded:
		ok = r.asker != 0
		next.friends, next.asker = true, 0
	case kindRemoved:
		ok = r.friends
		next.friends = false
	case kindClosed:
		ok = r.asker != 0
		next.asker = 0
	case kindBlocked:
		ok = r.blocks[t.by] == 0 && !r.friends && r.asker == 0
		next.blocks[t.by] = 1
	case kindUnblocked:
		ok = r.blocks[t.by] > 0
		delete(next.blocks, t.by)
	}
	return next, ok
}

// possible says whether something may have been so at some moment of a time.
func (s *story) possible(from, to Instant, is func(relation) bool) bool {
	if s.broken {
		return true
	}
	from, to = from-clockSlack, to+clockSlack
	for i, state := range s.states {
		begins := i == 0 || s.turns[i-1].begun <= to
		lasts := i == len(s.turns) || s.turns[i].known >= from
		if begins && lasts && is(state) {
			return true
		}
	}
	return false
}

// story is what was between two users, and nothing if there never was anything.
func (c *check) story(a, b int) *story {
	if s := c.stories[pairOf(a, b)]; s != nil {
		return s
	}
	return &story{pair: pairOf(a, b), states: []relation{{}}}
}

// lists are what somebody who follows a log knows of others, in the order of coming.
type lists struct{ Friends, Incoming, Outgoing, Blocked []int }

// listsOf follows the events of a log.
func listsOf(events []Stored) (l lists) {
	for _, m := range events {
		l.take(m)
	}
	return l
}

// take is what anybody would make of an event.
func (l *lists) take(m Stored) {
	switch m.Kind {
	case kindRequest:
		l.Incoming = append(l.Incoming, m.Sender)
	case kindSent:
		l.Outgoing = append(l.Outgoing, m.Sender)
	case kindAdded:
		l.Friends = append(l.Friends, m.Sender)
		l.Incoming, l.Outgoing = without(l.Incoming, m.Sender), without(l.Outgoing, m.Sender)
	case kindRemoved:
		l.Friends = without(l.Friends, m.Sender)
	case kindClosed:
		l.Incoming, l.Outgoing = without(l.Incoming, m.Sender), without(l.Outgoing, m.Sender)
	case kindBlocked:
		l.Blocked = append(l.Blocked, m.Sender)
	case kindUnblocked:
		l.Blocked = without(l.Blocked, m.Sender)
	}
}

func without(list []int, user int) []int {
	return slices.DeleteFunc(list, func(u int) bool { return u == user })
}
