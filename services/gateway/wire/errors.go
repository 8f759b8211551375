package wire

import (
	"strconv"
	"time"
)

// Error is an error of the protocol: the text that both versions carry, and what
// only version 2 does.
type Error struct {
	Code       Code
	Text       string
	RetryAfter time.Duration // where waiting helps
}

func (e Error) Error() string { return e.Text }

// Code is what a program can tell an error of version 2 by.
type Code string

// The errors whose text does not depend on the request.
var (
	ErrAccNotFound      = Error{Code: "acc_not_found", Text: "acc not found"}
	ErrUsernameTaken    = Error{Code: "username_taken", Text: "username is taken"}
	ErrCreateFailed     = Error{Code: "create_failed", Text: "failed to create account"}
	ErrSendFailed       = Error{Code: "send_failed", Text: "failed to send message", RetryAfter: retrySoon}
	ErrFriendsFailed    = Error{Code: "friends_failed", Text: "failed to get friends", RetryAfter: retrySoon}
	ErrEndpointNotFound = Error{Code: "endpoint_not_found", Text: "endpoint not found"}
	ErrNotLoggedIn      = Error{Code: "not_logged_in", Text: "not logged in"}
	ErrAlreadyLoggedIn  = Error{Code: "already_logged_in", Text: "already logged in"}
	ErrTooManyAttempts  = Error{Code: "too_many_attempts", Text: "too many attempts, try again later", RetryAfter: retryLater}
	ErrTooManyRequests  = Error{Code: "too_many_requests", Text: "too many requests, slow down", RetryAfter: retrySoon}
	ErrUnavailable      = Error{Code: "unavailable", Text: "service unavailable, try again", RetryAfter: retrySoon}
	ErrSessionOver      = Error{Code: "token_invalid", Text: "session is over"}

	ErrRequestsFailed = Error{Code: "requests_failed", Text: "failed to get requests", RetryAfter: retrySoon}
	ErrBlockedFailed  = Error{Code: "blocked_failed", Text: "failed to get blocked", RetryAfter: retrySoon}
	ErrUserNotFound   = Error{Code: "user_not_found", Text: "no such user"}
	ErrFindFailed     = Error{Code: "find_failed", Text: "failed to find user", RetryAfter: retrySoon}
	ErrHistoryFailed  = Error{Code: "history_failed", Text: "failed to get history", RetryAfter: retrySoon}
	ErrPresenceFailed = Error{Code: "presence_failed", Text: "failed to watch presence", RetryAfter: retrySoon}
	ErrReadFailed     = Error{Code: "read_failed", Text: "failed to mark as read", RetryAfter: retrySoon}
)

// ForGood is the error where waiting does not help after all.
func (e Error) ForGood() Error {
	e.RetryAfter = 0
	return e
}

// retrySoon is for what a moment may mend, retryLater for what is throttled by
// windows of minutes.
const (
	retrySoon  = time.Second
	retryLater = 30 * time.Second
)

// BadRequest is the error of a frame that is not valid.
func BadRequest(why string) Error {
	return Error{Code: "bad_request", Text: "bad request: " + why}
}

// NotConnected answers send_msg to a user who is not there.
func NotConnected(user int64) Error {
	return Error{Code: "not_connected", Text: digits(user) + " is not connected to the network"}
}

// NotFriend answers send_msg under the policy that only friends may write.
func NotFriend(user int64) Error {
	return Error{Code: "not_friend", Text: digits(user) + " is not your friend"}
}

// RequestFailed answers request_friend.
func RequestFailed(user int64) Error {
	return Error{Code: "request_failed", Text: "failed to send friend request to " + digits(user)}
}

// NoRequest answers add_friend and deny_friend where there is nothing to answer.
func NoRequest(user int64) Error {
	return Error{Code: "no_request", Text: "no friend request from " + digits(user)}
}

// AddFailed answers add_friend when the store is down.
func AddFailed(user int64) Error {
	return Error{Code: "add_failed", Text: "failed to add friend " + digits(user), RetryAfter: retrySoon}
}

// DenyFailed answers deny_friend when the store is down.
func DenyFailed(user int64) Error {
	return Error{Code: "deny_failed", Text: "failed to deny friend " + digits(user), RetryAfter: retrySoon}
}

// NoRequestTo answers cancel_request where there is nothing to cancel.
func NoRequestTo(user int64) Error {
	return Error{Code: "no_request", Text: "no friend request to " + digits(user)}
}

// CancelFailed answers cancel_request when the store is down.
func CancelFailed(user int64) Error {
	return Error{Code: "cancel_failed", Text: "failed to cancel friend request to " + digits(user), RetryAfter: retrySoon}
}

// RemoveFailed answers remove_friend when the store is down.
func RemoveFailed(user int64) Error {
	return Error{Code: "remove_failed", Text: "failed to remove friend " + digits(user), RetryAfter: retrySoon}
}

// BlockFailed answers block when the store is down, and for users who do not exist.
func BlockFailed(user int64) Error {
	return Error{Code: "block_failed", Text: "failed to block " + digits(user), RetryAfter: retrySoon}
}

// NotBlocked answers unblock where there is no block.
func NotBlocked(user int64) Error {
	return Error{Code: "not_blocked", Text: digits(user) + " is not blocked"}
}

// UnblockFailed answers unblock when the store is down.
func UnblockFailed(user int64) Error {
	return Error{Code: "unblock_failed", Text: "failed to unblock " + digits(user), RetryAfter: retrySoon}
}

func digits(user int64) string { return strconv.FormatInt(user, 10) }
