// Package wire is the socket protocol, version 1: the frames that clients send
// and get, byte for byte. See docs/protocol.md. It imports nothing of ours, so
// that it can be read alone.
//
//	client                               server
//	  {"type":"login", ...}       ──▶
//	                              ◀──    {"type":"resp","id":ID}
//	                              ◀──    events that wait, then live ones
//	  any request                 ──▶
//	                              ◀──    its answer or error, in the order of requests
package wire

// Type is the type of a request.
type Type string

// The requests of version 1.
const (
	Login         Type = "login"          // username, pin
	CreateAcc     Type = "create_acc"     // username, pin
	SendMsg       Type = "send_msg"       // recipient, content
	GetFriends    Type = "get_friends"    // nothing
	RequestFriend Type = "request_friend" // user
	AddFriend     Type = "add_friend"     // user
	DenyFriend    Type = "deny_friend"    // user
)

// Types lists the requests of version 1.
var Types = []Type{Login, CreateAcc, SendMsg, GetFriends, RequestFriend, AddFriend, DenyFriend}

// Limits of frames and their fields.
const (
	MaxFrame   = 64 << 10 // bytes of a frame that a client may send
	MaxContent = 4096     // code points of a message
)

// The messages of errors whose text does not depend on the request.
const (
	ErrAccNotFound      = "acc not found"
	ErrUsernameTaken    = "username is taken"
	ErrCreateFailed     = "failed to create account"
	ErrSendFailed       = "failed to send message"
	ErrFriendsFailed    = "failed to get friends"
	ErrEndpointNotFound = "endpoint not found"
	ErrNotLoggedIn      = "not logged in"
	ErrAlreadyLoggedIn  = "already logged in"
	ErrTooManyAttempts  = "too many attempts, try again later"
	ErrTooManyRequests  = "too many requests, slow down"
	ErrUnavailable      = "service unavailable, try again"
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
)

// CloseCodes lists the close codes that a gateway uses.
var CloseCodes = []CloseCode{CloseRestart, CloseNoLogin, CloseNoHeartbeat, CloseBadFrames, CloseTooMany}
