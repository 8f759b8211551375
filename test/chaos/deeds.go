package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Act is what a user of version 2 can do besides sending.
type Act string

// The acts.
const (
	ActRequest  Act = "request"
	ActAccept   Act = "accept"
	ActDeny     Act = "deny"
	ActCancel   Act = "cancel"
	ActRemove   Act = "remove"
	ActBlock    Act = "block"
	ActUnblock  Act = "unblock"
	ActFriends  Act = "list friends"
	ActRequests Act = "list requests"
	ActBlocked  Act = "list blocked"
	ActFind     Act = "find"
	ActHistory  Act = "history"
	ActMark     Act = "mark read"
	ActTyping   Act = "typing"
	ActWatch    Act = "watch presence"
	ActRevoke   Act = "end all sessions"
	ActDelete   Act = "delete the account"
)

// Deed is something that a user of version 2 does, about Peer where it is about
// somebody, and what came of it.
type Deed struct {
	User, Peer   int
	Act          Act
	REST         bool   // or else by a socket
	Name         string // ActFind: whom
	Seq          int64  // ActMark: up to where, in one's own inbox
	Before       string // ActHistory: what comes before this event
	At, Answered Instant
	Outcome      Outcome // Refused: for good, for a reason that lies between the two

	// What was answered.
	People, Outgoing []int // a list; ActRequests: the incoming and the outgoing ones
	Said             []Said
	More             bool
	Marked           int64
	Last             bool // everything was over when it was asked

	done chan struct{} // closed when it is answered, or never will be
}

// Said is a message as history has it.
type Said struct {
	ID      string `json:"id"`
	Sender  int    `json:"sender"`
	Content string `json:"content"`
	SentAt  int64  `json:"sent_at"`
	State   string `json:"state"`
}

// eventID names an event, as the protocol does, and placeOf is where it is.
func eventID(user int, seq int64) string { return fmt.Sprintf("%d-%d", user, seq) }

func placeOf(id string) (user int, seq int64, ok bool) {
	_, err := fmt.Sscanf(id, "%d-%d", &user, &seq)
	return user, seq, err == nil
}

// historyLimit is how many messages a page of history has.
const historyLimit = 200

// way is how an act is asked for: as a frame and its answer, by REST, or by both.
type way struct{ frame, answer, method, path string }

var ways = map[Act]way{
	ActRequest:  {"request_friend", "request_resp", http.MethodPost, "/social/v1/requests"},
	ActAccept:   {"add_friend", "add_resp", http.MethodPost, "/social/v1/requests/%d/accept"},
	ActDeny:     {"deny_friend", "deny_resp", http.MethodPost, "/social/v1/requests/%d/deny"},
	ActCancel:   {"cancel_request", "cancel_resp", http.MethodDelete, "/social/v1/requests/%d"},
	ActRemove:   {"remove_friend", "remove_resp", http.MethodDelete, "/social/v1/friends/%d"},
	ActBlock:    {"block", "block_resp", http.MethodPut, "/social/v1/blocks/%d"},
	ActUnblock:  {"unblock", "unblock_resp", http.MethodDelete, "/social/v1/blocks/%d"},
	ActFriends:  {"get_friends", "friends_resp", http.MethodGet, "/social/v1/friends"},
	ActRequests: {"get_requests", "requests_resp", http.MethodGet, "/social/v1/requests"},
	ActBlocked:  {"get_blocked", "blocked_resp", http.MethodGet, "/social/v1/blocks"},
	ActFind:     {"find_user", "user_resp", http.MethodGet, "/accounts/v1/users?username="},
	ActHistory:  {"get_history", "history_resp", http.MethodGet, "/social/v1/history?user=%d"},
	ActMark:     {frame: "mark_read", answer: "read_resp"},
	ActTyping:   {frame: "typing", answer: "typing_resp"},
	ActWatch:    {frame: "watch_presence", answer: "presence_resp"},
	ActRevoke:   {method: http.MethodDelete, path: "/accounts/v1/sessions"},
	ActDelete:   {method: http.MethodPost, path: "/accounts/v1/me/deletion"},
}

// request is the frame that asks for a deed.
func (d *Deed) request(ref string) map[string]any {
	f := map[string]any{"type": ways[d.Act].frame, "ref": ref}
	switch d.Act {
	case ActFriends, ActRequests, ActBlocked, ActWatch:
		return f
	case ActFind:
		f["username"] = d.Name
		return f
	case ActMark:
		f["id"] = eventID(d.User, d.Seq)
	case ActHistory:
		f["limit"] = historyLimit
		if d.Before != "" {
			f["before"] = d.Before
		}
	}
	f["user"] = d.Peer
	return f
}

// path is what REST asks for, and body with what.
func (d *Deed) path() string {
	path := ways[d.Act].path
	if strings.Contains(path, "%") {
		path = fmt.Sprintf(path, d.Peer)
	}
	switch {
	case d.Act == ActFind:
		path += d.Name
	case d.Act == ActHistory:
		path += fmt.Sprintf("&limit=%d", historyLimit)
		if d.Before != "" {
			path += "&before=" + d.Before
		}
	}
	return path
}

func (d *Deed) body() any {
	switch d.Act {
	case ActRequest:
		return map[string]int{"user": d.Peer}
	case ActDelete:
		return map[string]string{"pin": pin}
	}
	return nil
}

// someone is a user in an answer: an id, or an object with one.
type someone int

func (s *someone) UnmarshalJSON(data []byte) error {
	var object struct{ ID int }
	if json.Unmarshal(data, (*int)(s)) == nil {
		return nil
	}
	err := json.Unmarshal(data, &object)
	*s = someone(object.ID)
	return err
}

func ids(list []someone) (out []int) {
	for _, s := range list {
		out = append(out, int(s))
	}
	return out
}

// read takes what an answer tells, by socket or REST.
func (d *Deed) read(data []byte) error {
	var a struct {
		Friends, Blocked, Incoming, Outgoing, Users, Online []someone

		User     someone
		Messages []Said
		More     bool
		ID       string
	}
	if len(data) == 0 { // done, and nothing to tell
		return nil
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return err
	}
	d.People = ids(slices.Concat(a.Friends, a.Blocked, a.Incoming, a.Users, a.Online))
	if d.Act == ActFind && a.User != 0 {
		d.People = []int{int(a.User)}
	}
	d.Outgoing, d.Said, d.More = ids(a.Outgoing), a.Messages, a.More
	if d.Act == ActMark {
		var ok bool
		if _, d.Marked, ok = placeOf(a.ID); !ok {
			return errors.New("not an event")
		}
	}
	return nil
}

// outcomeOf is what the code of an error says. An error that waiting helps against
// says nothing of what was done. ok is false for one that should not come.
func outcomeOf(code string, wait bool) (o Outcome, ok bool) {
	switch code {
	case "no_request", "not_friend", "not_blocked", "user_not_found":
		return Refused, true
	case "block_failed", "history_failed", "read_failed":
		if !wait {
			return Refused, true
		}
		return Failed, true
	case "request_failed", "friends_failed", "add_failed", "deny_failed", "requests_failed", "cancel_failed", "remove_failed",
		"unblock_failed", "blocked_failed", "find_failed", "presence_failed", "too_many_requests", "unavailable":
		return Failed, true
	}
	return Failed, false
}
