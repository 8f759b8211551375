package chaos

import "slices"

// checkFriends: what is between users is as they were told, and came about by what
// they did.
func (c *check) checkFriends() {
	c.tellStories()
	for _, d := range c.Deeds {
		c.counts.deed(d)
		if d.Outcome == Acknowledged || d.Outcome == Refused {
			c.checkDeed(d)
		}
	}
	about := map[pair][]*Deed{}
	for _, d := range c.Deeds {
		about[pairOf(d.User, d.Peer)] = append(about[pairOf(d.User, d.Peer)], d)
	}
	for p, s := range c.stories {
		for _, t := range s.turns {
			c.counts.Turns++
			if !c.explained(p, t, about[p]) {
				c.found(RuleUnexplained, "%s of %d and %d, begun at %v, which neither asked for then", t.kind, p[0], p[1], t.begun)
			}
		}
	}
	c.checkLists()
}

// checkDeed: what was done was so at some moment between the request and its answer,
// and what was refused could not be done.
func (c *check) checkDeed(d *Deed) {
	if c.deleted[d.User] != nil { // its log is gone
		return
	}
	switch d.Act {
	case ActFriends, ActRequests, ActBlocked:
		c.checkList(d)
	case ActFind:
		c.checkFound(d)
	case ActRequest, ActAccept, ActDeny, ActCancel, ActRemove, ActBlock, ActUnblock, ActTyping:
		c.checkChange(d)
	}
}

func (c *check) checkChange(d *Deed) {
	s := c.story(d.User, d.Peer)
	from := d.At
	if d.Act == ActTyping { // what was told a moment ago is not looked at again
		from = max(0, from-typingPause-tripTime)
	}
	switch {
	case c.mayBeDeleted(d.Peer, d.Answered):
	case d.Outcome == Refused && d.Act == ActRequest && c.deleted[d.Peer] != nil: // it may have blocked: its log is gone
	case d.Outcome == Acknowledged && !s.possible(from, d.Answered, d.isDone):
		c.found(RuleNotDone, "%s by %d about %d, from %v to %v, amid %v", d.Act, d.User, d.Peer, d.At, d.Answered, kindsOf(s.turns))
	case d.Outcome == Refused && !s.possible(d.At, d.Answered, d.cannot):
		c.found(RuleWronglyRefused, "%s by %d about %d, from %v to %v, amid %v", d.Act, d.User, d.Peer, d.At, d.Answered, kindsOf(s.turns))
	}
}

// isDone says whether a relation is what a deed leads to.
func (d *Deed) isDone(r relation) bool {
	switch d.Act {
	case ActRequest:
		return r.friends || r.asker == d.User
	case ActAccept, ActTyping:
		return r.friends
	case ActBlock:
		return r.blocks[d.User] > 0
	case ActUnblock:
		return r.blocks[d.User] == 0
	}
	return !r.friends && r.asker == 0
}

// cannot says whether a relation lets a deed be refused.
func (d *Deed) cannot(r relation) bool {
	switch d.Act {
	case ActRequest:
		return r.friends || r.blocked()
	case ActAccept, ActDeny:
		return r.asker != d.Peer
	case ActCancel:
		return r.asker != d.User
	case ActRemove, ActTyping:
		return !r.friends
	case ActUnblock:
		return r.blocks[d.User] == 0
	}
	return false
}

// mayBeDeleted says whether a user's account may have been deleted by then.
func (c *check) mayBeDeleted(user int, by Instant) bool {
	d := c.deleted[user]
	return d != nil && d.At <= by
}

// explained says whether somebody asked for a turn, or was deleted, at that time.
func (c *check) explained(p pair, t turn, deeds []*Deed) bool {
	for _, user := range p {
		if c.mayBeDeleted(user, t.begun+clockSlack) && t.kind != kindSent && t.kind != kindAdded {
			return true
		}
	}
	if t.kind == kindSent { // version 1 takes part in what is recorded as a send
		for _, s := range c.sent[requestOf(t.by)] {
			if pairOf(s.Sender, s.Recipient) == p {
				return true
			}
		}
	}
	return slices.ContainsFunc(deeds, func(d *Deed) bool {
		until := d.Answered
		if d.Outcome == Unanswered || d.Outcome == Failed {
			until = d.At + ghostTime
		}
		return d.leadsTo(t) && d.At <= t.begun+clockSlack && t.begun <= until+clockSlack
	})
}

// leadsTo says whether a deed can be what a turn comes of.
func (d *Deed) leadsTo(t turn) bool {
	switch t.kind {
	case kindSent:
		return d.Act == ActRequest && d.User == t.by
	case kindAdded:
		return d.Act == ActAccept || d.Act == ActRequest
	case kindRemoved:
		return d.Act == ActRemove || d.Act == ActBlock
	case kindClosed:
		return d.Act == ActDeny || d.Act == ActCancel || d.Act == ActBlock
	case kindBlocked:
		return d.Act == ActBlock && d.User == t.by
	}
	return d.Act == ActUnblock && d.User == t.by
}

// checkList: whoever is on a list may be there then, and whoever is not need not be.
func (c *check) checkList(d *Deed) {
	check := func(list []int, isOn func(r relation, peer int) bool) {
		for _, peer := range list {
			if !c.story(d.User, peer).possible(d.At, d.Answered, func(r relation) bool { return isOn(r, peer) }) {
				c.found(RuleList, "%s of %d at %v has %d", d.Act, d.User, d.At, peer)
			}
		}
		for p, s := range c.stories {
			if p[0] != d.User && p[1] != d.User {
				continue
			}
			peer := p[0] + p[1] - d.User
			always := !s.possible(d.At, d.Answered, func(r relation) bool { return !isOn(r, peer) })
			if always && !slices.Contains(list, peer) && !c.mayBeDeleted(peer, d.Answered) {
				c.found(RuleList, "%s of %d at %v has not %d", d.Act, d.User, d.At, peer)
			}
		}
	}
	switch d.Act {
	case ActFriends:
		check(d.People, func(r relation, _ int) bool { return r.friends })
	case ActBlocked:
		check(d.People, func(r relation, _ int) bool { return r.blocks[d.User] > 0 })
	case ActRequests:
		check(d.People, func(r relation, peer int) bool { return r.asker == peer })
		check(d.Outgoing, func(r relation, _ int) bool { return r.asker == d.User })
	}
}

// checkFound: a user is found by the name until the account is deleted, and never
// another one.
func (c *check) checkFound(d *Deed) {
	found := d.Outcome == Acknowledged
	gone := c.deleted[d.Peer] != nil && d.At > c.deleted[d.Peer].Answered
	switch {
	case found && !slices.Equal(d.People, []int{d.Peer}):
		c.found(RuleList, "%d looked for %d at %v and found %v", d.User, d.Peer, d.At, d.People)
	case found && gone:
		c.found(RuleGone, "%d found %d at %v", d.User, d.Peer, d.At)
	case !found && !c.mayBeDeleted(d.Peer, d.Answered):
		c.found(RuleList, "%d did not find %d at %v", d.User, d.Peer, d.At)
	}
}

// checkLists: who asks at the end is answered just what the events have told, and two
// users the same of each other. A deleted account is on no list.
func (c *check) checkLists() {
	friends := map[int][]int{}
	for _, d := range c.Deeds {
		if !d.Last || d.Outcome != Acknowledged || c.deleted[d.User] != nil {
			continue
		}
		told := listsOf(c.told(d.User))
		switch d.Act {
		case ActFriends:
			friends[d.User] = d.People
			c.compare(d, d.People, told.Friends)
		case ActBlocked:
			c.compare(d, d.People, told.Blocked)
		case ActRequests:
			c.compare(d, d.People, told.Incoming)
			c.compare(d, d.Outgoing, told.Outgoing)
		}
	}
	for user, list := range friends {
		c.counts.Friends += len(list)
		for _, friend := range list {
			if theirs, asked := friends[friend]; asked && !slices.Contains(theirs, user) {
				c.found(RuleHalf, "%d is a friend of %d, and not the other way round", friend, user)
			}
		}
	}
}

func (c *check) compare(d *Deed, answered, told []int) {
	answered, told = slices.Sorted(slices.Values(answered)), slices.Sorted(slices.Values(told))
	if !slices.Equal(answered, told) {
		c.found(RuleSnapshot, "%s of %d at the end is %v, and the events tell %v", d.Act, d.User, answered, told)
	}
	for _, peer := range answered {
		if c.deleted[peer] != nil {
			c.found(RuleGone, "%s of %d at the end has %d", d.Act, d.User, peer)
		}
	}
}

// told are the events that came to a user, by seq.
func (c *check) told(user int) (events []Stored) {
	seen := map[int64]bool{}
	for _, r := range c.receipts[user] {
		if !seen[r.Seq] {
			seen[r.Seq] = true
			events = append(events, Stored{Seq: r.Seq, Kind: r.Kind, Sender: r.Sender})
		}
	}
	slices.SortFunc(events, func(a, b Stored) int { return int(a.Seq - b.Seq) })
	return events
}
