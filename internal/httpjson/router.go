package httpjson

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"pymessage/internal/fault"
)

// NewRouter makes a router that says in JSON what it does not have.
func NewRouter(middlewares ...func(http.Handler) http.Handler) *chi.Mux {
	r := chi.NewRouter()
	r.Use(middlewares...)
	r.NotFound(notFound)
	r.MethodNotAllowed(methodNotAllowed(r))
	return r
}

// notFound answers a path that no route has.
func notFound(w http.ResponseWriter, _ *http.Request) {
	WriteError(w, fault.New(fault.NotFound, "no such endpoint"))
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// methodNotAllowed answers a path of routes that was asked with the wrong method, and
// says which are right.
func methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.RawPath // as the router matches it
		if path == "" {
			path = r.URL.Path
		}
		var allowed []string
		for _, method := range methods {
			if routes.Match(chi.NewRouteContext(), method, path) {
				allowed = append(allowed, method)
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		Write(w, http.StatusMethodNotAllowed, errorBody{errorDetail{fault.Invalid, "method not allowed"}})
	}
}
