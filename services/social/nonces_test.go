package social

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/services/social/socialapi"
)

func withNonce(sender, recipient int, content, nonce string) socialapi.Message {
	return socialapi.Message{Sender: sender, Recipient: recipient, Content: content, Nonce: nonce}
}

func connected(m socialapi.Message) socialapi.Message {
	m.Connected = true
	return m
}

// answer is what a sender is told of a message.
type answer struct {
	ID        string
	SentAt    int64
	Connected bool
	Refused   socialapi.Refusal
}

// answers are what the senders of b are told.
func answers(b []socialapi.Message, out socialapi.BatchResult) []answer {
	told := make([]answer, len(b))
	for i, r := range out.Results {
		first := socialapi.First{Recipient: b[i].Recipient, SentAt: out.SentAt, Connected: b[i].Connected}
		switch {
		case r.Refused != "":
			told[i].Refused = r.Refused
			continue
		case r.First != nil:
			first = *r.First
		}
		told[i] = answer{ID: fmt.Sprintf("%d-%d", first.Recipient, r.Seq), SentAt: first.SentAt, Connected: first.Connected}
	}
	return told
}

// otherPod is another pod on w's database.
func (w *world) otherPod() *world {
	w.t.Helper()
	return newWorldAt(w.t, string(w.cfg.DatabaseURL), func(c *Config) { *c = w.cfg })
}

// checkNonces checks what holds between transactions: each nonce has the answer of
// a message that is there, and no two have one.
func (w *world) checkNonces() {
	w.t.Helper()
	if n := w.value(`
		SELECT count(*)
		FROM nonces n
		LEFT JOIN events e ON e.user_id = n.recipient AND e.seq = n.seq
		WHERE e.peer IS DISTINCT FROM n.sender OR e.sent_at <> n.sent_at`); n != 0 {
		w.t.Errorf("%d nonces without their message", n)
	}
	if n := w.value(`SELECT count(*) - count(DISTINCT (recipient, seq)) FROM nonces`); n != 0 {
		w.t.Errorf("%d messages have several nonces", n)
	}
}

func TestANonceIsOneMessageWhereverItIsSentAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	b := []socialapi.Message{
		withNonce(u[0], u[1], "one", "a"), connected(withNonce(u[0], u[1], "two", "b")), message(u[0], u[1], "no nonce"),
		withNonce(u[2], u[1], "of another", "a"),
	}
	out := w.send("lane", 1, b...)
	wantResults(t, out, seq(1), seq(2), seq(3), seq(4))
	want := answers(b, out)

	again := []socialapi.Message{
		connected(b[1]), withNonce(u[0], u[2], "changed", "a"), message(u[0], u[1], "five"),
		withNonce(u[0], u[1], "six", "A"), withNonce(u[2], u[1], "", "a"),
	}
	other := w.otherPod()
	for _, pod := range []*world{w, other} {
		out := pod.send("another lane", 1, again...) // on the other pod the batch is repeated as well
		told := answers(again, out)
		if diff := cmp.Diff([]answer{want[1], want[0], want[3]}, []answer{told[0], told[1], told[4]}); diff != "" {
			t.Errorf("answers (-first +again):\n%s", diff)
		}
		if out.Results[2] != seq(5) || out.Results[3] != seq(6) {
			t.Errorf("neighbours got %+v", out.Results[2:4])
		}
	}
	if diff := cmp.Diff([]string{"one", "two", "no nonce", "of another", "five", "six"}, w.contents(u[1])); diff != "" {
		t.Errorf("inbox (-want +got):\n%s", diff)
	}
	w.checkNonces()
	m := w.srv.metrics
	if stored, repeated := testutil.ToFloat64(m.stored), testutil.ToFloat64(m.noncesRepeated); stored != 6 || repeated != 3 {
		t.Errorf("%v stored and %v repeated were counted", stored, repeated)
	}
}

func TestANonceTwiceInABatchIsOneMessage(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	b := []socialapi.Message{
		message(u[0], u[1], "before"), connected(withNonce(u[0], u[1], "once", "n")), message(u[0], u[1], "between"),
		withNonce(u[0], u[0], "twice", "n"), withNonce(u[0], u[1], "\x00", "n"), withNonce(u[0], u[1], "thrice", "n"),
	}
	for range 2 {
		out := w.send("lane", 1, b...)
		first := &socialapi.First{Recipient: u[1], SentAt: out.SentAt, Connected: true}
		again := socialapi.Result{Seq: 2, First: first}
		wantResults(t, out, seq(1), seq(2), seq(3), again, refused(socialapi.RefusedInvalid), again)
	}
	if diff := cmp.Diff([]string{"before", "once", "between"}, w.contents(u[1])); diff != "" {
		t.Errorf("inbox (-want +got):\n%s", diff)
	}
	w.checkNonces()
}

func TestARefusedSendLeavesItsNonceFree(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *Config) { c.MessagePolicy = policyFriends })
	u := w.users(3)
	alice, bob, eve := u[0], u[1], u[2]
	w.befriendNeighbours(u[:2])
	no := refused(socialapi.RefusedNotFriend)
	wantResults(t, w.send("lane", 1,
		withNonce(alice, eve+1, "to nobody", "n"), withNonce(alice, eve, "to a stranger", "n"),
		withNonce(eve, bob, "of a stranger", "n"), withNonce(eve, bob, "again", "n")),
		refused(socialapi.RefusedUnknown), no, no, no)
	if n := w.value(`SELECT count(*) FROM nonces`); n != 0 {
		t.Errorf("%d nonces are kept", n)
	}
	b := []socialapi.Message{withNonce(alice, eve, "to a stranger", "n"), withNonce(alice, bob, "to a friend", "n")}
	out := w.send("lane", 2, b...)
	wantResults(t, out, no, seq(1))

	// What was stored keeps its answer, whoever is a friend by now.
	w.exec(`UPDATE pairs SET state = $1`, stateNone)
	more := []socialapi.Message{b[1], message(alice, bob, "not friends any more")}
	again := w.send("lane", 3, more...)
	if diff := cmp.Diff(answers(b, out)[1], answers(more, again)[0]); diff != "" || again.Results[1] != no {
		t.Errorf("a new one got %+v, the repeated one (-first +again):\n%s", again.Results[1], diff)
	}
	w.checkNonces()
}

func TestABadNonceIsRefusedAlone(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	longest := strings.Repeat("n", socialapi.MaxNonce)
	invalid := refused(socialapi.RefusedInvalid)
	wantResults(t, w.send("lane", 1,
		withNonce(u[0], u[1], "one", longest), withNonce(u[0], u[1], "long", longest+"n"),
		withNonce(u[0], u[1], "a NUL", "\x00"), withNonce(u[0], u[1], "two", "🙂")),
		seq(1), invalid, invalid, seq(2))
	if why := judge(withNonce(u[0], u[1], "not UTF-8", "\xff")); why != socialapi.RefusedInvalid {
		t.Errorf("a nonce that is not UTF-8: %q", why)
	}
}

func TestWhatOnlyPostgresFindsBadLeavesItsNonceFree(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.send("lane", 1, withNonce(u[0], u[1], "old", "old"))
	b := socialapi.Batch{Lane: "lane", Number: 2, Messages: []socialapi.Message{
		withNonce(u[0], u[1], "one", "1"), withNonce(u[0], u[1], "a NUL: \x00", "2"), withNonce(u[0], u[1], "bad", "\x00"),
		withNonce(u[0], u[1], "old", "old"), withNonce(u[0], u[1], "two", "3"), withNonce(u[0], u[1], "one again", "1"),
	}}
	for _, repeat := range []bool{false, true} {
		out, repeated, err := w.store(b, make([]socialapi.Refusal, len(b.Messages)))
		if err != nil || repeated != repeat {
			t.Fatalf("repeated %v, %v", repeated, err)
		}
		var got []string
		for _, a := range answers(b.Messages, out) {
			got = append(got, string(a.Refused)+strings.TrimPrefix(a.ID, fmt.Sprint(u[1])))
		}
		if diff := cmp.Diff([]string{"-2", "invalid", "invalid", "-1", "-3", "-2"}, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	}
	wantResults(t, w.send("lane", 3, withNonce(u[0], u[1], "without NUL", "2")), seq(4))
	w.checkNonces()
}

func TestANonceThatIsForgottenWhileItIsLookedUpIsToBeSentAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	// As if it were there to be claimed, and gone to be read.
	w.exec(`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	w.exec(`CREATE TRIGGER gone BEFORE INSERT ON nonces FOR EACH ROW WHEN (NEW.nonce = 'gone') EXECUTE FUNCTION nothing()`)
	b := []socialapi.Message{withNonce(u[0], u[1], "hi", "gone"), withNonce(u[0], u[1], "hello", "new")}
	wantResults(t, w.send("lane", 1, b...), refused(socialapi.RefusedUnavailable), seq(1))
	w.exec(`DROP TRIGGER gone ON nonces`)
	wantResults(t, w.send("lane", 2, b[0]), seq(2))
}

func TestWhatALaneKeptOfNoncesIsNotToldOfALaterBatch(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	m := withNonce(u[0], u[1], "hi", "n")
	w.send("lane", 1, m, m)
	if kept := w.value(`SELECT count(*) FROM lanes WHERE firsts_of = number`); kept != 1 {
		t.Errorf("%d lanes keep what the first got", kept)
	}
	// Without nonces, or by a neighbour of the version before: the same statement.
	plain := []socialapi.Message{message(u[0], u[1], "two"), message(u[0], u[1], "three")}
	for range 2 {
		wantResults(t, w.send("lane", 2, plain...), seq(2), seq(3))
		out := w.send("lane", 3-1, withNonce(u[0], u[1], "two", "x"), plain[1]) // asks for what was kept with nonces
		wantResults(t, out, seq(2), seq(3))
	}
}
