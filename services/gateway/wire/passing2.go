package wire

import "strconv"

// The frames of version 2 that are in no inbox and carry no seq.

// TypingResp answers a typing that carries a ref. It must not be changed.
var TypingResp = []byte(`{"type":"typing_resp","status":"success"}`)

// TypingEvent tells that user types a message.
func TypingEvent(user int) []byte { return withID(`{"type":"typing","user":`, user) }

// OnlineEvent tells that a friend is connected now.
func OnlineEvent(user int) []byte { return withID(`{"type":"online","user":`, user) }

// OfflineEvent tells that a friend is connected no more.
func OfflineEvent(user int) []byte { return withID(`{"type":"offline","user":`, user) }

// PresenceResp answers watch_presence: the friends that are connected.
func PresenceResp(online []int) []byte {
	return encode(struct {
		Type   string `json:"type"`
		Online []int  `json:"online"`
	}{"presence_resp", orEmpty(online)})
}

// The states that a receipt tells.
const (
	StateDelivered = "delivered"
	StateRead      = "read"
)

// ReceiptEvent tells that what was sent to user, up to the event, has come to a state.
func ReceiptEvent(user int, state, id string) []byte {
	return encode(struct {
		Type  string `json:"type"`
		User  int    `json:"user"`
		State string `json:"state"`
		ID    string `json:"id"`
	}{"receipt", user, state, id})
}

// ReadEvent tells that the user has read, on another socket, what peer sent up to the
// event.
func ReadEvent(peer int, id string) []byte {
	return encode(struct {
		Type string `json:"type"`
		User int    `json:"user"`
		ID   string `json:"id"`
	}{"read", peer, id})
}

// SentEvent tells of a message that the user sent from another socket.
func SentEvent(recipient int, content, id string, sentAt int64) []byte {
	b := append(make([]byte, 0, len(content)+128), `{"type":"sent","recipient":`...)
	b = appendText(append(strconv.AppendInt(b, int64(recipient), 10), `,"content":`...), content)
	b = append(append(append(b, `,"id":"`...), id...), `","sent_at":`...)
	return append(strconv.AppendInt(b, sentAt, 10), '}')
}
