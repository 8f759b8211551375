package wire

import "strconv"

// The frames of version 2 about other users.

// The answers without arguments, ready to send. They must not be changed.
var (
	CancelResp  = []byte(`{"type":"cancel_resp","status":"cancelled"}`)
	RemoveResp  = []byte(`{"type":"remove_resp","status":"removed"}`)
	BlockResp   = []byte(`{"type":"block_resp","status":"blocked"}`)
	UnblockResp = []byte(`{"type":"unblock_resp","status":"unblocked"}`)
)

// Waiting is an entry of requests_resp.
type Waiting struct {
	Username string `json:"username"`
	ID       int    `json:"id"`
	Since    int64  `json:"since"` // Unix milliseconds
}

// RequestsResp answers get_requests.
func RequestsResp(incoming, outgoing []Waiting) []byte {
	return encode(struct {
		Type     string    `json:"type"`
		Incoming []Waiting `json:"incoming"`
		Outgoing []Waiting `json:"outgoing"`
	}{"requests_resp", orEmpty(incoming), orEmpty(outgoing)})
}

// BlockedResp answers get_blocked.
func BlockedResp(blocked []Friend) []byte {
	return encode(struct {
		Type    string   `json:"type"`
		Blocked []Friend `json:"blocked"`
	}{"blocked_resp", orEmpty(blocked)})
}

// orEmpty makes the list that JSON writes as [] and not as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// UserResp answers find_user.
func UserResp(user Friend) []byte {
	return encode(struct {
		Type string `json:"type"`
		User Friend `json:"user"`
	}{"user_resp", user})
}

// UserEvent tells of something about another user: it is what kind says.
func UserEvent(kind string, user int, p Place) []byte {
	b := append(append(make([]byte, 0, 128), `{"type":"`...), kind...)
	return appendPlace(strconv.AppendInt(append(b, `","user":`...), int64(user), 10), p)
}

// Said is an entry of history_resp.
type Said struct {
	ID      string `json:"id"` // of the event, in the inbox of the recipient
	Sender  int    `json:"sender"`
	Content string `json:"content"`
	SentAt  int64  `json:"sent_at"`         // Unix milliseconds
	State   string `json:"state,omitempty"` // of one's own: stored, delivered or read
}

// HistoryResp answers get_history, oldest message first. more says that there are
// older ones.
func HistoryResp(user int64, messages []Said, more bool) []byte {
	return encode(struct {
		Type     string `json:"type"`
		User     int64  `json:"user"`
		Messages []Said `json:"messages"`
		More     bool   `json:"more"`
	}{"history_resp", user, orEmpty(messages), more})
}

// ReadResp answers mark_read: what user sent up to the event is read.
func ReadResp(user int64, id string) []byte {
	return encode(struct {
		Type string `json:"type"`
		User int64  `json:"user"`
		ID   string `json:"id"`
	}{"read_resp", user, id})
}
