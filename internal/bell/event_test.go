package bell

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnEnvelopeComesBackAsItWas(t *testing.T) {
	t.Parallel()

	ev := Event{Seq: 7, Kind: KindMessage, Peer: 12345678, Content: "hi \x01 <☃>", SentAt: 1700000000123}
	payload, err := encode(Envelope{Epoch: "e1", Event: ev})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Envelope{Version: 1, Epoch: "e1", Event: ev}, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestANewerEnvelopeWithMoreFieldsIsRead(t *testing.T) {
	t.Parallel()

	got, err := Decode([]byte(`{"v":1,"epoch":"e","new":[1],"event":{"seq":3,"kind":"later","peer":2,"more":{}}}`))
	if err != nil || got.Event.Seq != 3 || got.Event.Kind != "later" {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestUserChannelsAreToldFromOthers(t *testing.T) {
	t.Parallel()

	c := Channels{Prefix: "p"}
	if id, ok := c.UserOf(c.User(12345678)); !ok || id != 12345678 {
		t.Fatalf("got %d, %v", id, ok)
	}
	for _, channel := range []string{"", "p:user:", "p:user:x", "q:user:12345678", "p:session:12345678"} {
		if _, ok := c.UserOf(channel); ok {
			t.Errorf("%q is taken for a user's channel", channel)
		}
	}
}

// FuzzDecode: a payload is an envelope with a seq of at least 1, or an error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"epoch":"e","event":{"seq":1,"kind":"message","peer":2,"content":"c"}}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		env, err := Decode(payload)
		if err == nil && (env.Version != version || env.Event.Seq < 1 && env.Session == "") {
			t.Fatalf("accepted %+v", env)
		}
	})
}
