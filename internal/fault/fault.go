// Package fault is the one error type that crosses package and service
// boundaries. A fault has a kind, which decides how callers react and which HTTP
// status it travels as, and a message that may be shown to a user. Errors that
// are not faults are internal: they are logged whole and reach nobody.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind says what went wrong in the terms of the caller. Kinds are errors, so
// errors.Is(err, fault.NotFound) asks for one.
type Kind string

// The kinds, each with the HTTP status it travels as.
const (
	Invalid      Kind = "invalid"      // 400: the request can never succeed as it is
	Unauthorized Kind = "unauthorized" // 401: who asks is not known, or the pin is wrong
	Forbidden    Kind = "forbidden"    // 403: known, but not allowed
	NotFound     Kind = "not_found"    // 404: no such thing
	Conflict     Kind = "conflict"     // 409: it is there already, or the state forbids it
	TooLarge     Kind = "too_large"    // 413: more than is taken at once
	Unsupported  Kind = "unsupported"  // 415: not in a format that is read
	TooMany      Kind = "too_many"     // 429: throttled, try later
	Internal     Kind = "internal"     // 500: a defect; the message says nothing more
	Unavailable  Kind = "unavailable"  // 503: a part is down or full; the same request may succeed later
)

// Error makes a kind usable as the target of errors.Is.
func (k Kind) Error() string { return string(k) }

var statuses = map[Kind]int{
	Invalid:      http.StatusBadRequest,
	Unauthorized: http.StatusUnauthorized,
	Forbidden:    http.StatusForbidden,
	NotFound:     http.StatusNotFound,
	Conflict:     http.StatusConflict,
	TooLarge:     http.StatusRequestEntityTooLarge,
	Unsupported:  http.StatusUnsupportedMediaType,
	TooMany:      http.StatusTooManyRequests,
	Internal:     http.StatusInternalServerError,
	Unavailable:  http.StatusServiceUnavailable,
}

// Status is the HTTP status that k travels as.
func (k Kind) Status() int {
	if s, ok := statuses[k]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// KindOfStatus is the inverse of Kind.Status. A status that no kind has becomes
// Invalid (4xx) or Unavailable (the rest: a proxy's 502 or 504 is worth a retry).
func KindOfStatus(status int) Kind {
	for k, s := range statuses {
		if s == status {
			return k
		}
	}
	if status >= 400 && status < 500 {
		return Invalid
	}
	return Unavailable
}

// Error is a fault: a kind, a message fit for users, and optionally its cause.
type Error struct {
	Kind    Kind
	Message string
	cause   error
}

// New makes a fault without a cause.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault with a cause, which is logged but never shown to users.
func Wrap(k Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), cause: cause}
}

// Error gives the message and, for logs, the cause.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// Unwrap lets errors.Is find the kind as well as the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.cause}
}

// KindOf is the kind of err: Internal when err is not a fault.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Message is what a user may read of err.
func Message(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Kind != Internal {
		return e.Message
	}
	return "internal error"
}
