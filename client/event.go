package client

import (
	"encoding/json"
	"time"
)

// Kind is what an event tells.
type Kind string

// The kinds of events. A newer server may send others: ignore what you do not know.
const (
	Message       Kind = "message"        // Peer sent Content
	FriendRequest Kind = "friend_request" // Peer asks to be a friend

	// Version 2.
	FriendAdded   Kind = "friend_added"   // Peer is a friend now, and a request between the two is gone
	FriendRemoved Kind = "friend_removed" // Peer is a friend no more
	RequestSent   Kind = "request_sent"   // the user asked Peer, perhaps from another socket
	RequestClosed Kind = "request_closed" // the request between the two is gone, without friendship
	Blocked       Kind = "blocked"        // the user blocks Peer
	Unblocked     Kind = "unblocked"      // the user blocks Peer no more
)

// The kinds of what passes, in version 2.
const (
	Typing  Kind = "typing"  // Peer, a friend, types a message
	Receipt Kind = "receipt" // what the user sent to Peer, up to the event ID, has come to State
	Read    Kind = "read"    // the user has read what Peer sent up to the event ID, on another socket
	Sent    Kind = "sent"    // the user sent Content to Peer from another socket
	Online  Kind = "online"  // Peer, a friend, is connected now
	Offline Kind = "offline" // Peer, a friend, is connected no more
)

// Passing is something that is in no log: who is not connected never hears of it. The
// fields are those that its kind names.
type Passing struct {
	Kind    Kind
	Peer    int
	ID      string
	State   MessageState
	Content string
	SentAt  time.Time
}

// Event is something that concerns the user. Version 1 has no Seq, ID and SentAt.
type Event struct {
	Seq     int64  // its place in the user's inbox: 1, 2, 3, ...
	ID      string // names it, for all users
	Kind    Kind
	Peer    int // the other user
	Content string
	SentAt  time.Time
}

// Resync tells that what was handed over and what follows, the events after Seq,
// are not continuous: the server no longer has what is between, or its log is
// another one, with another epoch. Whoever keeps events should read history again.
type Resync struct {
	Oldest int64 // the oldest event that the server has
	Seq    int64
	Epoch  string
}

// Friend is a friend of the user.
type Friend struct {
	Username string `json:"username"`
	ID       int    `json:"id"`
}

// SendStatus says what became of a message that was stored.
type SendStatus string

// What becomes of a message that is stored.
const (
	Delivered SendStatus = "success" // the recipient was connected
	Queued    SendStatus = "queued"  // the recipient was not, and gets it later. Version 2
)

// SendResult answers a Send. Version 1 has no ID and SentAt.
type SendResult struct {
	Status SendStatus
	ID     string // names the message, as the recipient's Event.ID does
	SentAt time.Time
}

// State is how far a Client has got, for another one to go on from. The token is a
// secret. Without an epoch nothing is known of the place, and the server goes on
// from what was confirmed last.
type State struct {
	Token string `json:"token"`
	Since int64  `json:"since"` // the newest event whose handler has returned
	Epoch string `json:"epoch"` // of the log that Since counts in
}

// Stats counts what happened to a Client.
type Stats struct {
	Logins   int64 // connections that got as far as being logged in
	Events   int64 // that OnEvent was called for
	Repeated int64 // events that came again and were not handed over
	Gaps     int64 // times that an event was missing, and was asked for again
	Skipped  int64 // seqs that the server did not show when asked again
	Dropped  int64 // events that came while the queue was full, to be asked for again
}

// frame is what the server sends: any of its kinds.
type frame struct {
	Type string `json:"type"`
	Ref  int64  `json:"ref"` // 0: none

	Error        string `json:"error"`
	Code         Code   `json:"code"`
	RetryAfterMS int64  `json:"retry_after_ms"`

	ID        json.RawMessage `json:"id"` // of a user, a number; of an event, a string
	Token     string          `json:"token"`
	ExpiresAt int64           `json:"expires_at"`
	Seq       int64           `json:"seq"`
	Epoch     string          `json:"epoch"`
	Oldest    int64           `json:"oldest"`

	Status  SendStatus `json:"status"`
	SentAt  int64      `json:"sent_at"`
	Friends []Friend   `json:"friends"`

	Sender  int    `json:"sender"`
	User    person `json:"user"`
	Content string `json:"content"`

	raw []byte // all of it: what only few kinds have is read when it is wanted
}

// person is a user as frames have it: an id, or an object. What later kinds have is
// neither.
type person Friend

func (p *person) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &p.ID) != nil {
		_ = json.Unmarshal(data, (*Friend)(p))
	}
	return nil
}

// user is the id of login answers.
func (f *frame) user() (id int, err error) {
	return id, json.Unmarshal(f.ID, &id)
}

// name is the id of events and messages.
func (f *frame) name() (name string) {
	_ = json.Unmarshal(f.ID, &name) // version 1 has none
	return name
}

func (f *frame) event() Event {
	ev := Event{Seq: f.Seq, ID: f.name(), Kind: Kind(f.Type), Peer: f.Sender, Content: f.Content, SentAt: milli(f.SentAt)}
	if ev.Peer == 0 {
		ev.Peer = f.User.ID
	}
	return ev
}

// isPassing are the kinds that are in no log.
var isPassing = map[Kind]bool{Typing: true, Receipt: true, Read: true, Sent: true, Online: true, Offline: true}

func (f *frame) passing() Passing {
	var more struct {
		Recipient int          `json:"recipient"`
		State     MessageState `json:"state"`
	}
	_ = json.Unmarshal(f.raw, &more) // what it does not have stays empty
	p := Passing{Kind: Kind(f.Type), Peer: f.User.ID, ID: f.name(), State: more.State, Content: f.Content, SentAt: milli(f.SentAt)}
	if p.Kind == Sent {
		p.Peer = more.Recipient
	}
	return p
}

func milli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
