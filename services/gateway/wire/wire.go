// Package wire is the socket protocol, versions 1 and 2: the frames that clients
// send and get, byte for byte. See docs/protocol.md. It imports nothing of ours, so
// that it can be read alone.
//
//	client                               server
//	  {"type":"login", ...}       ──▶
//	                              ◀──    {"type":"resp","id":ID}
//	                              ◀──    events that wait, then live ones
//	  any request                 ──▶
//	                              ◀──    its answer or error, in the order of requests
package wire

// Version is the protocol that a socket speaks.
type Version int

// The versions. A client asks for the second by the WebSocket subprotocol
// Subprotocol2; without it a socket is version 1 and sees nothing of the second.
const (
	V1 Version = 1
	V2 Version = 2

	Subprotocol2 = "pymessage.v2"
)

// Type is the type of a request.
type Type string

// The requests.
const (
	Login         Type = "login"          // username, pin
	CreateAcc     Type = "create_acc"     // username, pin
	SendMsg       Type = "send_msg"       // recipient, content; version 2: nonce
	GetFriends    Type = "get_friends"    // nothing
	RequestFriend Type = "request_friend" // user
	AddFriend     Type = "add_friend"     // user
	DenyFriend    Type = "deny_friend"    // user

	Resume Type = "resume" // version 2: token, since, epoch
	Logout Type = "logout" // version 2: nothing
	Ack    Type = "ack"    // version 2: seq

	GetRequests   Type = "get_requests"   // version 2: nothing
	CancelRequest Type = "cancel_request" // version 2: user
	RemoveFriend  Type = "remove_friend"  // version 2: user
	Block         Type = "block"          // version 2: user
	Unblock       Type = "unblock"        // version 2: user
	GetBlocked    Type = "get_blocked"    // version 2: nothing
	FindUser      Type = "find_user"      // version 2: username
	GetHistory    Type = "get_history"    // version 2: user; before, limit
	MarkRead      Type = "mark_read"      // version 2: user, id
	Typing        Type = "typing"         // version 2: user
	WatchPresence Type = "watch_presence" // version 2: nothing
)

// requests of version 2; the first are those of version 1.
var requests = []Type{
	SendMsg, Login, CreateAcc, GetFriends, RequestFriend, AddFriend, DenyFriend,
	Resume, Logout, Ack,
	GetRequests, CancelRequest, RemoveFriend, Block, Unblock, GetBlocked, FindUser, GetHistory, MarkRead,
	Typing, WatchPresence,
}

const requestsOfV1 = 7

// Types lists the requests of a version. The list must not be changed.
func Types(v Version) []Type {
	if v == V2 {
		return requests
	}
	return requests[:requestsOfV1:requestsOfV1]
}

// Limits of frames and their fields.
const (
	MaxFrame   = 64 << 10 // bytes of a frame that a client may send
	MaxContent = 4096     // code points of a message
	MaxNonce   = 64       // bytes of a nonce, version 2
	MaxRef     = 64       // bytes of a ref as it is written, version 2
	MaxHistory = 200      // messages of a page of history, version 2
)

// CloseCode tells a client why its socket was closed. With 4000 to 4499 it should
// come back after a growing pause, with 4500 to 4999 it should not.
type CloseCode int

// The close codes beside those that RFC 6455 section 7.4.1 defines.
const (
	CloseRestart     CloseCode = 1012 // the gateway stops or restarts: connect again, any gateway will do
	CloseNoLogin     CloseCode = 4000 // no login within 10 seconds
	CloseNoHeartbeat CloseCode = 4001 // no sign of life within heartbeat and patience
	CloseBadFrames   CloseCode = 4500 // a hundred frames in a row that were not valid
	CloseTooMany     CloseCode = 4501 // the account has too many sockets open already
	CloseSessionOver CloseCode = 4502 // the session was ended: its token is of no use any more
)

// CloseCodes lists the close codes that a gateway uses.
var CloseCodes = []CloseCode{CloseRestart, CloseNoLogin, CloseNoHeartbeat, CloseBadFrames, CloseTooMany, CloseSessionOver}
