package wire

import (
	"encoding/json"
	"strconv"
	"strings"
)

// What only version 2 has.

// ref reads the member that comes back in the answer: a string or a number.
func (f fields) ref(req *Request) error {
	raw, ok := f.get("ref")
	if !ok {
		return nil
	}
	number := raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
	if raw[0] != '"' && !number || len(raw) > MaxRef {
		return BadRequest("ref must be a string or a number of at most " + strconv.Itoa(MaxRef) + " bytes")
	}
	req.Ref = string(raw)
	return nil
}

func (f fields) nonce(req *Request) (err error) {
	raw, ok := f.get("nonce")
	if !ok {
		return nil
	}
	req.Nonce, ok = f.str("nonce")
	if !ok || req.Nonce == "" || len(req.Nonce) > MaxNonce || strings.ContainsRune(req.Nonce, 0) || raw == nil {
		return BadRequest("nonce must be a string of 1 to " + strconv.Itoa(MaxNonce) + " bytes without NUL")
	}
	return nil
}

func (f fields) resume(req *Request) (err error) {
	var ok bool
	if req.Token, ok = f.str("token"); !ok {
		return BadRequest("token must be a string")
	}
	if req.Epoch, ok = f.str("epoch"); !ok {
		return BadRequest("epoch must be a string")
	}
	req.Since, err = f.seq("since")
	return err
}

// seq reads a place in an inbox: a whole number.
func (f fields) seq(name string) (int64, error) {
	var n int64
	raw, _ := f.get(name)
	if !isDigits(string(raw)) || json.Unmarshal(raw, &n) != nil {
		return 0, BadRequest(name + " must be a whole number")
	}
	return n, nil
}

// defaultHistory is how many messages a page of history has where nobody says.
const defaultHistory = 50

func (f fields) history(req *Request) (err error) {
	if req.User, err = f.id("user"); err != nil {
		return err
	}
	if _, there := f.get("before"); there {
		if req.Event, err = f.event("before"); err != nil {
			return err
		}
	}
	req.Limit = defaultHistory
	if _, there := f.get("limit"); there {
		n, err := f.seq("limit")
		if err != nil || n < 1 || n > MaxHistory {
			return BadRequest("limit must be a whole number from 1 to " + strconv.Itoa(MaxHistory))
		}
		req.Limit = int(n)
	}
	return nil
}

// Event is where an event is: the user whose inbox it is in, and its seq there.
type Event struct {
	User int
	Seq  int64
}

// event reads what EventID writes.
func (f fields) event(name string) (ev Event, err error) {
	s, _ := f.str(name)
	user, seq, ok := strings.Cut(s, "-")
	if ok = ok && isDigits(user) && isDigits(seq) && len(user) == 8; ok {
		ev.User, _ = strconv.Atoi(user)
		ev.Seq, err = strconv.ParseInt(seq, 10, 64)
	}
	if !ok || err != nil || ev.Seq < 1 {
		return Event{}, BadRequest(name + " must be the id of an event")
	}
	return ev, nil
}
