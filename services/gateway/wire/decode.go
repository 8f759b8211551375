package wire

import (
	"encoding/json"
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
}

// Error is why a frame is not a valid request, in the words of the protocol.
type Error string

func (e Error) Error() string { return string(e) }

// BadRequest is the error "bad request: WHY".
func BadRequest(why string) Error { return Error("bad request: " + why) }

// fields are the members of a frame's object, not decoded yet. Names are matched
// exactly; of a doubled name the last counts.
type fields map[string]json.RawMessage

// Decode reads a text frame. The error is an Error. Where the frame is wrong but
// its type is known, the request carries that type all the same.
func Decode(frame []byte) (Request, error) {
	if !utf8.Valid(frame) {
		return Request{}, BadRequest("frame is not valid UTF-8")
	}
	var f fields
	if err := json.Unmarshal(frame, &f); err != nil || f == nil {
		return Request{}, BadRequest("frame is not a JSON object")
	}
	var t Type
	if json.Unmarshal(f["type"], &t) != nil {
		return Request{}, Error(ErrEndpointNotFound)
	}
	return decodeArguments(t, f)
}

func decodeArguments(t Type, f fields) (req Request, err error) {
	req.Type = t
	switch t {
	case GetFriends:
	case Login:
		if !f.credentials(&req) {
			err = Error(ErrAccNotFound)
		}
	case CreateAcc:
		if !f.credentials(&req) {
			err = Error(ErrCreateFailed)
		}
	case SendMsg:
		if req.User, err = f.id("recipient"); err == nil {
			req.Content, err = f.content()
		}
	case RequestFriend, AddFriend, DenyFriend:
		req.User, err = f.id("user")
	default:
		return Request{}, Error(ErrEndpointNotFound)
	}
	return req, err
}

// maxIDDigits bounds what is read as an id. Real ids have 8 digits; longer numbers
// that still fit get the answer that such a user gets who does not exist.
const maxIDDigits = 18

// id reads a user id, a number or a string of digits.
func (f fields) id(name string) (int64, error) {
	raw, ok := f[name]
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
	raw := f[name]
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func (f fields) content() (string, error) {
	s, ok := f.str("content")
	switch {
	case f["content"] == nil:
		return "", BadRequest("content is missing")
	case !ok:
		return "", BadRequest("content must be a string")
	case strings.ContainsRune(s, 0):
		return "", BadRequest("content must not contain NUL")
	case utf8.RuneCountInString(s) > MaxContent:
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
	req.Pin = string(f["pin"])
	return isDigits(req.Pin)
}
