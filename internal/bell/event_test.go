package bell

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnEnvelopeComesBackAsItWas(t *testing.T) {
	t.Parallel()

	for _, e := range []Envelope{
		{Epoch: "e1", Events: []Event{
			{Seq: 7, Kind: KindMessage, Peer: 12345678, Content: "hi \x01 <☃>", SentAt: 1700000000123},
			{Seq: 1<<63 - 1, Kind: "later", Peer: 99999999, Quiet: true},
		}},
		{Session: "s1"},
		{Passing: &Passing{Kind: PassingSent, Peer: 12345678, ID: "12345678-7", Content: "hi <☃>", SentAt: 1700000000123, From: "g"}},
	} {
		got, err := Decode(encode(t, e))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestAnEnvelopeOfTheVersionBeforeIsRead(t *testing.T) {
	t.Parallel()

	got, err := Decode(`{"v":1,"epoch":"e","new":[1],"event":{"seq":3,"kind":"later","peer":2,"more":{}}}`)
	want := Envelope{Epoch: "e", Events: []Event{{Seq: 3, Kind: "later", Peer: 2}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v\n%s", err, diff)
	}
}

func TestWhatIsNoEnvelopeIsRefused(t *testing.T) {
	t.Parallel()

	whole := encode(t, Envelope{Epoch: "e1", Events: []Event{{Seq: 7, Kind: KindMessage, Peer: 1, Content: "hi"}}})
	for _, payload := range []string{
		"", "x", "{}", `{"v":2,"session":"s"}`, `{"v":1,"event":{"seq":0}}`, "\x02", "\x02\x00", "\x03" + whole[1:],
		whole[:len(whole)-1], whole + "\x01", "\x02\x00\x00\x00\x00\x00\x00\x00",
		"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	} {
		if got, err := Decode(payload); err == nil {
			t.Errorf("%q is taken for %+v", payload, got)
		}
	}
}

func TestEventsOfOneUserShareARing(t *testing.T) {
	t.Parallel()

	event := func(user int, seq int64, content string) ring {
		return ring{user: user, epoch: "e", event: Event{Seq: seq, Content: content}}
	}
	long := strings.Repeat("x", joinedBytes)
	next := newRound()
	for range 2 { // it is used again
		next.rings = []ring{event(1, 1, ""), event(2, 1, ""), event(1, 2, ""), {user: 1, other: &Envelope{Session: "s"}}, event(1, 3, ""), event(2, 2, long), event(2, 3, "")}
		next.join()
	}
	var seqs []string
	for _, c := range next.chains {
		payload, err := next.payload(c)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Decode(string(payload))
		if err != nil {
			t.Fatal(err)
		}
		said := strings.TrimSpace(fmt.Sprintf("%d %s", next.rings[c.first].user, e.Session))
		for _, ev := range e.Events {
			said += fmt.Sprint(" ", ev.Seq)
		}
		seqs = append(seqs, said)
	}
	if diff := cmp.Diff([]string{"1 1 2", "2 1", "1 s", "1 3", "2 2", "2 3"}, seqs); diff != "" {
		t.Fatal(diff)
	}
}

// FuzzDecode: a payload is an envelope that comes back as it was, or an error.
func FuzzDecode(f *testing.F) {
	f.Add(`{"v":1,"epoch":"e","event":{"seq":1,"kind":"message","peer":2,"content":"c"}}`)
	f.Add(`{"v":2}`)
	f.Add("\x02\x01e\x07\x07message\x09\x00\x01\x02hi")
	f.Fuzz(func(t *testing.T, payload string) {
		env, err := Decode(payload)
		if err != nil {
			return
		}
		if len(env.Events) == 0 && env.Session == "" && env.Passing == nil || len(env.Events) > 0 && env.Events[0].Seq < 1 {
			t.Fatalf("accepted %+v", env)
		}
		if len(env.Events) == 0 {
			return
		}
		again, err := Decode(encode(t, env))
		if diff := cmp.Diff(env.Events, again.Events); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// encode makes the payload of an envelope.
func encode(t testing.TB, e Envelope) string {
	t.Helper()
	if len(e.Events) == 0 {
		payload, err := encodeOther(e)
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	payload := appendHead(nil, e.Epoch)
	for i := range e.Events {
		payload = appendEvent(payload, &e.Events[i])
	}
	return string(payload)
}

func BenchmarkEnvelope(b *testing.B) {
	e := Envelope{Epoch: "0b8a7e5c-6e1f-4a2b-9d3c-1f2e3d4c5b6a", Events: []Event{{
		Seq: 7, Kind: KindMessage, Peer: 12345678, SentAt: 1700000000123,
		Content: "sixty-four characters, as many as a short sentence of a chat has.",
	}}}
	next := newRound()
	next.rings = []ring{{epoch: e.Epoch, event: e.Events[0]}}
	var room []Event
	b.ReportAllocs()
	for b.Loop() {
		next.join()
		payload, err := next.payload(next.chains[0])
		if err != nil {
			b.Fatal(err)
		}
		got, err := DecodeInto(string(payload), room)
		if err != nil {
			b.Fatal(err)
		}
		room = got.Events
	}
}
