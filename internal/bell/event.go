// Package bell is the doorbell: it tells the gateways that hold a user's sockets
// what was appended to the user's inbox, and which of the user's sessions has
// ended. Rings travel at most once, by Redis
// pub/sub, and may overtake each other; who hears one compares its seq with what
// it has and reads the store for the rest. A lost ring costs latency, never an
// event: whoever may have missed one asks. This package knows the channels and the versioned envelopes.
package bell

// Kind says what an event is.
type Kind string

// The kinds of events in an inbox.
const (
	KindMessage       Kind = "message"        // Peer sent Content
	KindFriendRequest Kind = "friend_request" // Peer asks to be a friend
	KindFriendAdded   Kind = "friend_added"   // Peer is a friend now; a request between the two is no more
	KindFriendRemoved Kind = "friend_removed" // Peer is a friend no more
	KindRequestSent   Kind = "request_sent"   // the user asked Peer to be a friend
	KindRequestClosed Kind = "request_closed" // the request between the two is no more, without friendship
	KindBlocked       Kind = "blocked"        // the user blocks Peer
	KindUnblocked     Kind = "unblocked"      // the user blocks Peer no more
	KindTombstone     Kind = "tombstone"      // something was deleted; for nobody to see
)

// KindProbe is what a gateway rings for itself, on a channel of its own, to learn
// whether rings come through. It is in no inbox.
const KindProbe Kind = "probe"

// Event is one entry of a user's inbox.
type Event struct {
	Seq     int64  `json:"seq"`               // 1, 2, 3, ... in each inbox, without a gap
	Kind    Kind   `json:"kind"`              // kinds that a reader does not know are passed over
	Peer    int    `json:"peer"`              // the other user
	Content string `json:"content,omitempty"` // of a message
	SentAt  int64  `json:"sent_at"`           // when it was stored, Unix milliseconds
	// Quiet says of a message that its sender does not want to hear of its delivery.
	// It is known to who rings; the store does not keep it.
	Quiet bool `json:"quiet,omitempty"`
}

// Envelope is what travels on a user's channel: events, or the end of a session, or
// what passes.
type Envelope struct {
	Epoch  string  // of the log that the seqs of Events count in
	Events []Event // of the user's inbox, in the order of their storing
	// Session, where it is not empty, is a session of the user that has ended; there
	// are then no events.
	Session string
	// Except, beside EverySession, is the one session that goes on.
	Except string
	// Passing, where it is not nil, is all there is.
	Passing *Passing
}

// EverySession as a session that has ended stands for all of the user's, and for the
// sockets of the user that have none.
const EverySession = "*"
