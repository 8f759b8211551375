package client

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrUnknownOutcome says that a request was sent and its answer did not come: it
	// may or may not have been carried out.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
	// ErrClosed says that Run has returned, or will.
	ErrClosed = errors.New("the client is closed")
	// ErrVersion says that the request needs version 2.
	ErrVersion = errors.New("this needs version 2 of the protocol")
)

// Code is what a program can tell an error of the server by: errors.Is(err,
// client.ErrNotConnected) holds for an *Error of that code.
type Code string

func (c Code) Error() string { return string(c) }

// The codes. Version 1 sends only texts; the client knows their codes.
const (
	ErrAccNotFound      Code = "acc_not_found"
	ErrUsernameTaken    Code = "username_taken"
	ErrCreateFailed     Code = "create_failed"
	ErrTokenInvalid     Code = "token_invalid" // the session is over; also of a CloseError 4502
	ErrNotConnected     Code = "not_connected" // and the message was not kept
	ErrNotFriend        Code = "not_friend"
	ErrSendFailed       Code = "send_failed"
	ErrFriendsFailed    Code = "friends_failed"
	ErrRequestFailed    Code = "request_failed"
	ErrNoRequest        Code = "no_request"
	ErrAddFailed        Code = "add_failed"
	ErrDenyFailed       Code = "deny_failed"
	ErrBadRequest       Code = "bad_request"
	ErrEndpointNotFound Code = "endpoint_not_found"
	ErrNotLoggedIn      Code = "not_logged_in"
	ErrAlreadyLoggedIn  Code = "already_logged_in"
	ErrTooManyAttempts  Code = "too_many_attempts"
	ErrTooManyRequests  Code = "too_many_requests" // the request was not carried out
	ErrUnavailable      Code = "unavailable"

	ErrRequestsFailed Code = "requests_failed"
	ErrCancelFailed   Code = "cancel_failed"
	ErrRemoveFailed   Code = "remove_failed"
	ErrBlockFailed    Code = "block_failed"
	ErrNotBlocked     Code = "not_blocked"
	ErrUnblockFailed  Code = "unblock_failed"
	ErrBlockedFailed  Code = "blocked_failed"
	ErrUserNotFound   Code = "user_not_found"
	ErrFindFailed     Code = "find_failed"
	ErrHistoryFailed  Code = "history_failed"
	ErrReadFailed     Code = "read_failed"
	ErrPresenceFailed Code = "presence_failed"
)

// Error is an error that the server answered with.
type Error struct {
	Code       Code // empty where version 1 sends a text that is not known
	Message    string
	RetryAfter time.Duration // where waiting helps
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is find an Error by its Code.
func (e *Error) Is(target error) bool { return target == error(e.Code) }

func errorOf(f *frame) *Error {
	e := &Error{Code: f.Code, Message: f.Error, RetryAfter: time.Duration(f.RetryAfterMS) * time.Millisecond}
	if e.Code == "" {
		e.Code = codeOf(e.Message)
	}
	return e
}

// texts are the errors of version 1 and their codes. * stands for a user's id.
var texts = map[string]Code{
	"acc not found":                      ErrAccNotFound,
	"username is taken":                  ErrUsernameTaken,
	"failed to create account":           ErrCreateFailed,
	"* is not connected to the network":  ErrNotConnected,
	"* is not your friend":               ErrNotFriend,
	"failed to send message":             ErrSendFailed,
	"failed to get friends":              ErrFriendsFailed,
	"failed to send friend request to *": ErrRequestFailed,
	"no friend request from *":           ErrNoRequest,
	"failed to add friend *":             ErrAddFailed,
	"failed to deny friend *":            ErrDenyFailed,
	"endpoint not found":                 ErrEndpointNotFound,
	"not logged in":                      ErrNotLoggedIn,
	"already logged in":                  ErrAlreadyLoggedIn,
	"too many attempts, try again later": ErrTooManyAttempts,
	"too many requests, slow down":       ErrTooManyRequests,
	"service unavailable, try again":     ErrUnavailable,
}

func codeOf(text string) Code {
	if strings.HasPrefix(text, "bad request: ") {
		return ErrBadRequest
	}
	words := strings.Fields(text)
	for i, word := range words {
		if strings.Trim(word, "0123456789") == "" {
			words[i] = "*"
		}
	}
	return texts[strings.Join(words, " ")]
}

// The close codes that have a meaning of their own here.
const (
	closeRestart     = 1012 // of RFC 6455's registry: the gateway stops or restarts
	closeForGood     = 4500 // and above, below 5000: do not connect again
	closeSessionOver = 4502
)

// CloseError is how the server closed a connection. Run returns one when its Code
// is 4500 to 4999: the server does not want this client back. But after 4502, the
// end of the session, the client begins another if it has a pin.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("the server closed the connection: %d %s", e.Code, e.Reason)
}

// Is makes errors.Is(err, ErrTokenInvalid) hold for the end of the session.
func (e *CloseError) Is(target error) bool {
	return target == error(ErrTokenInvalid) && e.Code == closeSessionOver
}

func (e *CloseError) forGood() bool { return e.Code >= closeForGood && e.Code < 5000 }
