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

	"pymessage/internal/fault"
	"pymessage/internal/stream"
)

// Metrics makes and registers metrics whose names begin alike.
type Metrics struct {
	prefix  string
	factory promauto.Factory
}

// NewMetrics is for the metrics of one part of a process, such as pymessage_gateway_.
func NewMetrics(reg prometheus.Registerer, prefix string) Metrics {
	return Metrics{prefix, promauto.With(reg)}
}

// Counter makes a counter.
func (m Metrics) Counter(name, help string) prometheus.Counter {
	return m.factory.NewCounter(prometheus.CounterOpts{Name: m.prefix + name, Help: help})
}

// Counters makes a counter for each of the values of a label. All exist from the
// start: one that begins to exist with its first event hides that event from rate().
func (m Metrics) Counters(name, help, label string, values ...string) *prometheus.CounterVec {
	counters := m.factory.NewCounterVec(prometheus.CounterOpts{Name: m.prefix + name, Help: help}, []string{label})
	for _, value := range values {
		counters.WithLabelValues(value)
	}
	return counters
}

// Gauge makes a gauge.
func (m Metrics) Gauge(name, help string) prometheus.Gauge {
	return m.factory.NewGauge(prometheus.GaugeOpts{Name: m.prefix + name, Help: help})
}

// Histogram makes a histogram.
func (m Metrics) Histogram(name, help string, buckets []float64) prometheus.Histogram {
	return m.factory.NewHistogram(prometheus.HistogramOpts{Name: m.prefix + name, Help: help, Buckets: buckets})
}

// Histograms makes histograms by the values of a label.
func (m Metrics) Histograms(name, help, label string, buckets []float64) *prometheus.HistogramVec {
	return m.factory.NewHistogramVec(prometheus.HistogramOpts{Name: m.prefix + name, Help: help, Buckets: buckets}, []string{label})
}

// Outcome is the label of what came of a request: ok, or the kind of the fault.
func Outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(fault.KindOf(err))
}

// Outcomes are those of requests that may fail in these ways.
func Outcomes(kinds ...fault.Kind) []string {
	outcomes := []string{"ok"}
	for _, kind := range kinds {
		outcomes = append(outcomes, string(kind))
	}
	return outcomes
}

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
// routers of a process share one middleware. A request for a stream, which lasts as
// long as its connection, is not measured.
func MeasureHTTP(reg prometheus.Registerer) func(http.Handler) http.Handler {
	durations := promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
		Name:    "pymessage_http_request_duration_seconds",
		Help:    "How long HTTP requests took, by route, method and class of the status.",
		Buckets: requestBuckets,
	}, []string{"route", "method", "code"})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if stream.Asked(r) {
				next.ServeHTTP(w, r)
				return
			}
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
