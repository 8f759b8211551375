package wire

import "strconv"

// What only version 2 has.

// LogoutResp answers logout. It must not be changed.
var LogoutResp = []byte(`{"type":"logout_resp","status":"success"}`)

// Session is what version 2 learns at login.
type Session struct {
	ID        int    `json:"id"`
	Token     string `json:"token,omitempty"` // not at resume
	ExpiresAt int64  `json:"expires_at"`      // of the token, Unix milliseconds
	Seq       int64  `json:"seq"`             // newest of the inbox
	Epoch     string `json:"epoch"`           // of the log that seqs count in
}

// SessionResp answers login, create_acc and resume in version 2.
func SessionResp(request Type, s Session) []byte {
	types := map[Type]string{Login: "resp", CreateAcc: "create_acc_resp", Resume: "resume_resp"}
	return encode(struct {
		Type string `json:"type"`
		Session
	}{types[request], s})
}

// The status of a message that was stored.
const (
	StatusSuccess = "success" // the recipient was connected
	StatusQueued  = "queued"  // the recipient was not
)

// SendResp2 answers send_msg in version 2.
func SendResp2(status, id string, sentAt int64) []byte {
	b := append(make([]byte, 0, 128), `{"type":"send_resp","status":"`...)
	b = append(append(b, status...), `","id":"`...)
	b = append(append(b, id...), `","sent_at":`...)
	return append(strconv.AppendInt(b, sentAt, 10), '}')
}

// appendPlace ends the object of an event.
func appendPlace(b []byte, p Place) []byte {
	b = strconv.AppendInt(append(b, `,"seq":`...), p.Seq, 10)
	b = append(append(append(b, `,"id":"`...), p.ID...), `","sent_at":`...)
	return append(strconv.AppendInt(b, p.SentAt, 10), '}')
}

// EventID names an event: the user whose inbox it is in, and its seq there.
func EventID(user int, seq int64) string {
	return strconv.Itoa(user) + "-" + strconv.FormatInt(seq, 10)
}

// Place is where an event is and since when.
type Place struct {
	Seq    int64  `json:"seq"`
	ID     string `json:"id"`
	SentAt int64  `json:"sent_at"` // Unix milliseconds
}

// MessageEvent2 is MessageEvent in version 2.
func MessageEvent2(sender int, content string, p Place) []byte {
	return appendPlace(appendMessage(make([]byte, 0, len(content)+128), sender, content), p)
}

// AckResp answers an ack that carries a ref.
func AckResp(seq int64) []byte { return withSeq("ack_resp", seq) }

// HeartbeatEvent tells the newest seq of the inbox.
func HeartbeatEvent(seq int64) []byte { return withSeq("heartbeat", seq) }

// SyncedEvent tells that everything up to seq has been sent.
func SyncedEvent(seq int64) []byte { return withSeq("synced", seq) }

func withSeq(kind string, seq int64) []byte {
	return append(strconv.AppendInt([]byte(`{"type":"`+kind+`","seq":`), seq, 10), '}')
}

// ResyncEvent tells that what the client holds is not continuous with what follows,
// the events after seq; oldest is the oldest there is.
func ResyncEvent(oldest, seq int64, epoch string) []byte {
	return encode(struct {
		Type   string `json:"type"`
		Oldest int64  `json:"oldest"`
		Seq    int64  `json:"seq"`
		Epoch  string `json:"epoch"`
	}{"resync", oldest, seq, epoch})
}

// WithRef adds the ref of the request to its answer.
func WithRef(answer []byte, ref string) []byte {
	if ref == "" {
		return answer
	}
	b := append(make([]byte, 0, len(answer)+len(ref)+8), answer[:len(answer)-1]...)
	b = append(append(b, `,"ref":`...), ref...)
	return append(b, '}')
}
