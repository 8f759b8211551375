package social

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"pymessage/services/social/socialapi"
)

// modelRetention is kept, in hours; time goes by the hour.
const modelRetention = 3

// modelEvent is an event of an inbox as it ought to be.
type modelEvent struct {
	seq     int64
	peer    int
	content string // empty: no message
	step    int    // in which it was stored
	hours   int    // how old it is
}

// modelInbox is an inbox as it ought to be.
type modelInbox struct {
	events   []modelEvent // from oldest on
	oldest   int64
	position int64
}

func (b *modelInbox) head() int64 { return b.oldest + int64(len(b.events)) - 1 }

func (b *modelInbox) prune() (pruned int) {
	for len(b.events) > 0 && b.events[0].hours >= modelRetention && b.oldest <= b.position {
		b.events = b.events[1:]
		b.oldest++
		pruned++
	}
	return pruned
}

// retentionModel is a store beside what ought to be in it.
type retentionModel struct {
	*world
	random  *rand.Rand
	users   []int
	inboxes map[int]*modelInbox
	number  int // of the step
}

func (m *retentionModel) user() int { return m.users[m.random.IntN(len(m.users))] }

func (m *retentionModel) send() {
	var batch []socialapi.Message
	for i := range m.random.IntN(5) + 1 {
		batch = append(batch, message(m.user(), m.user(), fmt.Sprint(m.number, "-", i)))
	}
	for i, r := range m.world.send("model", int64(m.number), batch...).Results {
		m.add(batch[i].Recipient, modelEvent{seq: r.Seq, peer: batch[i].Sender, content: batch[i].Content, step: m.number})
	}
}

func (m *retentionModel) add(user int, e modelEvent) {
	m.t.Helper()
	b := m.inboxes[user]
	if e.seq != b.head()+1 {
		m.t.Fatalf("step %d: seq %d of %d, want %d", m.number, e.seq, user, b.head()+1)
	}
	b.events = append(b.events, e)
}

func (m *retentionModel) meddle() {
	actor, user := twoOf(m.random, m.users)
	change, err := m.do(m.t.Context(), actor, user, actions[m.random.IntN(len(actions)-2)]) // no blocks
	if err != nil {
		return // it may not be
	}
	slices.SortFunc(change.Rings, func(a, b socialapi.Ring) int { return cmp.Compare(a.Event.Seq, b.Event.Seq) })
	for _, r := range change.Rings {
		m.add(r.User, modelEvent{seq: r.Event.Seq, peer: r.Event.Peer, step: m.number})
	}
}

func (m *retentionModel) deliver() {
	user := m.user()
	b := m.inboxes[user]
	upto := m.random.Int64N(b.head() + 1)
	m.setPositions(socialapi.UserSeq{User: user, Seq: upto})
	b.position = max(b.position, upto)
}

func (m *retentionModel) hour() {
	for _, table := range []string{"events", "history"} {
		m.exec(`UPDATE ` + table + ` SET sent_at = sent_at - interval '1 hour'`)
	}
	for _, b := range m.inboxes {
		for i := range b.events {
			b.events[i].hours++
		}
	}
}

func (m *retentionModel) prune() {
	m.t.Helper()
	want := 0
	for _, b := range m.inboxes {
		want += b.prune()
	}
	if got := m.pruneOlder(modelRetention*time.Hour - time.Minute); got != want {
		m.t.Fatalf("step %d: %d were pruned, want %d", m.number, got, want)
	}
}

// checkInbox reads an inbox after some seq, perhaps one that is not kept.
func (m *retentionModel) checkInbox() {
	m.t.Helper()
	user := m.user()
	b := m.inboxes[user]
	after := m.random.Int64N(b.head() + 1)
	page, err := m.client.Read(m.t.Context(), socialapi.ReadRequest{User: user, After: after, Limit: 7})
	if err != nil {
		m.t.Fatal(err)
	}
	var got, want []modelEvent
	for _, e := range page.Events {
		got = append(got, modelEvent{seq: e.Seq, peer: e.Peer, content: e.Content})
	}
	for _, e := range b.events {
		if e.seq > after && len(want) < 7 {
			want = append(want, modelEvent{seq: e.seq, peer: e.peer, content: e.content})
		}
	}
	diff := gocmp.Diff(want, got, gocmp.AllowUnexported(modelEvent{}))
	o := m.open(user)
	if diff != "" || page.Oldest != b.oldest || o.Oldest != b.oldest || o.Head != b.head() || o.Position != b.position {
		m.t.Fatalf("step %d: inbox of %d after %d (-model +store):\n%s\npage %+v, opening %+v, want %+v", m.number, user, after, diff, page, o, b)
	}
}

// checkHistory reads a conversation in pages of some length.
func (m *retentionModel) checkHistory() {
	m.t.Helper()
	a, b := m.user(), m.user()
	var want []modelEvent
	for _, side := range [][2]int{{min(a, b), max(a, b)}, {max(a, b), min(a, b)}} {
		for _, e := range m.inboxes[side[0]].events {
			if e.peer == side[1] && e.content != "" && (a != b || len(want) == 0 || want[len(want)-1].seq < e.seq) {
				want = append(want, e)
			}
		}
	}
	slices.SortStableFunc(want, func(x, y modelEvent) int { return cmp.Compare(x.step, y.step) })
	var contents []string
	for _, e := range want {
		contents = append(contents, e.content)
	}
	if diff := gocmp.Diff(contents, contentsOf(m.history(a, b, m.random.IntN(5)+1))); diff != "" {
		m.t.Fatalf("step %d: history of %d and %d (-model +store):\n%s", m.number, a, b, diff)
	}
}

// Whatever is sent, done, delivered, asked and pruned, in whatever order and however
// old it is by then, the store has what a model has.
func TestWhatIsKeptIsWhatAModelKeeps(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &retentionModel{world: w, random: rand.New(rand.NewPCG(seed, 1)), users: w.users(4), inboxes: map[int]*modelInbox{}}
	for _, user := range m.users {
		m.inboxes[user] = &modelInbox{oldest: 1}
	}
	deeds := []func(){m.send, m.send, m.send, m.meddle, m.deliver, m.deliver, m.hour, m.prune, m.checkHistory}
	for m.number = 1; m.number <= 400; m.number++ {
		deeds[m.random.IntN(len(deeds))]()
		m.checkInbox()
	}
	if n := w.value(`SELECT count(*) FROM history h LEFT JOIN events e USING (user_id, seq) WHERE e IS NULL`); n != 0 {
		t.Errorf("history knows %d events that are no more", n)
	}
	if n := w.value(`SELECT count(*) FROM inboxes WHERE oldest > 1`); n != int64(len(m.users)) {
		t.Errorf("only %d inboxes were pruned", n) // the test would prove little
	}
}
