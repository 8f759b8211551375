// Package socialapi is the internal HTTP interface of the social service: its
// types and a client. Paths carry a version; fields are only ever added.
package socialapi

import "pymessage/internal/bell"

// Paths of the internal interface. All are POST with JSON bodies.
const (
	PathSend      = "/internal/v1/messages/send"
	PathOpen      = "/internal/v1/inbox/open"
	PathRead      = "/internal/v1/inbox/read"
	PathHeads     = "/internal/v1/inbox/heads"
	PathPositions = "/internal/v1/inbox/positions"
	PathFriends   = "/internal/v1/friends/list"
	PathRequest   = "/internal/v1/friends/request"
	PathAccept    = "/internal/v1/friends/accept"
	PathDeny      = "/internal/v1/friends/deny"
	PathFriendsOf = "/internal/v1/friends/list-many"
	PathBetween   = "/internal/v1/friends/between"
	PathCancel    = "/internal/v1/friends/cancel"
	PathRemove    = "/internal/v1/friends/remove"
	PathRequests  = "/internal/v1/friends/requests"
	PathBlock     = "/internal/v1/blocks/block"
	PathUnblock   = "/internal/v1/blocks/unblock"
	PathBlocked   = "/internal/v1/blocks/list"
	PathHistory   = "/internal/v1/history/page"
	PathMarkRead  = "/internal/v1/history/mark-read"
	PathDelete    = "/internal/v1/users/delete"

	// PathSendStream takes what PathSend takes, over package stream (see send.go).
	PathSendStream = "/internal/v1/messages/send-stream"

	PathOpenMany = "/internal/v1/inbox/open-many" // as httpjson.ManyEndpoint has them
	PathReadMany = "/internal/v1/inbox/read-many"
)

// Limits of the interface.
const (
	MaxBatch    = 1000  // messages in one Batch
	MaxUsers    = 10000 // users in one HeadsRequest or PositionsRequest
	MaxPage     = 1000  // events in one Page
	MaxContent  = 4096  // code points of a message, section 3 of the protocol
	MaxLaneName = 64    // bytes
	MaxNonce    = 64    // bytes
	MaxHistory  = 200   // messages in one History
	MaxFriends  = 1000  // users in one FriendsOfRequest
	MaxOpens    = 1000  // users in one request to PathOpenMany
	MaxReads    = 100   // pages in one answer of PathReadMany
	MaxShort    = 32    // events in one of them
	ShortBytes  = 16384 // of content: the event that goes beyond it is the last of such a page
)

// Batch is what a lane of a gateway sends at once. A lane numbers its batches 1,
// 2, 3, ... and has one under way at a time. The same number again gets the kept
// result; an older one is refused (Conflict). So a batch is stored once, whatever
// happens to its answer.
type Batch struct {
	Lane     string    `json:"lane"`
	Number   int64     `json:"number"`
	Messages []Message `json:"messages"`
}

// Message asks for one message to be appended to its recipient's inbox.
type Message struct {
	Sender    int    `json:"sender"`
	Recipient int    `json:"recipient"`
	Content   string `json:"content"`
	// Nonce, where it is not empty, makes the same send of the same sender one
	// message however often and through whichever gateway it comes. It is a text of
	// at most MaxNonce bytes. What was refused may be sent again with the same nonce.
	Nonce string `json:"nonce,omitempty"`
	// Connected says whether the recipient was connected. It is kept with the nonce,
	// so that a repetition gets the same answer.
	Connected bool `json:"connected,omitempty"`
}

// BatchResult answers a Batch: one Result for each message, in order.
type BatchResult struct {
	Epoch   string   `json:"epoch"`
	SentAt  int64    `json:"sent_at"` // Unix milliseconds, of all messages of the batch
	Results []Result `json:"results"`
}

// Result is a seq in the recipient's inbox, or why the message was not stored.
type Result struct {
	Seq     int64   `json:"seq,omitempty"`
	Refused Refusal `json:"refused,omitempty"`
	// First is set for a nonce that was stored before, by whatever batch or earlier
	// in this one: what the first send of it got. Seq is then that send's, in the
	// inbox of First.Recipient, and there is no new event to ring.
	First *First `json:"first,omitempty"`
}

// First is the send that a nonce was first used for.
type First struct {
	Recipient int   `json:"recipient"`
	SentAt    int64 `json:"sent_at"` // Unix milliseconds
	Connected bool  `json:"connected,omitempty"`
}

// Refusal says why a message was not stored.
type Refusal string

// The refusals.
const (
	RefusedUnknown     Refusal = "unknown"     // there is no such recipient, or one of the two blocks the other
	RefusedNotFriend   Refusal = "not_friend"  // under the policy that only friends may write
	RefusedInvalid     Refusal = "invalid"     // the store cannot hold this content
	RefusedUnavailable Refusal = "unavailable" // whether the recipient exists could not be found out
)

// UserRequest names the user whose inbox, friends or the like are asked for.
type UserRequest struct {
	User int `json:"user"`
}

// Opening is what a gateway needs to start following an inbox.
type Opening struct {
	Epoch    string `json:"epoch"`
	Head     int64  `json:"head"`     // newest seq; 0: nothing yet
	Oldest   int64  `json:"oldest"`   // oldest seq that is kept; head+1 when nothing is
	Position int64  `json:"position"` // newest seq known to be delivered
	// Waiting are the users whose friend request still waits for an answer and was
	// delivered before (its event is not after Position), oldest first.
	Waiting []int `json:"waiting"`
}

// ReadRequest asks for the events after a seq.
type ReadRequest struct {
	User  int   `json:"user"`
	After int64 `json:"after"`
	Limit int   `json:"limit"` // at most MaxPage
}

// Page is a run of events, gapless and in order, starting at After+1 or, if that
// was pruned, at Oldest.
type Page struct {
	Epoch  string       `json:"epoch"`
	Head   int64        `json:"head"`
	Oldest int64        `json:"oldest"`
	Events []bell.Event `json:"events"`
}

// HeadsRequest asks for the newest seq of many inboxes.
type HeadsRequest struct {
	Users []int `json:"users"`
}

// Heads are the newest seqs of those users that have an inbox.
type Heads struct {
	Epoch string    `json:"epoch"`
	Heads []UserSeq `json:"heads"`
}

// UserSeq is a place in a user's inbox.
type UserSeq struct {
	User int   `json:"user"`
	Seq  int64 `json:"seq"`
}

// PositionsRequest moves delivered positions forward; an older one changes
// nothing, and one beyond the head counts as the head. Positions in another epoch
// than the log's are ignored: they count in a log that is no more. An empty epoch is
// not checked.
type PositionsRequest struct {
	Epoch     string    `json:"epoch,omitempty"`
	Positions []UserSeq `json:"positions"`
}

// Friends are the ids of a user's friends, in the order of becoming friends.
type Friends struct {
	Friends []int `json:"friends"`
}

// FriendsOfRequest asks for the friends of many users.
type FriendsOfRequest struct {
	Users []int `json:"users"`
}

// FriendsOf are the friends of those users that have some, in no particular order.
type FriendsOf struct {
	Friends map[int][]int `json:"friends"`
}

// Between is what is between two users: whether they are friends.
type Between struct {
	Friends bool `json:"friends"`
}

// Requests are the friend requests of a user that nobody has answered, oldest first.
type Requests struct {
	Incoming []Waiting `json:"incoming"`
	Outgoing []Waiting `json:"outgoing"`
}

// Waiting is a friend request: the other user, and since when it waits.
type Waiting struct {
	User  int   `json:"user"`
	Since int64 `json:"since"` // Unix milliseconds
}

// Blocked are the users that a user blocks, in the order of blocking.
type Blocked struct {
	Blocked []int `json:"blocked"`
}

// FriendRequest is the body of the requests that change what is between two users:
// what Actor does about User.
type FriendRequest struct {
	Actor int `json:"actor"`
	User  int `json:"user"`
	// Again says that the same was asked before and not answered: if things are as it
	// would have left them, it has succeeded.
	Again bool `json:"again,omitempty"`
}

// DeleteRequest asks for the deletion of what there is of a user whose account is
// deleted. It may be repeated.
type DeleteRequest struct {
	User int `json:"user"`
	// After is where the answer before this one has left off; 0 at first.
	After int `json:"after,omitempty"`
	// Final says that nothing of the user can come any more, so that what helps to
	// find it may go as well.
	Final bool `json:"final,omitempty"`
}

// DeleteResponse says whether all is deleted; if not, the same is to be asked again
// with After.
type DeleteResponse struct {
	Done  bool `json:"done"`
	After int  `json:"after,omitempty"`
}

// Change is what a request did. Who sent it rings its events.
type Change struct {
	Epoch string `json:"epoch"`
	Rings []Ring `json:"rings,omitempty"`
}

// Ring is an event that was appended to a user's inbox.
type Ring struct {
	User  int        `json:"user"`
	Event bell.Event `json:"event"`
}

// HistoryRequest asks for the newest messages that User and Peer wrote to each other,
// before an event if one is named.
type HistoryRequest struct {
	User       int   `json:"user"` // who asks
	Peer       int   `json:"peer"`
	BeforeUser int   `json:"before_user,omitempty"` // whose inbox the event is in
	BeforeSeq  int64 `json:"before_seq,omitempty"`  // 0: none is named
	Limit      int   `json:"limit"`                 // 1 to MaxHistory
}

// History is a page of a conversation, oldest message first.
type History struct {
	Messages []HistoryMessage `json:"messages"`
	More     bool             `json:"more"` // there are older ones
}

// HistoryMessage is a message of a conversation: event Seq of the inbox of Recipient.
type HistoryMessage struct {
	Sender    int    `json:"sender"`
	Recipient int    `json:"recipient"`
	Seq       int64  `json:"seq"`
	Content   string `json:"content"`
	SentAt    int64  `json:"sent_at"` // Unix milliseconds
	State     State  `json:"state"`
}

// State is how far a message has come.
type State string

// The states of a message, each of which implies those before it.
const (
	StateStored    State = "stored"
	StateDelivered State = "delivered" // confirmed by some socket of the recipient
	StateRead      State = "read"      // the recipient has said so
)

// ReadMark says that Reader has read what Peer sent up to Seq of Reader's inbox.
type ReadMark struct {
	Reader int   `json:"reader"`
	Peer   int   `json:"peer"`
	Seq    int64 `json:"seq"`
}

// Marked answers a ReadMark.
type Marked struct {
	Seq   int64 `json:"seq"`   // how far the reader has read; it may have been further before
	Moved bool  `json:"moved"` // it was not as far before
	Tell  bool  `json:"tell"`  // the peer may know of it: nobody of the two blocks the other
}
