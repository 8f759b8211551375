package bell

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// There are two forms of an envelope. Those of events, which are nearly all, are
// binary, since each is written once and read by every pod that holds the user's
// sockets. The others are JSON. Readers ignore forms and versions that they do not
// know (the head check brings the events all the same), and fields likewise.
const (
	formEvents  = 2   // first byte of the binary form
	formJSON    = '{' // and of the other
	versionJSON = 1
)

// jsonEnvelope is the JSON form. Event is of neighbours of the version before, who
// know no other form.
type jsonEnvelope struct {
	Version int    `json:"v"`
	Epoch   string `json:"epoch,omitempty"`
	Event   *Event `json:"event,omitempty"`
	Session string `json:"session,omitempty"`
	Except  string `json:"except,omitempty"`

	Passing *Passing `json:"passing,omitempty"`
}

// encodeOther makes the payload of an envelope without events.
func encodeOther(e Envelope) ([]byte, error) {
	return json.Marshal(jsonEnvelope{Version: versionJSON, Session: e.Session, Except: e.Except, Passing: e.Passing})
}

// sizeOf is about what an event takes in the binary form, and rather more.
func sizeOf(ev *Event) int { return 49 + len(ev.Kind) + len(ev.Content) }

// appendHead begins the binary form; events follow.
func appendHead(b []byte, epoch string) []byte { return appendText(append(b, formEvents), epoch) }

func appendEvent(b []byte, ev *Event) []byte {
	b = binary.AppendUvarint(b, uint64(ev.Seq))
	b = appendText(b, string(ev.Kind))
	b = binary.AppendUvarint(b, uint64(ev.Peer))
	b = binary.AppendUvarint(b, uint64(ev.SentAt))
	b = binary.AppendUvarint(b, flagsOf(ev))
	return appendText(b, ev.Content)
}

// flagQuiet is a bit of the number that says what else there is to know of an event.
const flagQuiet = 1

func flagsOf(ev *Event) (flags uint64) {
	if ev.Quiet {
		flags |= flagQuiet
	}
	return flags
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decode reads a payload. An error means garbage or an unknown version; either is
// to be counted and ignored.
func Decode(payload string) (Envelope, error) { return DecodeInto(payload, nil) }

// DecodeInto is Decode, and uses the memory of room for events.
func DecodeInto(payload string, room []Event) (Envelope, error) {
	switch {
	case payload == "":
		return Envelope{}, errors.New("ring is empty")
	case payload[0] == formEvents:
		return decodeEvents(payload[1:], room[:0])
	case payload[0] == formJSON:
		return decodeJSON(payload)
	}
	return Envelope{}, fmt.Errorf("ring has the unknown form %d", payload[0])
}

func decodeJSON(payload string) (Envelope, error) {
	var e jsonEnvelope
	if err := json.Unmarshal([]byte(payload), &e); err != nil {
		return Envelope{}, fmt.Errorf("ring is not an envelope: %w", err)
	}
	out := Envelope{Epoch: e.Epoch, Session: e.Session, Except: e.Except, Passing: e.Passing}
	if e.Event != nil && e.Event.Seq > 0 {
		out.Events = []Event{*e.Event}
	}
	if e.Version != versionJSON || len(out.Events) == 0 && out.Session == "" && out.Passing == nil {
		return Envelope{}, fmt.Errorf("ring has version %d and says nothing", e.Version)
	}
	return out, nil
}

func decodeEvents(payload string, room []Event) (Envelope, error) {
	r := reader{rest: payload}
	e := Envelope{Epoch: r.text(), Events: room}
	for r.rest != "" && !r.broken {
		ev := Event{Seq: r.number(), Kind: Kind(r.text()), Peer: int(r.number()), SentAt: r.number(),
			Quiet: r.number()&flagQuiet != 0, Content: r.text()}
		r.broken = r.broken || ev.Seq < 1
		e.Events = append(e.Events, ev)
	}
	if r.broken || len(e.Events) == 0 {
		return Envelope{}, errors.New("ring of events is broken")
	}
	return e, nil
}

// reader reads the binary form. Its texts share the memory of the payload.
type reader struct {
	rest   string
	broken bool
}

// number reads an unsigned varint that fits into an int64.
func (r *reader) number() int64 {
	var n uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64-1) { // 9 bytes of 7 bits: 63
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return int64(n)
		}
	}
	r.rest, r.broken = "", true
	return 0
}

func (r *reader) text() string {
	n := r.number()
	if n > int64(len(r.rest)) {
		r.rest, r.broken = "", true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
