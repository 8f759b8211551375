package gateway

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"pymessage/internal/fault"
	"pymessage/services/gateway/wire"
)

// metrics of a gateway. Labels come from closed sets, never from clients.
type metrics struct {
	sockets           prometheus.Gauge
	requests          *prometheus.CounterVec
	errors            prometheus.Counter
	logins            *prometheus.CounterVec
	resumes           *prometheus.CounterVec
	creations         *prometheus.CounterVec
	sends             *prometheus.CounterVec
	delivered         prometheus.Counter
	catchUps          prometheus.Counter
	gaps              prometheus.Counter
	stalls            prometheus.Counter
	closes            *prometheus.CounterVec
	batchSize         prometheus.Histogram
	batchRetries      prometheus.Counter
	lateSubscriptions prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "pymessage_gateway_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "pymessage_gateway_" + name, Help: help}, []string{label})
	}
	m := metrics{
		sockets: f.NewGauge(prometheus.GaugeOpts{Name: "pymessage_gateway_sockets",
			Help: "Open sockets, logged in or not."}),
		requests:     counters("requests_total", "Valid requests by type.", "type"),
		errors:       counter("errors_total", "Error answers other than those to sends."),
		logins:       counters("logins_total", "Logins by outcome: ok, or the kind of the fault.", "outcome"),
		resumes:      counters("resumes_total", "Logins by token, by outcome: ok, or the kind of the fault.", "outcome"),
		creations:    counters("creations_total", "Account creations by outcome: ok, or the kind of the fault.", "outcome"),
		sends:        counters("sends_total", "Sends by outcome: stored, not_connected, not_friend, invalid, failed.", "outcome"),
		delivered:    counter("events_queued_total", "Events queued for a socket."),
		catchUps:     counter("inbox_reads_total", "Pages of inboxes read from the store."),
		gaps:         counter("gaps_total", "Times events before a ring did not come in time and were read from the store."),
		stalls:       counter("stalls_total", "Times the queue of a slow socket was full, so that it went on from the store."),
		closes:       counters("closes_total", "Sockets closed by the gateway, by close code.", "code"),
		batchRetries: counter("batch_retries_total", "Attempts to store a batch that were not answered with success."),
		batchSize: f.NewHistogram(prometheus.HistogramOpts{Name: "pymessage_gateway_batch_messages",
			Help: "Messages in a batch.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)}),
		lateSubscriptions: counter("late_subscriptions_total",
			"Logins that went on before Redis had confirmed the subscription."),
	}
	m.begin()
	return m
}

// begin makes every series exist from the start: a counter that begins to exist with
// its first event hides that event from rate().
func (m *metrics) begin() {
	for _, t := range wire.Types(wire.V2) {
		m.requests.WithLabelValues(string(t))
	}
	for _, kind := range []string{"ok", string(fault.Unauthorized), string(fault.TooMany), string(fault.Unavailable), string(fault.Internal)} {
		m.logins.WithLabelValues(kind)
		m.resumes.WithLabelValues(kind)
	}
	for _, kind := range []string{"ok", string(fault.Invalid), string(fault.Conflict), string(fault.TooMany), string(fault.Unavailable), string(fault.Internal)} {
		m.creations.WithLabelValues(kind)
	}
	for _, outcome := range []string{"stored", "not_connected", "not_friend", "invalid", "failed"} {
		m.sends.WithLabelValues(outcome)
	}
	for _, code := range wire.CloseCodes {
		m.closes.WithLabelValues(strconv.Itoa(int(code)))
	}
}
