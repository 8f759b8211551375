package social

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/stream"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

func message(sender, recipient int, content string) socialapi.Message {
	return socialapi.Message{Sender: sender, Recipient: recipient, Content: content}
}

func wantResults(t *testing.T, got socialapi.BatchResult, want ...socialapi.Result) {
	t.Helper()
	if diff := cmp.Diff(want, got.Results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func seq(n int64) socialapi.Result { return socialapi.Result{Seq: n} }

func refused(why socialapi.Refusal) socialapi.Result { return socialapi.Result{Refused: why} }

func TestAMessageIsReadAsItWasStored(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	begin := time.Now().UnixMilli()
	out := w.send("lane", 1, message(u[0], u[1], "hi, \u0001 <bob> 🙂"), message(u[1], u[1], "note to myself"))
	wantResults(t, out, seq(1), seq(2))
	if now := time.Now().UnixMilli(); out.SentAt < begin || out.SentAt > now {
		t.Errorf("sent at %d, not between %d and %d", out.SentAt, begin, now)
	}
	page, err := w.client.Read(t.Context(), socialapi.ReadRequest{User: u[1], Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	want := socialapi.Page{Epoch: out.Epoch, Head: 2, Oldest: 1, Events: []bell.Event{
		{Seq: 1, Kind: bell.KindMessage, Peer: u[0], Content: "hi, \u0001 <bob> 🙂", SentAt: out.SentAt},
		{Seq: 2, Kind: bell.KindMessage, Peer: u[1], Content: "note to myself", SentAt: out.SentAt},
	}}
	if diff := cmp.Diff(want, page); diff != "" || out.Epoch == "" {
		t.Errorf("epoch %q, page (-want +got):\n%s", out.Epoch, diff)
	}
}

func TestFiveHundredMessagesOfOneLaneKeepTheirOrder(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(4)
	want := map[int][]string{}
	var batch []socialapi.Message
	var number int64
	for i := range 500 {
		to := u[1+i*i%3]
		content := fmt.Sprint("message ", i)
		want[to] = append(want[to], content)
		if batch = append(batch, message(u[0], to, content)); len(batch) > i%60 {
			number++
			w.send("lane", number, batch...)
			batch = nil
		}
	}
	w.send("lane", number+1, batch...)
	for _, to := range u[1:] {
		if diff := cmp.Diff(want[to], w.contents(to)); diff != "" {
			t.Errorf("inbox of %d (-want +got):\n%s", to, diff)
		}
	}
}

func TestBadMessagesAreRefusedAloneAndTheirNeighboursAreStored(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	longest := strings.Repeat("🙂", socialapi.MaxContent)
	out := w.send("lane", 1,
		message(u[0], u[1], "one"),
		message(u[0], u[1], "a NUL: \x00"),
		message(u[0], u[1], longest),
		message(u[0], u[1], longest+"!"),
		message(0, u[1], "from nobody"),
		message(1<<40, u[1], "from far away"),
		message(u[0], 1<<40, "to far away"),
		message(u[0], -1, "to less than nobody"),
		message(u[0], u[1], ""),
	)
	invalid, unknown := refused(socialapi.RefusedInvalid), refused(socialapi.RefusedUnknown)
	wantResults(t, out, seq(1), invalid, seq(2), invalid, invalid, invalid, unknown, unknown, seq(3))
	if diff := cmp.Diff([]string{"one", longest, ""}, w.contents(u[1])); diff != "" {
		t.Errorf("inbox (-want +got):\n%s", diff)
	}
}

func TestWhatOnlyPostgresFindsBadIsRefusedAlone(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	b := socialapi.Batch{Lane: "lane", Number: 1}
	var want []socialapi.Result
	next := map[int]int64{}
	for i := range 33 {
		m := message(u[0], u[1+i%2], fmt.Sprint("good ", i))
		switch {
		case i%10 == 0:
			m.Content = "a NUL: \x00"
		case i == 32:
			m.Content = "not UTF-8: \xff"
		}
		if b.Messages = append(b.Messages, m); !strings.HasPrefix(m.Content, "good") {
			want = append(want, refused(socialapi.RefusedInvalid))
			continue
		}
		next[m.Recipient]++
		want = append(want, seq(next[m.Recipient]))
	}
	given := make([]socialapi.Refusal, len(b.Messages))
	given[1], want[1] = socialapi.RefusedUnavailable, refused(socialapi.RefusedUnavailable)
	for i := 3; i < 33; i += 2 { // one less in the inbox of the second
		if want[i].Seq > 0 {
			want[i].Seq--
		}
	}
	out, repeated, err := w.store(b, given)
	if err != nil || repeated {
		t.Fatalf("repeated %v, %v", repeated, err)
	}
	wantResults(t, out, want...)
	again, repeated, err := w.store(b, given)
	if err != nil || !repeated {
		t.Fatalf("the same again: repeated %v, %v", repeated, err)
	}
	wantResults(t, again, want...)
	for _, to := range u[1:] {
		for _, content := range w.contents(to) {
			if !strings.HasPrefix(content, "good") {
				t.Errorf("%q was stored", content)
			}
		}
	}
}

func TestABatchWhoseAnswerIsLostIsStoredOnceAndAnsweredTheSameLater(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	flaky := w.serve(stream.NewServer(func(ctx context.Context, call, out []byte) ([]byte, error) {
		_, _ = w.srv.callSend(ctx, call, out)
		panic(http.ErrAbortHandler) // the connection breaks
	}, testenv.Logger(t)))
	b := socialapi.Batch{Lane: "lane", Number: 1, Messages: []socialapi.Message{
		message(u[0], u[1], "once"), message(u[0], u[1]+5, "to nobody"), message(u[0], u[1], "and in order"),
	}}
	if _, err := flaky.Send(t.Context(), b); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("the answer came through: %v", err)
	}
	sentAt := w.inbox(u[1])[0].SentAt
	w.start() // on another pod
	for range 2 {
		out := w.send(b.Lane, b.Number, b.Messages...)
		wantResults(t, out, seq(1), refused(socialapi.RefusedUnknown), seq(2))
		if out.SentAt != sentAt {
			t.Errorf("sent at %d, at first at %d", out.SentAt, sentAt)
		}
	}
	if diff := cmp.Diff([]string{"once", "and in order"}, w.contents(u[1])); diff != "" {
		t.Errorf("inbox (-want +got):\n%s", diff)
	}
}

func TestTheSameBatchSeveralTimesAtOnceIsStoredOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	for number := int64(1); number <= 10; number++ {
		b := socialapi.Batch{Lane: "lane", Number: number, Messages: []socialapi.Message{message(u[0], u[1], fmt.Sprint(number))}}
		var group errgroup.Group
		answers := make([]socialapi.BatchResult, 8)
		for i := range answers {
			group.Go(func() (err error) {
				answers[i], err = w.client.Send(t.Context(), b)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			if diff := cmp.Diff(answers[0], a); diff != "" || a.Results[0].Seq != number {
				t.Fatalf("batch %d: answers differ, or the seq is wrong: %v %v", number, answers[0], a)
			}
		}
	}
	if got := len(w.inbox(u[1])); got != 10 {
		t.Errorf("10 batches became %d messages", got)
	}
}

func TestAnOlderBatchIsAConflictAndNumbersMaySkip(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.send("lane", 1, message(u[0], u[1], "one"))
	w.send("lane", 7, message(u[0], u[1], "seven"))
	_, err := w.client.Send(t.Context(), socialapi.Batch{Lane: "lane", Number: 6, Messages: []socialapi.Message{message(u[0], u[1], "six")}})
	if !errors.Is(err, fault.Conflict) {
		t.Errorf("an older number: %v", err)
	}
	w.send("another lane", 1, message(u[0], u[1], "other"))
	if diff := cmp.Diff([]string{"one", "seven", "other"}, w.contents(u[1])); diff != "" {
		t.Errorf("inbox (-want +got):\n%s", diff)
	}
}

func TestUnderThePolicyFriendsOnlyFriendsAndOneselfGetThrough(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *Config) { c.MessagePolicy = policyFriends })
	u := w.users(3)
	alice, bob, eve := u[1], u[0], u[2] // alice has the higher id
	if _, err := w.client.Request(t.Context(), alice, bob); err != nil {
		t.Fatal(err)
	}
	batch := []socialapi.Message{
		message(alice, bob, "hi"), message(eve, bob, "buy"), message(bob, alice, "hi"),
		message(bob, bob, "note"), message(alice, bob, "bye"), message(alice, eve+1, "to nobody"),
	}
	no, unknown := refused(socialapi.RefusedNotFriend), refused(socialapi.RefusedUnknown)
	wantResults(t, w.send("lane", 1, batch...), no, no, no, seq(2), no, unknown) // seq 1 is the friend request
	if _, err := w.client.Accept(t.Context(), bob, alice); err != nil {
		t.Fatal(err)
	}
	// seq 3 of bob and 2 of alice say that they are friends
	wantResults(t, w.send("lane", 2, batch...), seq(4), no, seq(3), seq(5), seq(6), unknown)
	wantResults(t, w.send("lane", 2, batch...), seq(4), no, seq(3), seq(5), seq(6), unknown)
}

func TestABlockLooksLikeAbsenceToBoth(t *testing.T) {
	t.Parallel()

	for policy, refusal := range map[string]socialapi.Refusal{
		policyAnyone: socialapi.RefusedUnknown, policyFriends: socialapi.RefusedNotFriend, // what strangers get
	} {
		w := newWorld(t, func(c *Config) { c.MessagePolicy = policy })
		u := w.users(2)
		alice, bob := u[1], u[0]
		if _, err := w.client.Block(t.Context(), bob, alice); err != nil {
			t.Fatal(err)
		}
		no := refused(refusal)
		batch := []socialapi.Message{message(alice, bob, "hi"), message(bob, alice, "hi"), message(bob, bob, "note")}
		wantResults(t, w.send("lane", 1, batch...), no, no, seq(2)) // seq 1: blocked
		nonces := []socialapi.Message{withNonce(alice, bob, "hi", "n"), withNonce(bob, alice, "hi", "n")}
		wantResults(t, w.send("nonces", 1, nonces...), no, no)
		_, stranger := w.client.Request(t.Context(), alice, maxID)
		_, blocked := w.client.Request(t.Context(), alice, bob)
		if want := strings.Replace(stranger.Error(), fmt.Sprint(maxID), fmt.Sprint(bob), 1); blocked.Error() != want {
			t.Errorf("the blocked is told %q, who asks for nobody %q", blocked, stranger)
		}
		if n := len(w.inbox(alice)); n != 0 {
			t.Errorf("the blocked got %d events", n)
		}
		if _, err := w.client.Unblock(t.Context(), bob, alice); err != nil {
			t.Fatal(err)
		}
		if policy == policyAnyone {
			wantResults(t, w.send("lane", 2, batch...), seq(4), seq(1), seq(5))
			wantResults(t, w.send("nonces", 2, nonces...), seq(6), seq(2))
		}
	}
}

func TestAServiceOfTheVersionBeforeGetsItsBatchesPosted(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	streams := 0
	earlier := w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == socialapi.PathSendStream {
			streams++
			http.NotFound(rw, r)
			return
		}
		w.handler.ServeHTTP(rw, r)
	}))
	for number := int64(1); number <= 3; number++ {
		b := socialapi.Batch{Lane: "lane", Number: number, Messages: []socialapi.Message{message(u[0], u[1], "hi")}}
		out, err := earlier.Send(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		wantResults(t, out, seq(number))
	}
	if streams != 1 {
		t.Errorf("a stream was asked for %d times", streams)
	}
}

func TestACallThatIsNoBatchIsInvalid(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	if _, err := w.srv.callSend(t.Context(), []byte("\xff"), nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
