package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// deedShare is how many things a user of version 2 does, sends included, to a deed.
	deedShare = 2
	// reach is how far in the row of users those are with whom one deals: few, so that much
	// happens between two.
	reach = 6
	// deletedShare is how many users there are to one whose account is deleted.
	deletedShare = 12
	// calmDeletion is when the first account is deleted: amid the calm, when its sockets
	// have to end in time.
	calmDeletion = 2500 * time.Millisecond
)

// acts are what users do whether it can succeed or not, each as often as it is there.
var acts = []Act{
	ActRequest, ActRequest, ActRequest, ActAccept, ActDeny, ActCancel, ActRemove, ActBlock, ActUnblock, ActFriends,
	ActRequests, ActBlocked, ActFind, ActHistory, ActMark, ActMark, ActTyping, ActRevoke,
}

// sensible are the acts that can succeed with somebody who is on a list.
var sensible = struct{ friend, incoming, outgoing, blocked, stranger []Act }{
	friend: []Act{
		ActTyping, ActTyping, ActTyping, ActTyping, ActMark, ActMark, ActMark, ActHistory, ActFriends, ActRemove,
	},
	incoming: []Act{ActAccept, ActAccept, ActAccept, ActAccept, ActDeny, ActRequest},
	outgoing: []Act{ActCancel, ActHistory, ActRequests, ActRequests},
	blocked:  []Act{ActUnblock},
	stranger: []Act{ActRequest},
}

// chooseDeed picks an act and whom it is about: half of the time something that makes
// sense by what the user knows.
func (w *world) chooseDeed(random *rand.Rand, i int, peers []int) (act Act, peer int) {
	act, peer = acts[random.IntN(len(acts))], peers[random.IntN(len(peers))]
	known := w.rec.lists(w.ids[i])
	id := w.ids[peer]
	for _, choice := range []struct {
		list []int
		acts []Act
	}{
		{known.Incoming, sensible.incoming}, {known.Friends, sensible.friend},
		{known.Outgoing, sensible.outgoing}, {known.Blocked, sensible.blocked}, {[]int{id}, sensible.stranger},
	} {
		if slices.Contains(choice.list, id) && random.IntN(3) > 0 {
			return choice.acts[random.IntN(len(choice.acts))], peer
		}
	}
	return act, peer
}

// speaks2 says whether a user speaks version 2: see newUser.
func speaks2(i int) bool { return i%4 >= 2 }

// isDealing says whether two users do everything with each other that version 2 can:
// both speak it; or one does, and may block the other.
func isDealing(i, j int) bool {
	return speaks2(i) && speaks2(j) || speaks2(i) != speaks2(j) && (i+j)%3 == 0
}

// circle are those with whom a user of version 2 deals. The last user, who tells
// everybody of the end, stays out.
func (w *world) circle(i int) (peers []int) {
	last := len(w.users) - 1
	for j := max(0, i-reach); j <= min(i+reach, last-1); j++ {
		near := j-i <= 1 && i-j <= 1
		if j != i && i < last && speaks2(i) && isDealing(i, j) && (speaks2(j) || near) {
			peers = append(peers, j)
		}
	}
	return peers
}

// meddle has a user of version 2 do something other than sending, now and then.
func (w *world) meddle(ctx context.Context, random *rand.Rand, i int) bool {
	u, ok := w.users[i].(friendly)
	peers := w.circle(i)
	if !ok || len(peers) == 0 || random.IntN(deedShare) > 0 {
		return false
	}
	act, peer := w.chooseDeed(random, i, peers)
	d := &Deed{Act: act, Peer: w.ids[peer], Name: w.name(peer)}
	if !speaks2(peer) && act == ActRequest {
		d.Act = ActUnblock // what version 1 asks and is asked has no answer: see requestOf
	}
	if _, isClient := u.(*userC); isClient && d.Act == ActRevoke {
		return false // its state knows nothing of it
	}
	d.REST = d.Act == ActRevoke || ways[d.Act].path != "" && random.IntN(4) == 0
	u.do(ctx, d)
	return true
}

func (w *world) name(i int) string { return fmt.Sprintf("user-%d", i) }

// mortals are the users whose accounts are deleted, in their order. They have two raw
// sockets of version 2.
func (w *world) mortals() (mortal []int) {
	for i := deletedShare / 2; i < len(w.users)-1; i += deletedShare {
		mortal = append(mortal, i)
	}
	return mortal
}

func (w *world) gone(i int) bool {
	u, ok := w.users[i].(*user2)
	return ok && u.deleted.Load()
}

// living are those users who are left.
func (w *world) living() (left []int) {
	for i := range w.users {
		if !w.gone(i) {
			left = append(left, i)
		}
	}
	return left
}

// deleteSome deletes accounts in the course of the traffic: one amid the calm, most
// amid faults. The last one is left for later.
func (w *world) deleteSome(ctx, traffic context.Context) {
	random := rand.New(rand.NewPCG(w.settings.seed, 0))
	mortal := w.mortals()
	began, at := time.Now(), calmDeletion
	for _, i := range mortal[:len(mortal)-1] {
		if !sleepUntil(traffic, began.Add(at)) {
			return
		}
		w.delete(ctx, i)
		at += rand64(random, w.settings.duration/time.Duration(len(mortal))) // the last one well within the traffic
	}
}

// delete deletes the account of a user, and does not wait for that.
func (w *world) delete(ctx context.Context, i int) {
	w.users[i].(friendly).do(ctx, &Deed{Act: ActDelete, REST: true})
}
