package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The users of the histories below: alice and bob speak version 1, carol version 2.
const alice, bob, carol = 10000001, 10000002, 10000003

// sound is a small history in which everything is as it should be; a test breaks it.
// Each of bob and carol gets m1 to m3 from alice, at 1 s, 2 s and 3 s.
func sound() *History {
	h := &History{
		Versions: map[int]int{alice: 1, bob: 1, carol: 2},
		Inboxes:  map[int]Inbox{},
		End:      time.Minute,
	}
	for _, user := range []int{alice, bob, carol} {
		h.Sockets = append(h.Sockets, &Socket{User: user, Number: 1, Hidden: user == carol})
	}
	for n := 1; n <= 3; n++ {
		h.deliver(alice, bob, n)
		h.deliver(alice, carol, n)
	}
	return h
}

// deliver has the nth message from one user to another be sent, acknowledged, stored
// and received, n seconds after the begin.
func (h *History) deliver(from, to, n int) {
	at, content := time.Duration(n)*time.Second, fmt.Sprintf("m%d to %d", n, to)
	h.Sends = append(h.Sends, &Send{
		Sender: from, Recipient: to, Socket: 1, Content: content,
		At: at, Answered: at + 10*time.Millisecond, Outcome: Acknowledged,
	})
	inbox := h.Inboxes[to]
	inbox.Head++
	inbox.Stored = append(inbox.Stored, Stored{Seq: inbox.Head, Kind: kindMessage, Sender: from, Content: content, At: at})
	h.Inboxes[to] = inbox
	got := Receipt{User: to, Socket: 1, Kind: kindMessage, Sender: from, Content: content, At: at + 20*time.Millisecond}
	if h.Versions[to] == 2 {
		got.Socket, got.Seq = 0, inbox.Head
	}
	h.Receipts = append(h.Receipts, got)
}

// of finds the receipts of a user, by place.
func (h *History) of(user int) (places []int) {
	for i, r := range h.Receipts {
		if r.User == user {
			places = append(places, i)
		}
	}
	return places
}

// lose takes the nth receipt of a user away.
func (h *History) lose(user, n int) {
	i := h.of(user)[n-1]
	h.Receipts = slices.Delete(h.Receipts, i, i+1)
}

// again has a user get the nth receipt once more, at the end, on a socket.
func (h *History) again(user, n, socket int, at Instant) {
	r := h.Receipts[h.of(user)[n-1]]
	r.At = at
	r.Socket = socket
	h.Receipts = append(h.Receipts, r)
}

// reconnect gives a user a second socket.
func (h *History) reconnect(user int, at Instant) {
	for _, s := range h.Sockets {
		if s.User == user {
			s.Until = at
		}
	}
	h.Sockets = append(h.Sockets, &Socket{User: user, Number: 2, Asked: at, Since: at})
}

// open gives a user one more socket, beside those there are.
func (h *History) open(user, number int, at Instant) *Socket {
	s := &Socket{User: user, Number: number, Asked: at, Since: at}
	h.Sockets = append(h.Sockets, s)
	return s
}

// resume gives a user of version 2 a raw socket that goes on after a seq.
func (h *History) resume(user int, after int64) {
	for _, s := range h.Sockets {
		s.Hidden = s.Hidden || s.User == user
	}
	s := h.open(user, 1, 10*time.Second)
	s.Resumed, s.After = true, after
}

// ask has a friend request go from one user to another, as deliver has a message.
func (h *History) ask(from, to, n int) {
	h.deliver(from, to, n)
	content := requestOf(from)
	h.Sends[len(h.Sends)-1].Content = content
	h.Receipts[len(h.Receipts)-1].Kind, h.Receipts[len(h.Receipts)-1].Content = kindRequest, content
	stored := h.Inboxes[to].Stored
	asked := &stored[len(stored)-1]
	asked.Kind, asked.Content = kindRequest, content
	h.store(from, Stored{Kind: kindSent, Sender: to, At: asked.At})
}

// drop takes the last event out of the log.
func (h *History) drop(user int) Stored {
	inbox := h.Inboxes[user]
	last := inbox.Stored[len(inbox.Stored)-1]
	inbox.Stored, inbox.Head = inbox.Stored[:len(inbox.Stored)-1], inbox.Head-1
	h.Inboxes[user] = inbox
	return last
}

// store appends to the log.
func (h *History) store(user int, m Stored) {
	inbox := h.Inboxes[user]
	inbox.Head++
	m.Seq = inbox.Head
	inbox.Stored = append(inbox.Stored, m)
	h.Inboxes[user] = inbox
}

// refuse has a send to bob refused, at 10 s.
func (h *History) refuse(from, to int) {
	h.Sends = append(h.Sends, &Send{
		Sender: from, Recipient: to, Socket: 1, Content: "refused",
		At: 10 * time.Second, Answered: 10*time.Second + 5*time.Millisecond, Outcome: Refused,
	})
}

func (h *History) fault(kind Kind, user int, from, to Instant) {
	h.Windows = append(h.Windows, &Window{Kind: kind, User: user, From: from, To: to})
}

func TestEachRuleCanFail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks func(h *History)
		want   []Rule
	}{
		"acknowledged and not stored":           {func(h *History) { h.drop(bob); h.lose(bob, 3) }, []Rule{RuleLost}},
		"stored and not delivered to version 1": {func(h *History) { h.lose(bob, 3) }, []Rule{RuleLost, RuleBehind}},
		"stored and not delivered to version 2": {func(h *History) { h.lose(carol, 3) }, []Rule{RuleLost}},
		"unanswered, stored and not delivered": {func(h *History) {
			h.lose(bob, 3)
			h.Sends[4].Outcome = Unanswered
		}, []Rule{RuleUndelivered, RuleBehind}},
		"version 1 passes over a message on a socket": {func(h *History) {
			h.lose(bob, 2)
			h.reconnect(bob, 10*time.Second)
			h.Receipts = append(h.Receipts, Receipt{User: bob, Kind: kindMessage, Socket: 2, Sender: alice, Content: "m2 to 10000002", At: 11 * time.Second})
		}, []Rule{RuleGap, RuleBehind}},
		"version 1 passes over a message between sockets": {func(h *History) {
			h.lose(bob, 3)
			h.lose(bob, 2)
			h.reconnect(bob, 2500*time.Millisecond)
			h.Receipts = append(h.Receipts, Receipt{User: bob, Kind: kindMessage, Socket: 2, Sender: alice, Content: "m3 to 10000002", At: 11 * time.Second})
		}, []Rule{RuleLost, RuleGap}},
		"version 1 gets an old one on the same socket": {func(h *History) { h.again(bob, 2, 1, 4*time.Second) }, []Rule{RuleOrder}},
		"version 1 gets a confirmed one again": {func(h *History) {
			h.reconnect(bob, 10*time.Second)
			h.again(bob, 3, 2, 10*time.Second)
		}, []Rule{RuleRepeated}},
		"version 2 gets one twice":             {func(h *History) { h.again(carol, 3, 0, 4*time.Second) }, []Rule{RuleDuplicate}},
		"version 2 gets an old one":            {func(h *History) { h.again(carol, 1, 0, 4*time.Second) }, []Rule{RuleOrder}},
		"version 2 misses one":                 {func(h *History) { h.lose(carol, 2) }, []Rule{RuleLost, RuleGap}},
		"version 2 gets one under a wrong seq": {func(h *History) { h.Receipts[h.of(carol)[2]].Content = "m2 to 10000003" }, []Rule{RuleLost, RuleWrongPlace}},
		"an id that names another event":       {func(h *History) { h.Sends[3].ID = "10000003-3" }, []Rule{RuleWrongPlace}},
		"version 1 gets what is not stored": {func(h *History) {
			h.drop(bob)
			h.Sends[4].Outcome = Unanswered
		}, []Rule{RuleNotStored}},
		"the other of two sockets passes over a message": {func(h *History) {
			h.open(bob, 2, 500*time.Millisecond)
			h.again(bob, 1, 2, time.Second)
			h.again(bob, 3, 2, 3*time.Second)
		}, []Rule{RuleGap}},
		"the other of two sockets is left behind": {func(h *History) {
			h.open(bob, 2, 500*time.Millisecond)
			h.again(bob, 1, 2, time.Second)
		}, []Rule{RuleBehind}},
		"a resumed socket passes over a message": {func(h *History) {
			h.resume(carol, 1)
			h.again(carol, 3, 1, 4*time.Second)
		}, []Rule{RuleGap}},
		"a resumed socket gets again what its device had": {func(h *History) {
			h.resume(carol, 2)
			h.again(carol, 2, 1, 4*time.Second)
			h.again(carol, 3, 1, 4*time.Second)
		}, []Rule{RuleDuplicate}},
		"a login by pin gets again what was acknowledged": {func(h *History) {
			h.resume(carol, 0)
			h.Sockets[len(h.Sockets)-1].Resumed = false
			h.again(carol, 3, 1, 10*time.Second)
		}, []Rule{RuleRepeated}},
		"a friend request that waits does not come at a login": {func(h *History) {
			h.ask(alice, bob, 4)
			h.reconnect(bob, 10*time.Second)
			h.deliver(alice, bob, 11)
			h.Receipts[len(h.Receipts)-1].Socket = 2
		}, []Rule{RuleWaiting}},
		"a friend request comes again amid messages": {func(h *History) {
			h.ask(alice, bob, 4)
			h.deliver(alice, bob, 5)
			h.again(bob, 4, 1, 6*time.Second)
		}, []Rule{RuleOrder}},
		"stored twice": {func(h *History) {
			h.store(bob, Stored{Kind: kindMessage, Sender: alice, Content: "m3 to 10000002"})
			h.again(bob, 3, 1, 4*time.Second)
		}, []Rule{RuleStoredTwice}},
		"stored for somebody else": {func(h *History) {
			h.store(bob, Stored{Kind: kindMessage, Sender: alice, Content: "m3 to 10000003"})
			h.Receipts = append(h.Receipts, Receipt{User: bob, Kind: kindMessage, Socket: 1, Sender: alice, Content: "m3 to 10000003", At: 4 * time.Second})
		}, []Rule{RulePhantom, RulePhantom}},
		"received what nobody sent": {func(h *History) {
			h.Receipts = append(h.Receipts, Receipt{User: bob, Kind: kindMessage, Socket: 1, Sender: alice, Content: "boo", At: 4 * time.Second})
		}, []Rule{RulePhantom}},
		"a head beyond the log": {func(h *History) {
			inbox := h.Inboxes[bob]
			inbox.Head++
			h.Inboxes[bob] = inbox
		}, []Rule{RuleSeqs}},
		"a seq left out": {func(h *History) {
			inbox := h.Inboxes[bob]
			inbox.Stored[2].Seq = 4
			inbox.Head = 3
			h.Inboxes[bob] = inbox
		}, []Rule{RuleSeqs}},
		"a sender's messages change places": {func(h *History) {
			stored := h.Inboxes[bob].Stored
			stored[1].Content, stored[2].Content = stored[2].Content, stored[1].Content
			i := h.of(bob)
			h.Receipts[i[1]].Content, h.Receipts[i[2]].Content = h.Receipts[i[2]].Content, h.Receipts[i[1]].Content
		}, []Rule{RuleOrder, RuleRealTime}},
		"refused and stored": {func(h *History) {
			h.refuse(alice, bob)
			h.store(bob, Stored{Kind: kindMessage, Sender: alice, Content: "refused"})
			h.Receipts = append(h.Receipts, Receipt{User: bob, Kind: kindMessage, Socket: 1, Sender: alice, Content: "refused", At: 11 * time.Second})
		}, []Rule{RuleRefusedStored, RuleRefused}},
		"refused though connected": {func(h *History) { h.refuse(alice, bob) }, []Rule{RuleRefused}},
		"version 2 refused": {func(h *History) {
			h.reconnect(bob, 9*time.Second)
			h.Sockets = h.Sockets[:3]
			h.refuse(carol, bob)
		}, []Rule{RuleRefused}},
		"an answer without a request": {func(h *History) {
			h.Strays = append(h.Strays, Stray{User: bob, What: "an answer without a request"})
		}, []Rule{RuleStray}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sound()
			test.breaks(h)
			violations, _ := Check(*h)
			expectRules(t, violations, test.want)
		})
	}
}

func TestWhatIsAllowedIsNoViolation(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(h *History){
		"nothing happens": func(*History) {},
		"version 1 gets again what was not confirmed": func(h *History) {
			h.reconnect(bob, 4*time.Second)
			h.again(bob, 3, 2, 4*time.Second)
		},
		"version 1 gets again what could not be confirmed": func(h *History) {
			h.fault(KillPostgres, 0, 2*time.Second, 8*time.Second)
			h.reconnect(bob, 10*time.Second)
			h.again(bob, 3, 2, 10*time.Second)
		},
		"version 1 gets again what it did not read": func(h *History) {
			h.fault(FreezeReaders, bob, 2*time.Second, 8*time.Second)
			h.reconnect(bob, 9*time.Second)
			h.again(bob, 2, 2, 9*time.Second)
			h.again(bob, 3, 2, 9*time.Second)
		},
		"refused while away": func(h *History) {
			h.reconnect(bob, 9*time.Second)
			h.Sockets[3].Since = 12 * time.Second
			h.refuse(alice, bob)
		},
		"refused just before the end was noticed": func(h *History) {
			h.reconnect(bob, 11*time.Second)
			h.refuse(alice, bob)
		},
		"refused while Redis forgot": func(h *History) {
			h.fault(CutSubscribers, 0, 9*time.Second, 9100*time.Millisecond)
			h.refuse(alice, bob)
		},
		"refused while the server alone knew of the end": func(h *History) {
			h.fault(CutServers, bob, 9*time.Second, 11*time.Second)
			h.refuse(alice, bob)
		},
		"each of two sockets gets everything": func(h *History) {
			h.open(bob, 2, 500*time.Millisecond)
			for n := range 3 {
				h.again(bob, n+1, 2, time.Duration(n+1)*time.Second)
			}
		},
		"a resumed socket goes on where its device was": func(h *History) {
			h.resume(carol, 1)
			h.again(carol, 2, 1, 10*time.Second)
			h.again(carol, 3, 1, 10*time.Second)
		},
		"a friend request comes at every login": func(h *History) {
			h.ask(alice, bob, 4)
			h.reconnect(bob, 10*time.Second)
			h.again(bob, 4, 2, 10*time.Second)
			h.deliver(alice, bob, 11)
			h.Receipts[len(h.Receipts)-1].Socket = 2
		},
		"an event of another kind is passed silently": func(h *History) {
			h.store(bob, Stored{Kind: kindTombstone, Sender: alice})
			h.store(carol, Stored{Kind: kindTombstone, Sender: alice})
			h.deliver(alice, bob, 5)
			h.deliver(alice, carol, 5)
		},
		"version 1 gets again what a busy machine had no time to confirm": func(h *History) {
			for at := time.Duration(0); at < time.Minute; at += 20 * time.Millisecond {
				if at < 3*time.Second || at > 9*time.Second {
					h.Beats = append(h.Beats, at)
				}
			}
			h.reconnect(bob, 10*time.Second)
			h.again(bob, 3, 2, 10*time.Second)
		},
		"unanswered and not stored": func(h *History) {
			h.drop(bob)
			h.lose(bob, 3)
			h.Sends[4].Outcome = Unanswered
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sound()
			breaks(h)
			violations, _ := Check(*h)
			expectRules(t, violations, nil)
		})
	}
}

func TestOtherFaultsExcuseNothing(t *testing.T) {
	t.Parallel()
	h := sound()
	h.fault(KillAccounts, 0, 0, time.Minute)
	h.fault(DrainGateway, 0, 0, time.Minute)
	h.fault(KillGateway, 0, 0, time.Minute)
	h.fault(LogOut, 0, 0, time.Minute)
	h.fault(FreezeReaders, carol, 0, time.Minute)
	h.refuse(alice, bob)
	h.reconnect(bob, 20*time.Second)
	h.again(bob, 3, 2, 20*time.Second)
	violations, _ := Check(*h)
	expectRules(t, violations, []Rule{RuleRefused, RuleRepeated})
}

func TestCounts(t *testing.T) {
	t.Parallel()
	h := sound()
	h.Sends[5].Answered = 9 * time.Second
	h.fault(KillPostgres, 0, 2*time.Second, 8*time.Second)
	h.reconnect(bob, 8*time.Second)
	h.again(bob, 3, 2, 8*time.Second)
	violations, n := Check(*h)
	expectRules(t, violations, nil)
	if n.Acknowledged != 6 || n.Stored != 6 || n.Delivered != 7 || n.Repeated != 1 || n.Faults[KillPostgres] != 1 {
		t.Errorf("%+v", n)
	}
}

func TestAGapInServiceIsOneOfTheTraffic(t *testing.T) {
	t.Parallel()
	h := sound()
	h.Sends[5].Answered = 9 * time.Second
	for _, c := range []struct{ ended, want, from time.Duration }{
		{10 * time.Second, 5990 * time.Millisecond, 3010 * time.Millisecond},
		{9 * time.Second, 5990 * time.Millisecond, 3010 * time.Millisecond}, // from the last to the end
		{4 * time.Second, 1010 * time.Millisecond, 0},
	} {
		if gap, from := h.longestGap(0, c.ended); gap != c.want || from != c.from {
			t.Errorf("until %v it is %v, from %v", c.ended, gap, from)
		}
	}
}

// expectRules wants each rule, and no other, to be broken as often as it is named.
func expectRules(t *testing.T, violations []Violation, want []Rule) {
	t.Helper()
	var got []Rule
	var text []string
	for _, v := range violations {
		got = append(got, v.Rule)
		text = append(text, v.String())
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant the rules %q", strings.Join(text, "\n"), want)
	}
}
