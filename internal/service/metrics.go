package service

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// noRoute is the route of requests that no route took, and otherMethod the method
// of those whose method is not one of HTTP's. What a stranger may choose freely
// must not become a label: each new value would cost a time series for ever.
const (
	noRoute     = "none"
	otherMethod = "other"
)

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace}

// requestBuckets reach from an answer out of memory to a client's last patience.
var requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// MeasureHTTP makes a middleware for chi routers that measures how long requests
// take, by route, method and class of the status. It registers the metric, so all
// routers of a process share one middleware.
func MeasureHTTP(reg prometheus.Registerer) func(http.Handler) http.Handler {
	durations := promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
		Name:    "pymessage_http_request_duration_seconds",
		Help:    "How long HTTP requests took, by route, method and class of the status.",
		Buckets: requestBuckets,
	}, []string{"route", "method", "code"})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			code := "5xx" // stays so when the handler panics
			defer func() {
				durations.WithLabelValues(route(r), method(r), code).Observe(time.Since(start).Seconds())
			}()
			next.ServeHTTP(answer, r)
			code = class(answer.Status())
		})
	}
}

// route is the pattern that took r; chi knows it only after the handlers ran.
func route(r *http.Request) string {
	if pattern := chi.RouteContext(r.Context()).RoutePattern(); pattern != "" {
		return pattern
	}
	return noRoute
}

func method(r *http.Request) string {
	if slices.Contains(methods, r.Method) {
		return r.Method
	}
	return otherMethod
}

// class is 2xx for 204. A handler that wrote nothing answered with 200.
func class(status int) string {
	if status == 0 {
		status = http.StatusOK
	}
	return strconv.Itoa(status/100) + "xx"
}
