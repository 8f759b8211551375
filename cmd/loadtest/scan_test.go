package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestScan(t *testing.T) {
	t.Parallel()
	r, ok := scan([]byte(`{"type":"message","sender":12345678,"content":"a \"b\\","seq":7,"id":"12345678-7","sent_at":1}`))
	if !ok || string(r.kind) != "message" || r.sender != 12345678 || string(r.content) != `a \"b\\` || r.seq != 7 ||
		string(r.id) != "12345678-7" {
		t.Errorf("got %v %+v", ok, r)
	}
	r, ok = scan([]byte(" { \"id\" : 5 , \"type\":\"resp\", \"token\":\"t\", \"epoch\":\"e\",\"more\":true}"))
	if !ok || string(r.id) != "5" || string(r.kind) != "resp" || string(r.token) != "t" || string(r.epoch) != "e" {
		t.Errorf("got %v %+v", ok, r)
	}
	for _, bad := range []string{
		"", "{", "{}", `{"type"`, `{"type":`, `{"type":}`, `{"type":"x"`, `{"type":"x}`, `{"type":"x"} `, `{"type":"x",}`,
		`{"type":{"a":1}}`, `{"type":[1]}`, `["type"]`, `{"type" "x"}`, `{"a":1"b":2}`,
	} {
		if r, ok := scan([]byte(bad)); ok {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), leastSize+3)
	want := stamped{0x4321, 0xfedcba98, 0x0123456789abcdef}
	want.write(content)
	if got, ok := readStamp(content); got != want || !ok || string(content[leastSize:]) != "xxx" {
		t.Errorf("got %+v %v %q", got, ok, content)
	}
	for _, bad := range []string{"", "0123", strings.Repeat("g", leastSize)} {
		if _, ok := readStamp([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestTemplateIsARequest(t *testing.T) {
	t.Parallel()
	for _, size := range []int{leastSize, 64, 126, 1000, mostSize} {
		s := &stream{to: &user{id: 12345678}}
		s.makeTemplate(size)
		frame := append([]byte(nil), s.template...)
		want := stamped{1, 7, int64(time.Second)}
		want.write(frame[s.stampAt:])
		frame[1] &^= 0x80 // as a server's
		op, payload, n, err := parseFrame(unmasked(frame))
		if err != nil || op != opText || n != len(frame)-4 {
			t.Fatalf("size %d: %d %d of %d %v", size, op, n, len(frame), err)
		}
		var request struct {
			Type      string
			Recipient int64
			Content   string
		}
		if err := json.Unmarshal(payload, &request); err != nil {
			t.Fatalf("size %d: %v in %s", size, err, payload)
		}
		got, ok := readStamp([]byte(request.Content))
		if request.Type != "send_msg" || request.Recipient != 12345678 || len(request.Content) != size ||
			got != want || !ok {
			t.Errorf("size %d: %+v", size, request)
		}
	}
}

// unmasked takes the mask, of zeros, out of a client's frame.
func unmasked(frame []byte) []byte {
	head := map[byte]int{126: 4, 127: 10}[frame[1]]
	head = max(head, 2)
	return append(append([]byte(nil), frame[:head]...), frame[head+4:]...)
}

func TestParseFrame(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		frame := appendFrame(nil, opPing, bytes.Repeat([]byte("x"), size))
		frame[1] &^= 0x80
		frame = unmasked(frame)
		for _, cut := range []int{0, 1, len(frame) - 1} {
			if _, _, n, err := parseFrame(frame[:min(cut, len(frame)-1)]); n != 0 || err != nil {
				t.Errorf("%d bytes, cut at %d: %d %v", size, cut, n, err)
			}
		}
		op, payload, n, err := parseFrame(append(frame, 0x81))
		if op != opPing || len(payload) != size || n != len(frame) || err != nil {
			t.Errorf("%d bytes: op %d, %d bytes, size %d, %v", size, op, len(payload), n, err)
		}
	}
	for _, bad := range []string{"\x01\x00", "\x81\x80", "\xc1\x00", "\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00"} {
		if _, _, _, err := parseFrame([]byte(bad)); err == nil {
			t.Errorf("% x was taken", bad)
		}
	}
}
