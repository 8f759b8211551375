package bell

// Passing is what travels on a user's channel and is in no inbox: who does not hear
// it never does. It must be of use only for a moment, or be found some other way.
type Passing struct {
	Kind    PassingKind `json:"kind"`
	Peer    int         `json:"peer,omitempty"`    // the other user
	ID      string      `json:"id,omitempty"`      // of an event
	State   string      `json:"state,omitempty"`   // of PassingReceipt
	Content string      `json:"content,omitempty"` // of PassingSent
	SentAt  int64       `json:"sent_at,omitempty"` // of PassingSent, Unix milliseconds
	From    string      `json:"from,omitempty"`    // the gateway that rang, where it told its own sockets itself
	Peers   []int       `json:"peers,omitempty"`   // of PassingLeft
}

// PassingKind says what it is.
type PassingKind string

// The kinds of what passes. Readers ignore those that they do not know.
const (
	PassingTyping  PassingKind = "typing"  // Peer types a message for the user
	PassingReceipt PassingKind = "receipt" // what the user sent to Peer, up to the event ID, has come to State
	PassingRead    PassingKind = "read"    // the user has read what Peer sent, up to the event ID
	PassingSent    PassingKind = "sent"    // the user sent a message to Peer, from another socket
	PassingJoined  PassingKind = "joined"  // a gateway holds a socket of the user that wants PassingSent
	PassingCame    PassingKind = "came"    // Peer, a friend, has a socket at a gateway where there was none
	PassingGone    PassingKind = "gone"    // Peer, a friend, has no socket any more at some gateway
	PassingLeft    PassingKind = "left"    // Peers have no socket any more at some gateway; said to Everybody
)
