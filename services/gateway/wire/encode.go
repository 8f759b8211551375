package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Friend is an entry of friends_resp.
type Friend struct {
	Username string `json:"username"`
	ID       int    `json:"id"`
}

// The answers without arguments, ready to send. They must not be changed.
var (
	SendResp    = []byte(`{"type":"send_resp","status":"success"}`)
	RequestResp = []byte(`{"type":"request_resp","status":"sent"}`)
	AddResp     = []byte(`{"type":"add_resp","status":"added"}`)
	DenyResp    = []byte(`{"type":"deny_resp","status":"success"}`)
)

// LoginResp answers login.
func LoginResp(id int) []byte {
	return withID(`{"type":"resp","id":`, id)
}

// CreateAccResp answers create_acc.
func CreateAccResp(id int) []byte {
	return withID(`{"type":"create_acc_resp","id":`, id)
}

// FriendRequestEvent tells that user asks to be a friend.
func FriendRequestEvent(user int) []byte {
	return withID(`{"type":"friend_request","user":`, user)
}

func withID(head string, id int) []byte {
	return append(strconv.AppendInt([]byte(head), int64(id), 10), '}')
}

// FriendsResp answers get_friends.
func FriendsResp(friends []Friend) []byte {
	if friends == nil {
		friends = []Friend{} // [] and not null
	}
	return encode(struct {
		Type    string   `json:"type"`
		Friends []Friend `json:"friends"`
	}{"friends_resp", friends})
}

// MessageEvent tells that sender sent content.
func MessageEvent(sender int, content string) []byte {
	return append(appendMessage(make([]byte, 0, len(content)+64), sender, content), '}')
}

// appendMessage adds what both versions have of a message, without the last brace.
func appendMessage(b []byte, sender int, content string) []byte {
	b = append(b, `{"type":"message","sender":`...)
	b = strconv.AppendInt(b, int64(sender), 10)
	b = append(b, `,"content":`...)
	return appendText(b, content)
}

// appendText adds s as a JSON string.
func appendText(b []byte, s string) []byte {
	if !isPlain(s) {
		return append(b, encode(s)...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// isPlain says whether s stands in JSON as it is. U+2028 and U+2029, which
// encoding/json escapes for the sake of JavaScript, have E2 as their first byte.
func isPlain(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\' || c == 0xE2:
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(s)
}

// ErrorResp answers a request that failed.
func ErrorResp(v Version, e Error) []byte {
	out := struct {
		Type       string `json:"type"`
		Error      string `json:"error"`
		Code       Code   `json:"code,omitempty"`
		RetryAfter int64  `json:"retry_after_ms,omitempty"`
	}{Type: "error", Error: e.Text}
	if v == V2 {
		out.Code, out.RetryAfter = e.Code, e.RetryAfter.Milliseconds()
	}
	return encode(out)
}

// encode writes v without escaping <, > and &, which are plain text to us.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings and numbers always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
