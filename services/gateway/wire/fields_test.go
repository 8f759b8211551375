package wire

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzSplitFlat: what is read without encoding/json is what encoding/json reads.
func FuzzSplitFlat(f *testing.F) {
	for _, seed := range []string{
		`{"type":"send_msg","recipient":12345678,"content":"hi"}`, `{ "a" : 1 , "b" : "x" }` + "\n",
		`{}`, `{} x`, `{"a":01}`, `{"a":1.5}`, `{"a":1e5}`, `{"a":0}`, `{"a":1,}`, `{"a":"1","a":2}`, `{"a":"\n"}`, "{\"a\":\"\n\"}", `{"a"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		flat, ok := fields(nil).splitFlat(frame)
		if !ok || !utf8.Valid(frame) {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(frame, &want); err != nil {
			t.Fatalf("%q is not JSON: %v", frame, err)
		}
		for _, member := range flat {
			if got, _ := flat.get(string(member.name)); string(got) != string(want[string(member.name)]) {
				t.Fatalf("%q: %s is %q, not %q", frame, member.name, got, want[string(member.name)])
			}
		}
		for name := range want {
			if _, ok := flat.get(name); !ok {
				t.Fatalf("%q: %s is missing", frame, name)
			}
		}
	})
}

// FuzzAppendText: what is written without encoding/json is what encoding/json writes.
func FuzzAppendText(f *testing.F) {
	for _, seed := range []string{"", "hi", `"`, `\`, "<&>", "\u2028", "ü☃😀", "\xff", "\x00\x1f\x7f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := appendText(nil, s), encode(s); string(got) != string(want) {
			t.Fatalf("%q: got %s, want %s", s, got, want)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, frame := range map[string]string{
		"flat":    `{"type":"send_msg","recipient":12345678,"content":"sixty-four characters, as many as a short sentence of a chat has.","ref":7}`,
		"escaped": `{"type":"send_msg","recipient":12345678,"content":"sixty-four characters, \"as many as a short sentence of a chat has.","ref":7}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode([]byte(frame), V2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	const content = "sixty-four characters, as many as a short sentence of a chat has."
	b.Run("message1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			MessageEvent(12345678, content)
		}
	})
	b.Run("message2", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			MessageEvent2(12345678, content, Place{Seq: 7, ID: EventID(12345678, 7), SentAt: 1700000000123})
		}
	})
	b.Run("answer2", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			WithRef(SendResp2(StatusSuccess, EventID(12345678, 7), 1700000000123), "17")
		}
	})
}
