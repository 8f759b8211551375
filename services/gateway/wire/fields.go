package wire

import (
	"bytes"
	"encoding/json"
)

// field is a member of a frame's object, its value not decoded yet.
type field struct {
	name []byte
	raw  []byte
}

// fields are the members of a frame's object. Names are matched exactly; of a
// doubled name the last counts.
type fields []field

// get gives the value of a member as it is written.
func (f fields) get(name string) (raw []byte, ok bool) {
	for i := len(f) - 1; i >= 0; i-- {
		if string(f[i].name) == name {
			return f[i].raw, true
		}
	}
	return nil, false
}

// split finds the members of frame, which must be valid UTF-8, and appends them to
// f. It is false when frame is no JSON object.
//
// Nearly all frames are flat: strings without escapes, and whole numbers. Those are
// read here at a tenth of the cost; everything else is left to encoding/json.
// cmd/loadtest reads what we write in a way of its own, to see our mistakes.
func (f fields) split(frame []byte) (fields, bool) {
	if flat, ok := f.splitFlat(frame); ok {
		return flat, true
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(frame, &all); err != nil || all == nil {
		return nil, false
	}
	for name, raw := range all {
		f = append(f, field{[]byte(name), raw})
	}
	return f, true
}

func (f fields) splitFlat(frame []byte) (fields, bool) {
	s := scan{frame}
	if !s.take('{') {
		return nil, false
	}
	if s.take('}') {
		return f, len(s.rest) == 0
	}
	for {
		name, ok := s.text()
		if !ok || !s.take(':') {
			return nil, false
		}
		value, ok := s.value()
		if !ok {
			return nil, false
		}
		f = append(f, field{name[1 : len(name)-1], value})
		switch {
		case s.take(','):
		case s.take('}'):
			return f, len(s.rest) == 0
		default:
			return nil, false
		}
	}
}

// scan reads simple JSON. Its methods also pass the white space behind what they
// read.
type scan struct{ rest []byte }

func (s *scan) take(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.pass(1)
	return true
}

// pass gives the next n bytes.
func (s *scan) pass(n int) []byte {
	token := s.rest[:n]
	for n < len(s.rest) && (s.rest[n] == ' ' || s.rest[n] == '\n' || s.rest[n] == '\t' || s.rest[n] == '\r') {
		n++
	}
	s.rest = s.rest[n:]
	return token
}

func (s *scan) value() ([]byte, bool) {
	if len(s.rest) > 0 && s.rest[0] == '"' {
		return s.text()
	}
	return s.number()
}

// text reads a string without escapes, quotes included.
func (s *scan) text() ([]byte, bool) {
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false
	}
	end := bytes.IndexByte(s.rest[1:], '"') + 1
	if end < 1 {
		return nil, false
	}
	for _, c := range s.rest[1:end] {
		if c == '\\' || c < ' ' {
			return nil, false
		}
	}
	return s.pass(end + 1), true
}

// number reads a whole number.
func (s *scan) number() ([]byte, bool) {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	if n == 0 || n > 1 && s.rest[0] == '0' || n < len(s.rest) && bytes.IndexByte([]byte(".eE"), s.rest[n]) >= 0 {
		return nil, false
	}
	return s.pass(n), true
}
