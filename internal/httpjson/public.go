package httpjson

import (
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"pymessage/internal/fault"
)

// maxPublicBody bounds the body of a request from outside: some names and numbers.
const maxPublicBody = 64 << 10

// ReadPublic decodes the body of a request from outside. Unknown fields are
// tolerated. Faults: Unsupported (it is not said to be JSON), TooLarge, Invalid.
func ReadPublic[T any](r *http.Request) (T, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		var none T
		return none, fault.New(fault.Unsupported, "the content type must be application/json")
	}
	return read[T](r, maxPublicBody)
}

// Bearer is the token of an Authorization header: who asks.
func Bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// idPattern is the id of a user as people write it: no sign, no zeros in front.
var idPattern = regexp.MustCompile(`^[1-9][0-9]{7}$`)

// ID reads the id of a user, which is called name in the fault Invalid.
func ID(name, text string) (int, error) {
	if !idPattern.MatchString(text) {
		return 0, fault.New(fault.Invalid, "%s must be a number of 8 digits", name)
	}
	return strconv.Atoi(text)
}

// Document serves an OpenAPI document, which anybody may read.
func Document(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the client is gone: nobody is left to be told
	}
}

// NoStore keeps answers out of caches: they are for one user alone, and some hold a
// token.
func NoStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
