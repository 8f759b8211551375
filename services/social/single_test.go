package social

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

// twins are two stores to which the same happens, but that one gets each message alone,
// the other one beside a message that is refused already. So the statement for many
// messages says what the one for a single message has to do.
type twins struct {
	single, many *world
	random       *rand.Rand
	users        []int
	numbers      map[string]int64 // the highest of each lane
	given        map[string]int   // how often each kind of answer was given
}

// singleAnswer is what came of the first message of a batch.
type singleAnswer struct {
	Result   socialapi.Result
	Repeated bool
	Fault    fault.Kind
}

// kind is what was tested by it.
func (a singleAnswer) kind() string {
	switch {
	case a.Fault != "":
		return string(a.Fault)
	case a.Repeated:
		return "repeated"
	case a.Result.Refused != "":
		return string(a.Result.Refused)
	}
	return "stored"
}

// storeFirst stores b, of whose messages only the first is not refused already.
func (w *world) storeFirst(b socialapi.Batch) (a singleAnswer, sentAt int64) {
	w.t.Helper()
	given := make([]socialapi.Refusal, len(b.Messages))
	for i := range given[1:] {
		given[i+1] = socialapi.RefusedUnavailable
	}
	out, repeated, err := w.store(b, given)
	if len(out.Results) != len(b.Messages) || err != nil && !errors.Is(err, fault.Conflict) {
		w.t.Fatalf("%d results of %+v: %v", len(out.Results), b, err)
	}
	a = singleAnswer{Result: out.Results[0], Repeated: repeated}
	if err != nil {
		a.Fault = fault.KindOf(err)
	}
	return a, out.SentAt
}

func (tw *twins) send() {
	m := message(tw.user(), tw.user(), tw.content())
	b := socialapi.Batch{Lane: fmt.Sprint("lane ", tw.random.IntN(3)), Messages: []socialapi.Message{m}}
	b.Number = tw.number(b.Lane)
	got, sentAt := tw.single.storeFirst(b)
	beside := b
	beside.Messages = append(beside.Messages, m)
	want, _ := tw.many.storeFirst(beside)
	if diff := cmp.Diff(want, got); diff != "" {
		tw.single.t.Fatalf("%+v (-beside another +alone):\n%s", b, diff)
	}
	tw.given[got.kind()]++
	if got.kind() == "stored" {
		tw.single.wantEvent(m, got.Result.Seq, sentAt)
	}
}

// wantEvent checks that m was stored as its answer says.
func (w *world) wantEvent(m socialapi.Message, seq, sentAt int64) {
	w.t.Helper()
	page, err := w.client.Read(w.t.Context(), socialapi.ReadRequest{User: m.Recipient, After: seq - 1, Limit: 2})
	want := []bell.Event{{Seq: seq, Kind: bell.KindMessage, Peer: m.Sender, Content: m.Content, SentAt: sentAt}}
	if diff := cmp.Diff(want, page.Events); err != nil || diff != "" {
		w.t.Fatalf("inbox of %d: %v (-want +got):\n%s", m.Recipient, err, diff)
	}
}

func (tw *twins) user() int { return tw.users[tw.random.IntN(len(tw.users))] }

func (tw *twins) content() string {
	return []string{"", "hi", "hi", "ho", "ho", "🙂", "a NUL: \x00", "not UTF-8: \xff"}[tw.random.IntN(8)]
}

// number is that of the next batch of a lane, or of one that it had, or that is older.
func (tw *twins) number(lane string) int64 {
	number := tw.numbers[lane] + []int64{-1, 0, 1, 1, 1, 1, 1, 7}[tw.random.IntN(8)]
	tw.numbers[lane] = max(tw.numbers[lane], number)
	return number
}

// meddle changes what is between two users; requests are mostly accepted.
func (tw *twins) meddle() {
	actor, user := twoOf(tw.random, tw.users)
	act := actions[tw.random.IntN(len(actions))]
	tw.do(actor, user, act)
	if act == actionRequest {
		tw.do(user, actor, actionAccept)
	}
}

func (tw *twins) do(actor, user int, act action) {
	_, got := tw.single.do(tw.single.t.Context(), actor, user, act)
	_, want := tw.many.do(tw.many.t.Context(), actor, user, act)
	if fault.KindOf(got) != fault.KindOf(want) {
		tw.single.t.Fatalf("%s: %v and %v", act, got, want)
	}
}

// closeInbox lets nothing more be stored for a user.
func (tw *twins) closeInbox(user int) {
	for _, w := range []*world{tw.single, tw.many} {
		if err := w.srv.store.closeInbox(w.t.Context(), user); err != nil {
			w.t.Fatal(err)
		}
	}
}

// stored is everything that sending leaves behind, but for the times.
func (w *world) stored() (rows []string) {
	w.t.Helper()
	for _, table := range []string{
		`SELECT user_id, head, oldest FROM inboxes`,
		`SELECT user_id, seq, kind, peer, content FROM events`,
		`SELECT sender, recipient FROM contacts`,
		`SELECT lane, number, results[1] FROM lanes`,
	} {
		found, err := w.pool.Query(w.t.Context(), `SELECT t::text FROM (`+table+`) AS t ORDER BY t`)
		if err != nil {
			w.t.Fatal(err)
		}
		more, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		rows = append(append(rows, table), more...)
	}
	return rows
}

func TestAMessageAloneIsStoredAsOneOfMany(t *testing.T) {
	t.Parallel()

	for policy, kinds := range map[string][]string{
		policyAnyone:  {"stored", "repeated", "conflict", "invalid", "unknown"},
		policyFriends: {"stored", "repeated", "conflict", "invalid", "unknown", "not_friend"},
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			change := func(c *Config) { c.MessagePolicy = policy }
			tw := &twins{
				single: newWorld(t, change), many: newWorld(t, change), random: rand.New(rand.NewPCG(seed, 1)),
				numbers: map[string]int64{}, given: map[string]int{},
			}
			tw.users = tw.single.users(5)
			tw.many.users(5) // who have the same ids
			for step := range 800 {
				switch {
				case step == 200, step == 400:
					tw.closeInbox(tw.users[step/200])
				case tw.random.IntN(4) == 0:
					tw.meddle()
				default:
					tw.send()
				}
			}
			if diff := cmp.Diff(tw.many.stored(), tw.single.stored()); diff != "" {
				t.Errorf("what is stored (-beside others +alone):\n%s", diff)
			}
			for _, kind := range kinds {
				if tw.given[kind] == 0 {
					t.Errorf("of %v none is %q", tw.given, kind) // the test would prove little
				}
			}
		})
	}
}

func TestOnlyWhatIsASingleMessageIsStoredAsOne(t *testing.T) {
	t.Parallel()

	s := &store{storeBatches: "batches", storeNonces: "nonces", storeSingle: "single"}
	m := message(minID, minID+1, "hi")
	refusedOne := sendingOf("lane", 1, m)
	refusedOne.refused[0] = socialapi.RefusedUnknown
	for name, c := range map[string]struct {
		group []*sending
		want  string
	}{
		"a message":             {[]*sending{sendingOf("lane", 1, m)}, "single"},
		"one with a nonce":      {[]*sending{sendingOf("lane", 1, withNonce(m.Sender, m.Recipient, "hi", "n"))}, "nonces"},
		"one that is refused":   {[]*sending{refusedOne}, "batches"},
		"two of a batch":        {[]*sending{sendingOf("lane", 1, m, m)}, "batches"},
		"two of two batches":    {[]*sending{sendingOf("lane", 1, m), sendingOf("lane 2", 1, m)}, "batches"},
		"beside an empty batch": {[]*sending{sendingOf("lane", 1, m), sendingOf("lane 2", 1)}, "batches"},
		"none":                  {[]*sending{sendingOf("lane", 1)}, "batches"},
	} {
		if got, _ := s.statementFor(columnsOf(c.group)); got != c.want {
			t.Errorf("%s is stored by the statement for %s", name, got)
		}
	}
}

// What a plan has besides costs more than storing a message.
func TestThePlanForASingleMessageIsSmall(t *testing.T) {
	t.Parallel()

	for _, policy := range []string{policyAnyone, policyFriends} {
		w := newWorld(t)
		conn, err := w.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if _, err := conn.Exec(t.Context(), `PREPARE single AS `+storeSingleSQL(policy)); err != nil {
			t.Fatal(err)
		}
		found, err := conn.Query(t.Context(), `EXPLAIN EXECUTE single ('lane', 1, 2, 3, 'hi')`)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		for _, node := range []string{"Function Scan", "Nested Loop", "Hash", "Join", "Aggregate", "WindowAgg", "Sort"} {
			if strings.Contains(plan, node) {
				t.Errorf("policy %s: %s in the plan\n%s", policy, node, plan)
			}
		}
	}
}
