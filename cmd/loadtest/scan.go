package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// received is what a frame says: of a gateway, or, to the relay, of a user. Its parts are good as long as the
// frame.
type received struct {
	kind      []byte
	sender    int64
	id        []byte // as it stands: a number in a login's answer, a string in an event
	content   []byte
	seq       int64
	token     []byte
	epoch     []byte
	error     []byte
	recipient int64
}

// scan reads a flat JSON object, several times as fast as encoding/json would.
// Escapes in strings are left as they are: nothing that we look at has any. It is
// false for anything else. The gateway reads flat JSON in a way of its own
// (services/gateway/wire): a mistake that both shared would judge itself right.
func scan(frame []byte) (r received, ok bool) {
	i := skipSpace(frame, 0)
	if i >= len(frame) || frame[i] != '{' {
		return r, false
	}
	for i++; ; i++ {
		var name, value []byte
		if name, i = scanValue(frame, skipSpace(frame, i)); len(name) == 0 || i >= len(frame) {
			return r, false
		}
		if i = skipSpace(frame, i); i >= len(frame) || frame[i] != ':' {
			return r, false
		}
		if value, i = scanValue(frame, skipSpace(frame, i+1)); i < 0 {
			return r, false
		}
		r.set(name, value)
		i = skipSpace(frame, i)
		switch {
		case i < len(frame) && frame[i] == ',':
		case i == len(frame)-1 && frame[i] == '}':
			return r, true
		default:
			return r, false
		}
	}
}

func (r *received) set(name, value []byte) {
	switch string(name) {
	case "type":
		r.kind = value
	case "sender":
		r.sender = number(value)
	case "id":
		r.id = value
	case "content":
		r.content = value
	case "seq":
		r.seq = number(value)
	case "token":
		r.token = value
	case "epoch":
		r.epoch = value
	case "error":
		r.error = value
	case "recipient":
		r.recipient = number(value)
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scanValue takes a string without its quotes, or a number or word; after is where
// it ended, -1 if there is none.
func scanValue(b []byte, i int) (value []byte, after int) {
	if i >= len(b) {
		return nil, -1
	}
	if b[i] == '"' {
		return scanString(b, i+1)
	}
	start := i
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ' ' && b[i] != '"' && b[i] != '{' && b[i] != '[' {
		i++
	}
	if i == start || i == len(b) || b[i] == '"' || b[i] == '{' || b[i] == '[' {
		return nil, -1
	}
	return b[start:i], i
}

func scanString(b []byte, i int) (value []byte, after int) {
	for start := i; ; i++ {
		next := bytes.IndexByte(b[i:], '"')
		if next < 0 {
			return nil, -1
		}
		i += next
		slashes := 0
		for i-slashes > start && b[i-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return b[start:i], i + 1
		}
	}
}

// number reads digits; -1 if there is something else.
func number(b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// stamped is the head of a content, in hexadecimal digits; filling follows.
type stamped struct {
	run    uint16 // names the run: what an earlier one left behind is none of our business
	number uint32 // among the messages of a stream
	at     int64  // clock at the sending
}

const (
	runDigits    = 4
	numberDigits = 8
	clockDigits  = 16
	leastSize    = runDigits + numberDigits + clockDigits
)

func (s stamped) write(content []byte) {
	putHex(content[:runDigits], uint64(s.run))
	putHex(content[runDigits:runDigits+numberDigits], uint64(s.number))
	putHex(content[runDigits+numberDigits:leastSize], uint64(s.at))
}

func putHex(to []byte, n uint64) {
	const digits = "0123456789abcdef"
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = digits[n&15]
		n >>= 4
	}
}

// readStamp is the reverse of write.
func readStamp(content []byte) (s stamped, ok bool) {
	var raw [leastSize / 2]byte
	if len(content) < leastSize {
		return s, false
	}
	if _, err := hex.Decode(raw[:], content[:leastSize]); err != nil {
		return s, false
	}
	s.run = binary.BigEndian.Uint16(raw[:])
	s.number = binary.BigEndian.Uint32(raw[2:])
	s.at = int64(binary.BigEndian.Uint64(raw[6:]))
	return s, true
}
