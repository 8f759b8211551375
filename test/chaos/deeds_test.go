package chaos

import (
	"fmt"
	"testing"
	"time"
)

// dave speaks version 2, as carol does.
const dave = 10000004

// tell puts an event into the log of a user of version 2, to whom it comes.
func (h *History) tell(user int, kind string, peer int, at Instant) {
	seq := h.Inboxes[user].Head + 1
	content := h.wording(user, peer, kind, seq, "")
	h.store(user, Stored{Kind: kind, Sender: peer, Content: content, At: at})
	h.Receipts = append(h.Receipts, Receipt{User: user, Kind: kind, Seq: seq, Sender: peer, Content: content, At: at + 20*time.Millisecond})
}

// did has a user do something, and be answered.
func (h *History) did(user int, act Act, peer int, at Instant) *Deed {
	d := &Deed{User: user, Act: act, Peer: peer, At: at, Answered: at + 10*time.Millisecond, Outcome: Acknowledged}
	h.Deeds = append(h.Deeds, d)
	return d
}

// asks is what somebody asks for when everything is over.
func (h *History) asks(user int, act Act, people ...int) *Deed {
	d := h.did(user, act, 0, time.Minute)
	d.Last, d.People = true, people
	return d
}

// friends is a sound history in which carol, who has asked dave at 10 s, is his friend
// from 11 s on. He reads what she writes at 12 s, and she hears of that. At the end
// both ask for everything.
func friends() *History {
	h := sound()
	h.Versions[dave] = 2
	h.Sockets = append(h.Sockets, &Socket{User: dave, Number: 1, Hidden: true})
	h.did(carol, ActRequest, dave, 10*time.Second)
	h.tell(carol, kindSent, dave, 10*time.Second)
	h.tell(dave, kindRequest, carol, 10*time.Second)
	h.did(dave, ActAccept, carol, 11*time.Second)
	h.tell(carol, kindAdded, dave, 11*time.Second)
	h.tell(dave, kindAdded, carol, 11*time.Second)
	h.deliver(carol, dave, 12)
	h.did(dave, ActMark, carol, 13*time.Second).Seq = 3
	for at, state := range map[Instant]string{13: "delivered", 14: "read"} {
		h.pass(Passing{User: carol, Kind: "receipt", Peer: dave, State: state, ID: eventID(dave, 3), At: at * time.Second})
	}
	h.asks(carol, ActFriends, dave)
	h.asks(dave, ActFriends, carol)
	for _, user := range []int{carol, dave} {
		d := h.asks(user, ActHistory)
		d.Peer = carol + dave - user
		d.Said = []Said{{ID: eventID(dave, 3), Sender: carol, Content: "m12 to 10000004"}}
		if user == carol {
			d.Said[0].State = "read"
		}
	}
	return h
}

func (h *History) pass(p Passing) { h.Passings = append(h.Passings, p) }

// last is the newest deed of an act by a user.
func (h *History) last(user int, act Act) (last *Deed) {
	for _, d := range h.Deeds {
		if d.User == user && d.Act == act {
			last = d
		}
	}
	return last
}

// part ends the friendship of carol and dave, as one of them does it.
func (h *History) part(by int, act Act, at Instant) {
	h.did(by, act, carol+dave-by, at)
	h.tell(carol, kindRemoved, dave, at)
	h.tell(dave, kindRemoved, carol, at)
	h.last(carol, ActFriends).People, h.last(dave, ActFriends).People = nil, nil
}

// block has carol block dave, at 20 s.
func (h *History) block() {
	h.part(carol, ActBlock, 20*time.Second)
	h.tell(carol, kindBlocked, dave, 20*time.Second)
}

// erase deletes the account of dave, at 30 s.
func (h *History) erase() {
	h.did(dave, ActDelete, 0, 30*time.Second)
	h.Inboxes[dave] = Inbox{Head: -1}
	h.tell(carol, kindRemoved, dave, 30*time.Second)
	for _, s := range h.Sockets {
		if s.User == dave {
			s.Until, s.Code = 30*time.Second+20*time.Millisecond, sessionOver
		}
	}
	h.last(carol, ActFriends).People, h.last(carol, ActHistory).Said = nil, nil
}

func TestEachRuleOfWhatUsersDoCanFail(t *testing.T) {
	t.Parallel()
	const late = 40 * time.Second
	for name, test := range map[string]struct {
		breaks func(h *History)
		want   []Rule
	}{
		"one of two is not told of the end of a friendship": {func(h *History) {
			h.did(carol, ActRemove, dave, late)
			h.tell(carol, kindRemoved, dave, late)
			h.last(carol, ActFriends).People = nil
		}, []Rule{RuleStory, RuleHalf}},
		"an event that makes no sense": {func(h *History) {
			h.tell(carol, kindUnblocked, dave, late)
		}, []Rule{RuleStory}},
		"a friendship ends by itself": {func(h *History) {
			h.part(dave, ActTyping, late)
		}, []Rule{RuleUnexplained}},
		"a friendship ends long after somebody asked for that": {func(h *History) {
			h.part(dave, ActRemove, late)
			h.last(dave, ActRemove).At, h.last(dave, ActRemove).Answered = 13*time.Second, 14*time.Second
		}, []Rule{RuleUnexplained, RuleNotDone}},
		"a block that was answered and is not there": {func(h *History) {
			h.did(carol, ActBlock, alice, late)
		}, []Rule{RuleNotDone}},
		"a friend is not removed": {func(h *History) {
			h.did(carol, ActRemove, dave, late).Outcome = Refused
		}, []Rule{RuleWronglyRefused}},
		"a list amid all has not a friend": {func(h *History) {
			h.did(carol, ActFriends, 0, late)
			h.Deeds[len(h.Deeds)-1].People = nil
		}, []Rule{RuleList}},
		"a list amid all has a stranger": {func(h *History) {
			h.did(carol, ActFriends, 0, late).People = []int{dave, alice}
		}, []Rule{RuleList}},
		"another user is found by a name": {func(h *History) {
			h.did(carol, ActFind, dave, late).People = []int{alice}
		}, []Rule{RuleList}},
		"a list at the end is not what the events told": {func(h *History) {
			h.asks(carol, ActBlocked, dave)
		}, []Rule{RuleList, RuleSnapshot}},
		"half a friendship": {func(h *History) {
			h.last(dave, ActFriends).People = nil
		}, []Rule{RuleList, RuleSnapshot, RuleHalf}},
		"a message comes through a block": {func(h *History) {
			h.block()
			h.deliver(dave, carol, 41)
			h.last(carol, ActHistory).Said = append(h.last(carol, ActHistory).Said, Said{ID: eventID(carol, 8), Sender: dave, Content: "m41 to 10000003"})
			h.last(dave, ActHistory).Said = append(h.last(dave, ActHistory).Said, Said{ID: eventID(carol, 8), Sender: dave, Content: "m41 to 10000003"})
		}, []Rule{RuleThroughBlock}},
		"history lacks a message": {func(h *History) {
			h.last(carol, ActHistory).Said = nil
		}, []Rule{RuleHistory, RuleHistory}},
		"history has a message twice": {func(h *History) {
			d := h.last(dave, ActHistory)
			d.Said = append(d.Said, d.Said[0])
		}, []Rule{RuleHistory, RuleHistory}},
		"a page amid all lacks a message": {func(h *History) {
			h.did(carol, ActHistory, dave, late)
		}, []Rule{RuleHistory}},
		"history has other words": {func(h *History) {
			h.did(carol, ActHistory, dave, late).Said = []Said{{ID: eventID(dave, 3), Sender: carol, Content: "boo"}}
		}, []Rule{RuleHistory}},
		"a receipt comes before the message": {func(h *History) {
			h.Passings[0].At, h.Passings[1].At = 12*time.Second, 12*time.Second
		}, []Rule{RuleReceipt, RuleReceipt}},
		"history tells that something was read which was not": {func(h *History) {
			h.last(dave, ActMark).Seq = 1
			h.Passings = nil
		}, []Rule{RuleReceipt}},
		"a read mark is lost": {func(h *History) {
			h.last(carol, ActHistory).Said[0].State = "delivered"
		}, []Rule{RuleMark}},
		"a copy comes twice": {func(h *History) {
			for range 2 {
				h.pass(Passing{User: carol, Socket: 2, Kind: "sent", Peer: dave, ID: eventID(dave, 3), Content: "m12 to 10000004", At: late})
			}
		}, []Rule{RuleCopy}},
		"a copy of what is not stored": {func(h *History) {
			h.pass(Passing{User: carol, Socket: 2, Kind: "sent", Peer: dave, ID: eventID(dave, 4), Content: "m13 to 10000004", At: late})
		}, []Rule{RuleCopy}},
		"nobody typed": {func(h *History) {
			h.did(dave, ActTyping, carol, 12*time.Second)
			h.pass(Passing{User: dave, Kind: "typing", Peer: carol, At: 13 * time.Second})
		}, []Rule{RulePassing}},
		"nothing was read on another socket": {func(h *History) {
			h.pass(Passing{User: dave, Kind: "read", Peer: carol, ID: eventID(dave, 4), At: late})
		}, []Rule{RulePassing}},
		"a friend who is offline seems to be online": {func(h *History) {
			h.Views = append(h.Views, View{User: carol, Online: []int{dave}})
		}, []Rule{RulePresence}},
		"a socket outlives its session": {func(h *History) {
			h.erase()
			h.Sockets[len(h.Sockets)-1].Until = 32 * time.Second
		}, []Rule{RuleOutlived}},
		"a socket outlives its session for good": {func(h *History) {
			h.did(carol, ActRevoke, 0, late)
		}, []Rule{RuleOutlived}},
		"a socket is closed with another code": {func(h *History) {
			h.erase()
			h.Sockets[len(h.Sockets)-1].Code = 4001
		}, []Rule{RuleOutlived}},
		"a deleted account is found by its name": {func(h *History) {
			h.erase()
			h.did(carol, ActFind, dave, late).People = []int{dave}
		}, []Rule{RuleGone}},
		"a deleted account is still a friend": {func(h *History) {
			h.erase()
			h.last(carol, ActFriends).People = []int{dave}
		}, []Rule{RuleList, RuleSnapshot, RuleGone}},
		"a deleted account is still in history": {func(h *History) {
			h.erase()
			h.last(carol, ActHistory).Said = []Said{{ID: eventID(dave, 3), Sender: carol, Content: "m12 to 10000004"}}
		}, []Rule{RuleGone}},
		"the words of a deleted account are still there": {func(h *History) {
			h.deliver(dave, carol, 15)
			h.erase()
		}, []Rule{RuleGone}},
		"what a deleted account wrote has no tombstone": {func(h *History) {
			h.deliver(dave, carol, 15)
			h.Sends[len(h.Sends)-1].ID = eventID(carol, 5)
			h.Inboxes[carol].Stored[5] = Stored{Seq: 6, Kind: kindTombstone}
			h.erase()
		}, []Rule{RuleGone}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := friends()
			test.breaks(h)
			violations, _ := Check(*h)
			expectRules(t, violations, test.want)
		})
	}
}

func TestWhatUsersMayDoIsNoViolation(t *testing.T) {
	t.Parallel()
	for name, allowed := range map[string]func(h *History){
		"they are friends":                func(*History) {},
		"they part":                       func(h *History) { h.part(dave, ActRemove, 20*time.Second) },
		"one blocks the other, and holds": func(h *History) { h.block(); h.asks(carol, ActBlocked, dave) },
		"one blocks the other, who is refused": func(h *History) {
			h.block()
			h.refuse(dave, carol)
			s := h.Sends[len(h.Sends)-1]
			s.At, s.Answered = 21*time.Second, 22*time.Second
		},
		"something may have been done that was not answered": func(h *History) {
			h.part(dave, ActRemove, 20*time.Second)
			h.last(dave, ActRemove).Outcome = Unanswered
		},
		"something was not done that was not answered": func(h *History) {
			h.did(dave, ActRemove, carol, 20*time.Second).Outcome = Unanswered
		},
		"typing is told": func(h *History) {
			h.did(dave, ActTyping, carol, 20*time.Second)
			h.pass(Passing{User: carol, Kind: "typing", Peer: dave, At: 20*time.Second + 5*time.Millisecond})
		},
		"a copy is told on each of two sockets": func(h *History) {
			for socket := range 2 {
				h.pass(Passing{User: carol, Socket: socket, Kind: "sent", Peer: dave, ID: eventID(dave, 3), Content: "m12 to 10000004"})
			}
		},
		"an account is deleted": func(h *History) { h.erase() },
		"an account is deleted that had blocked somebody": func(h *History) {
			h.refuse(carol, dave)
			h.did(carol, ActRequest, dave, 5*time.Second).Outcome = Refused
			h.erase()
		},
		"an account is deleted that wrote something": func(h *History) {
			h.deliver(dave, carol, 15)
			h.Sends[len(h.Sends)-1].ID = eventID(carol, 6)
			h.Inboxes[carol].Stored[5] = Stored{Seq: 6, Kind: kindTombstone}
			h.erase()
		},
		"a message of a deleted account was under way for long": func(h *History) {
			h.deliver(dave, carol, 40)
			h.erase()
			h.last(carol, ActHistory).Said = []Said{{ID: eventID(carol, 6), Sender: dave, Content: "m40 to 10000003"}}
		},
		"a socket goes late amid a fault": func(h *History) {
			h.fault(KillRedis, 0, 29*time.Second, 31*time.Second)
			h.erase()
			h.Sockets[len(h.Sockets)-1].Until = 33 * time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := friends()
			allowed(h)
			violations, _ := Check(*h)
			expectRules(t, violations, nil)
		})
	}
}

// A user with two sockets gets each event on both.
func TestTheListsOfAUserFollowEachEventOnce(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.user(carol, 2)
	r.user(dave, 2)
	for i, kind := range []string{kindSent, kindAdded, kindRemoved, kindBlocked} {
		for range 2 { // on two sockets
			r.receipt(nil, Receipt{User: carol, Kind: kind, Seq: int64(i + 1), Sender: dave})
		}
	}
	if got := fmt.Sprint(r.lists(carol)); got != fmt.Sprint(lists{Blocked: []int{dave}}) {
		t.Errorf("carol knows %v", got)
	}
}
