// Package httpjson is how the services speak JSON over HTTP: handlers return
// errors and one function writes them, and a client turns them back into faults.
package httpjson

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"pymessage/internal/fault"
)

// maxBody bounds the body of any request. The largest is a batch of messages.
const maxBody = 16 << 20

// SecretHeader carries the shared secret of internal requests.
const SecretHeader = "X-Internal-Secret"

// errorBody is the one shape of an error answer.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code    fault.Kind `json:"code"`
	Message string     `json:"message"`
}

// Handler is an HTTP handler that returns what it answers: a value to be written
// as JSON, an Answer, or an error.
type Handler func(r *http.Request) (any, error)

// Answer is an answer with another status than 200, or without a body.
type Answer struct {
	Status int
	Body   any // nil: none
}

// Done is the answer to what has succeeded and has nothing to tell.
var Done = Answer{Status: http.StatusNoContent}

func (a Answer) write(w http.ResponseWriter) {
	if a.Body == nil {
		w.WriteHeader(a.Status)
		return
	}
	Write(w, a.Status, a.Body)
}

// Handle makes a Handler into an http.HandlerFunc. Internal errors are logged
// whole and answered with "internal error".
func Handle(log *slog.Logger, h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := h(r)
		if err != nil {
			if fault.KindOf(err) == fault.Internal && r.Context().Err() == nil {
				log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			}
			WriteError(w, err)
			return
		}
		if answer, ok := out.(Answer); ok {
			answer.write(w)
			return
		}
		Write(w, http.StatusOK, out)
	}
}

// Endpoint is a Handler for requests with a JSON body of type In.
func Endpoint[In, Out any](log *slog.Logger, f func(r *http.Request, in In) (Out, error)) http.HandlerFunc {
	return Handle(log, func(r *http.Request) (any, error) {
		in, err := Read[In](r)
		if err != nil {
			return nil, err
		}
		return f(r, in)
	})
}

// Read decodes the body of r, a request of a service of ours. Unknown fields are
// tolerated, since neighbouring versions run side by side.
func Read[T any](r *http.Request) (T, error) { return read[T](r, maxBody) }

func read[T any](r *http.Request, most int64) (T, error) {
	var v T
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return v, fault.New(fault.TooLarge, "request body is larger than %d bytes", most)
		}
		return v, fault.Wrap(fault.Invalid, err, "request body could not be read")
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fault.Wrap(fault.Invalid, err, "request body is not the expected JSON")
	}
	return v, nil
}

// Write answers with v as JSON.
func Write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone: nobody is left to be told
}

// Least times in seconds after which it makes sense to ask again: a moment may mend
// an outage, throttling is by windows of minutes.
var retryAfter = map[fault.Kind]string{fault.Unavailable: "1", fault.TooMany: "30"}

// WriteError answers with err in the one shape of an error.
func WriteError(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	if seconds, ok := retryAfter[kind]; ok {
		w.Header().Set("Retry-After", seconds)
	}
	if kind == fault.Unauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	Write(w, kind.Status(), errorBody{errorDetail{kind, fault.Message(err)}})
}

// RequireSecret lets only requests through that carry the shared secret. It is
// Forbidden without: Unauthorized is what a service says of its own users.
func RequireSecret(secret string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := r.Header.Get(SecretHeader)
			if subtle.ConstantTimeCompare([]byte(got), []byte(secret)) != 1 {
				WriteError(w, fault.New(fault.Forbidden, "wrong internal secret"))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
