package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Request is a decoded frame. Only the fields of its type are set.
type Request struct {
	Type     Type
	Username string
	Pin      string
	User     int64 // the other user: recipient of send_msg, user of the friend requests
	Content  string

	// Version 2.
	Ref   string // JSON, to come back in the answer; of any request
	Nonce string // of send_msg; may be empty
	Token string // of resume
	Since int64  // of resume
	Epoch string // of resume
	Seq   int64  // of ack
	Event Event  // before of get_history, where it may be none; id of mark_read
	Limit int    // of get_history
}

// Decode reads a text frame of a version. The error is an Error. Where the frame is
// wrong but its type is known, the request carries that type, and its ref, all the
// same.
func Decode(frame []byte, v Version) (Request, error) {
	if !utf8.Valid(frame) {
		return Request{}, BadRequest("frame is not valid UTF-8")
	}
	var room [8]field // enough for most, and not on the heap
	f, ok := fields(room[:0]).split(frame)
	if !ok {
		return Request{}, BadRequest("frame is not a JSON object")
	}
	var req Request
	if v == V2 {
		if err := f.ref(&req); err != nil {
			return req, err
		}
	}
	if req.Type, ok = f.requestType(v); !ok {
		return req, ErrEndpointNotFound
	}
	err := f.arguments(&req)
	if err == nil && v == V2 && req.Type == SendMsg {
		err = f.nonce(&req)
	}
	return req, err
}

// requestType finds the type among the requests of a version.
func (f fields) requestType(v Version) (t Type, ok bool) {
	raw, _ := f.get("type")
	for _, t := range Types(v) {
		if len(raw) == len(t)+2 && string(raw[1:len(raw)-1]) == string(t) && raw[0] == '"' {
			return t, true
		}
	}
	name, _ := f.str("type") // perhaps written with escapes
	if t = Type(name); !slices.Contains(Types(v), t) {
		return "", false
	}
	return t, true
}

// arguments reads those of the request's type.
func (f fields) arguments(req *Request) (err error) {
	switch req.Type {
	case Login:
		if !f.credentials(req) {
			err = ErrAccNotFound
		}
	case CreateAcc:
		if !f.credentials(req) {
			err = ErrCreateFailed
		}
	case SendMsg:
		if req.User, err = f.id("recipient"); err == nil {
			req.Content, err = f.content()
		}
	case RequestFriend, AddFriend, DenyFriend, CancelRequest, RemoveFriend, Block, Unblock, Typing:
		req.User, err = f.id("user")
	case FindUser:
		var ok bool
		if req.Username, ok = f.str("username"); !ok {
			err = BadRequest("username must be a string")
		}
	case GetHistory:
		err = f.history(req)
	case MarkRead:
		if req.User, err = f.id("user"); err == nil {
			req.Event, err = f.event("id")
		}
	case Resume:
		err = f.resume(req)
	case Ack:
		req.Seq, err = f.seq("seq")
	}
	return err
}

// maxIDDigits bounds what is read as an id. Real ids have 8 digits; longer numbers
// that still fit get the answer that such a user gets who does not exist.
const maxIDDigits = 18

// id reads a user id, a number or a string of digits.
func (f fields) id(name string) (int64, error) {
	raw, ok := f.get(name)
	if !ok {
		return 0, BadRequest(name + " is missing")
	}
	digits := string(raw)
	if strings.HasPrefix(digits, `"`) && json.Unmarshal(raw, &digits) != nil {
		digits = ""
	}
	if !isDigits(digits) || len(digits) > maxIDDigits {
		return 0, BadRequest(name + " must be an id, a number of 8 digits")
	}
	id, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, BadRequest(name + " must be an id, a number of 8 digits")
	}
	return id, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// str reads a string. JSON null is none.
func (f fields) str(name string) (s string, ok bool) {
	raw, _ := f.get(name)
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 { // valid UTF-8 and valid JSON: nothing to decode
		return string(raw[1 : len(raw)-1]), true
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func (f fields) content() (string, error) {
	_, there := f.get("content")
	s, ok := f.str("content")
	switch {
	case !there:
		return "", BadRequest("content is missing")
	case !ok:
		return "", BadRequest("content must be a string")
	case strings.IndexByte(s, 0) >= 0:
		return "", BadRequest("content must not contain NUL")
	case len(s) > MaxContent && utf8.RuneCountInString(s) > MaxContent:
		return "", BadRequest("content is longer than " + strconv.Itoa(MaxContent) + " characters")
	}
	return s, nil
}

// credentials reads username and pin. A pin is a string or a whole number: 1234
// and "1234" are the same pin, "0042" and 42 are not.
func (f fields) credentials(req *Request) (ok bool) {
	if req.Username, ok = f.str("username"); !ok {
		return false
	}
	if req.Pin, ok = f.str("pin"); ok {
		return true
	}
	raw, _ := f.get("pin")
	req.Pin = string(raw)
	return isDigits(req.Pin)
}
