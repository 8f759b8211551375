package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"pymessage/client"
)

func compare(want, got snapshot) string { return gocmp.Diff(want, got, cmpopts.EquateEmpty()) }

// steps is how many random steps a run of the model has; MODEL_STEPS makes it longer.
func steps(t *testing.T) int {
	if s := os.Getenv("MODEL_STEPS"); s != "" {
		n, err := strconv.Atoi(s)
		fatal(t, err)
		return n
	}
	return 120
}

// player is a user with a socket at each of two gateways.
type player struct {
	id      int
	name    string
	sockets [2]*client.Client
	views   [2]*view
}

// players makes users, and follows what their sockets are told.
func players(t *testing.T, n int) (all []*player) {
	t.Helper()
	for range n {
		p := &player{name: uniqueName("model")}
		for i, base := range gateways {
			v := newView()
			c, err := client.New(client.Config{
				URLs: []string{"ws" + strings.TrimPrefix(base, "http") + "/"}, Username: p.name, Pin: "1234", Create: i == 0,
				OnEvent: v.onEvent, OnPassing: v.onPassing,
			})
			fatal(t, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = c.Run(context.WithoutCancel(t.Context()))
			}()
			t.Cleanup(func() { c.Close(); <-ended })
			p.id, err = c.Ready(t.Context())
			fatal(t, err)
			v.mu.Lock()
			v.me = p.id
			v.mu.Unlock()
			p.sockets[i], p.views[i] = c, v
		}
		all = append(all, p)
	}
	return all
}

// model is what ought to be.
type model struct {
	players   []*player
	snapshots map[int]*snapshot
}

func newModel(all []*player) *model {
	m := &model{players: all, snapshots: map[int]*snapshot{}}
	for _, p := range all {
		m.snapshots[p.id] = &snapshot{Said: map[int][]string{}}
	}
	return m
}

// deed is something that a user can do about another, and what the model makes of it:
// the code of the error, or none.
type deed struct {
	name string
	do   func(c *client.Client, ctx context.Context, user int) error
	rule func(mine, theirs *snapshot, me, user int) client.Code
}

var deeds = []deed{
	{"request", (*client.Client).RequestFriend, func(mine, theirs *snapshot, me, user int) client.Code {
		switch {
		case me == user, slices.Contains(mine.Friends, user), slices.Contains(mine.Blocked, user), slices.Contains(theirs.Blocked, me):
			return client.ErrRequestFailed
		case slices.Contains(mine.Incoming, user):
			befriend(mine, theirs, me, user)
		case !slices.Contains(mine.Outgoing, user):
			add(&mine.Outgoing, user)
			add(&theirs.Incoming, me)
		}
		return ""
	}},
	{"accept", (*client.Client).AcceptFriend, func(mine, theirs *snapshot, me, user int) client.Code {
		if !slices.Contains(mine.Incoming, user) {
			return client.ErrNoRequest
		}
		befriend(mine, theirs, me, user)
		return ""
	}},
	{"deny", (*client.Client).DenyFriend, func(mine, theirs *snapshot, me, user int) client.Code {
		if !drop(&mine.Incoming, user) {
			return client.ErrNoRequest
		}
		drop(&theirs.Outgoing, me)
		return ""
	}},
	{"cancel", (*client.Client).CancelRequest, func(mine, theirs *snapshot, me, user int) client.Code {
		if !drop(&mine.Outgoing, user) {
			return client.ErrNoRequest
		}
		drop(&theirs.Incoming, me)
		return ""
	}},
	{"remove", (*client.Client).RemoveFriend, func(mine, theirs *snapshot, me, user int) client.Code {
		if !drop(&mine.Friends, user) {
			return client.ErrNotFriend
		}
		drop(&theirs.Friends, me)
		return ""
	}},
	{"block", (*client.Client).Block, func(mine, theirs *snapshot, me, user int) client.Code {
		if me == user {
			return client.ErrBlockFailed
		}
		for _, list := range []*[]int{&mine.Friends, &mine.Incoming, &mine.Outgoing} {
			drop(list, user)
		}
		for _, list := range []*[]int{&theirs.Friends, &theirs.Incoming, &theirs.Outgoing} {
			drop(list, me)
		}
		add(&mine.Blocked, user)
		return ""
	}},
	{"unblock", (*client.Client).Unblock, func(mine, _ *snapshot, _, user int) client.Code {
		if !drop(&mine.Blocked, user) {
			return client.ErrNotBlocked
		}
		return ""
	}},
}

func befriend(mine, theirs *snapshot, me, user int) {
	for _, list := range []*[]int{&mine.Incoming, &mine.Outgoing} {
		drop(list, user)
	}
	for _, list := range []*[]int{&theirs.Incoming, &theirs.Outgoing} {
		drop(list, me)
	}
	add(&mine.Friends, user)
	add(&theirs.Friends, me)
}

// step lets somebody do something, and says what.
func (m *model) step(t *testing.T, random *rand.Rand, number int) string {
	t.Helper()
	from, to := m.players[random.IntN(len(m.players))], m.players[random.IntN(len(m.players))]
	socket := random.IntN(2)
	mine, theirs := m.snapshots[from.id], m.snapshots[to.id]
	if random.IntN(3) == 0 {
		return m.send(t, from, to, socket, fmt.Sprint("message ", number))
	}
	d := deeds[random.IntN(len(deeds))]
	what := fmt.Sprintf("step %d: %s of %d about %d", number, d.name, from.id, to.id)
	err := d.do(from.sockets[socket], t.Context(), to.id)
	if want := d.rule(mine, theirs, from.id, to.id); (want == "") != (err == nil) || want != "" && !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %q", what, err, want)
	}
	return what
}

func (m *model) send(t *testing.T, from, to *player, socket int, content string) string {
	t.Helper()
	what := fmt.Sprintf("%d sends %q to %d", from.id, content, to.id)
	result, err := from.sockets[socket].Send(t.Context(), to.id, content)
	mine, theirs := m.snapshots[from.id], m.snapshots[to.id]
	if slices.Contains(mine.Blocked, to.id) || slices.Contains(theirs.Blocked, from.id) {
		if !errors.Is(err, client.ErrNotConnected) {
			t.Fatalf("%s: %v", what, err)
		}
		return what
	}
	fatal(t, err)
	message := said(result.SentAt, result.ID, from.id, content)
	mine.say(to.id, message)
	if from != to {
		theirs.say(from.id, message)
	}
	from.views[socket].sent(to.id, result, content)
	return what
}

func (s *snapshot) say(peer int, message string) {
	s.Said[peer] = append(s.Said[peer], message)
	slices.Sort(s.Said[peer])
}

func (m *model) ids() (ids []int) {
	for _, p := range m.players {
		ids = append(ids, p.id)
	}
	return ids
}

// TestWhatSocketsAreToldIsWhatAskingTells lets users do whatever they can, on sockets
// at two gateways. After each step every socket must have been told what is so by the
// model, and who asks anew must be answered just that.
func TestWhatSocketsAreToldIsWhatAskingTells(t *testing.T) {
	t.Parallel()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 9))
	m := newModel(players(t, 3))
	for number := range steps(t) {
		what := m.step(t, random, number)
		for _, p := range m.players {
			for _, v := range p.views {
				v.await(t, what, *m.snapshots[p.id])
			}
		}
		p := m.players[random.IntN(len(m.players))]
		if diff := compare(*m.snapshots[p.id], ask(t, p.sockets[random.IntN(2)], m.ids())); diff != "" {
			t.Fatalf("%s: %d asks (-model +answer):\n%s", what, p.id, diff)
		}
	}
	for _, p := range m.players {
		for _, v := range p.views {
			if len(v.odd) > 0 {
				t.Errorf("%d was told what it knew: %v", p.id, v.odd)
			}
		}
	}
}

// TestWhateverUsersDoAtOnceBothSidesAgree has no model of what is right at a moment,
// only of what is in the end.
func TestWhateverUsersDoAtOnceBothSidesAgree(t *testing.T) {
	t.Parallel()

	all := players(t, 3)
	var group errgroup.Group
	for i, p := range all {
		for j, socket := range p.sockets {
			random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			group.Go(func() error { return meddle(t.Context(), random, p, socket, p.views[j], all, steps(t)) })
		}
	}
	fatal(t, group.Wait())
	answers := map[int]snapshot{}
	ids := newModel(all).ids()
	for _, p := range all {
		answers[p.id] = ask(t, p.sockets[0], ids)
		for _, v := range p.views {
			awaitUnordered(t, v, answers[p.id])
		}
	}
	for _, a := range ids {
		for _, b := range ids {
			mine, theirs := answers[a], answers[b]
			friends := slices.Contains(mine.Friends, b)
			asked := slices.Contains(mine.Outgoing, b)
			blocks := slices.Contains(mine.Blocked, b) || slices.Contains(theirs.Blocked, a)
			switch {
			case friends != slices.Contains(theirs.Friends, a), asked != slices.Contains(theirs.Incoming, a):
				t.Errorf("half a friendship or request of %d and %d: %+v, %+v", a, b, mine, theirs)
			case friends && asked, blocks && (friends || asked):
				t.Errorf("%d and %d are too much at once: %+v, %+v", a, b, mine, theirs)
			case gocmp.Diff(mine.Said[b], theirs.Said[a]) != "":
				t.Errorf("%d and %d remember different conversations", a, b)
			}
		}
	}
}

// meddle does random things without waiting for anything but the answers.
func meddle(ctx context.Context, random *rand.Rand, p *player, c *client.Client, v *view, all []*player, n int) error {
	for number := range n {
		to := all[random.IntN(len(all))]
		if random.IntN(3) == 0 {
			content := fmt.Sprint(number)
			switch result, err := c.Send(ctx, to.id, content); {
			case err == nil:
				v.sent(to.id, result, content)
			case !errors.Is(err, client.ErrNotConnected):
				return err
			}
			continue
		}
		err := deeds[random.IntN(len(deeds))].do(c, ctx, to.id)
		if answer := (*client.Error)(nil); err != nil && (!errors.As(err, &answer) || answer.RetryAfter > 0) {
			return fmt.Errorf("user %d: %w", p.id, err) // the store did not answer
		}
	}
	return nil
}

func awaitUnordered(t *testing.T, v *view, want snapshot) {
	t.Helper()
	late := time.After(patience)
	for {
		diff := compare(want.unordered(), v.snapshot().unordered())
		if diff == "" {
			return
		}
		select {
		case <-v.changed:
		case <-late:
			t.Fatalf("user %d was not told what is (-answer +told):\n%s", v.me, diff)
		}
	}
}
