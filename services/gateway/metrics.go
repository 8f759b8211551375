package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/services/gateway/wire"
)

// metrics of a gateway. Labels come from closed sets, never from clients.
type metrics struct {
	sockets           prometheus.Gauge
	requests          map[wire.Type]prometheus.Counter // resolved: one for each request
	errors            prometheus.Counter
	logins            *prometheus.CounterVec
	resumes           *prometheus.CounterVec
	creations         *prometheus.CounterVec
	sends             *prometheus.CounterVec
	stored            prometheus.Counter               // resolved, of sends: one for each message
	delivered         map[bell.Kind]prometheus.Counter // resolved: one for each event
	deliveredOther    prometheus.Counter
	deliveryDelay     prometheus.Histogram
	catchUps          prometheus.Counter
	gaps              prometheus.Counter
	headsBehind       prometheus.Counter
	stalls            prometheus.Counter
	passingDropped    prometheus.Counter
	slowCloses        prometheus.Counter
	throttled         prometheus.Counter
	closes            *prometheus.CounterVec
	batchSize         prometheus.Histogram
	batchRetries      prometheus.Counter
	laneWait          prometheus.Histogram
	sendSeconds       prometheus.Histogram
	lateSubscriptions prometheus.Counter
	draining          prometheus.Gauge
	drainCuts         prometheus.Counter
	probeOK           prometheus.Gauge
	probeSeconds      prometheus.Histogram
	probeFailures     prometheus.Counter
}

// delayBuckets are seconds, from a ring that meets no queue to a socket that is fed
// by the last of our safety nets.
var delayBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 60}

func newMetrics(reg prometheus.Registerer) metrics {
	f := service.NewMetrics(reg, "pymessage_gateway_")
	counter, counters := f.Counter, f.Counters
	histogram := func(name, help string) prometheus.Histogram { return f.Histogram(name, help, delayBuckets) }
	logins := service.Outcomes(fault.Unauthorized, fault.TooMany, fault.Unavailable, fault.Internal)
	creations := service.Outcomes(fault.Invalid, fault.Conflict, fault.TooMany, fault.Unavailable, fault.Internal)
	var types, codes []string
	for _, t := range wire.Types(wire.V2) {
		types = append(types, string(t))
	}
	for _, code := range wire.CloseCodes {
		codes = append(codes, strconv.Itoa(int(code)))
	}
	m := metrics{
		sockets:   f.Gauge("sockets", "Open sockets, logged in or not."),
		requests:  map[wire.Type]prometheus.Counter{},
		errors:    counter("errors_total", "Error answers other than those to sends."),
		logins:    counters("logins_total", "Logins by outcome: ok, or the kind of the fault.", "outcome", logins...),
		resumes:   counters("resumes_total", "Logins by token, by outcome: ok, or the kind of the fault.", "outcome", logins...),
		creations: counters("creations_total", "Account creations by outcome: ok, or the kind of the fault.", "outcome", creations...),
		sends: counters("sends_total", "Sends by outcome: stored, not_connected, not_friend, invalid, failed.", "outcome",
			"stored", "not_connected", "not_friend", "invalid", "failed"),
		catchUps:       counter("inbox_reads_total", "Pages of inboxes read from the store."),
		gaps:           counter("gaps_total", "Times events before a ring did not come in time and were read from the store."),
		headsBehind:    counter("heads_behind_total", "Times a check of the heads found events of a user whose rings had not come."),
		stalls:         counter("stalls_total", "Times the queue of a slow socket was full, so that it went on from the store."),
		passingDropped: counter("passing_dropped_total", "Frames that are in no inbox and were dropped: typing, receipts and copies of own sends for a slow socket, and receipts beyond what is remembered."),
		slowCloses:     counter("slow_closes_total", "Sockets cut since a write made no progress for PATIENCE."),
		throttled:      counter("throttled_total", "Requests refused since their socket sent too many."),
		closes:         counters("closes_total", "Sockets closed by the gateway, by close code.", "code", codes...),
		batchRetries:   counter("batch_retries_total", "Attempts to store a batch that were not answered with success."),
		batchSize:      f.Histogram("batch_messages", "Messages in a batch.", prometheus.ExponentialBuckets(1, 2, 9)),
		deliveryDelay: histogram("delivery_seconds",
			"From the storing of an event (the clock of Postgres) to its writing to a socket that was there already (the clock of the gateway)."),
		laneWait:      histogram("lane_wait_seconds", "How long the oldest message of a batch waited for its lane."),
		sendSeconds:   histogram("send_seconds", "How long the oldest message of a batch took from its reading to its answer."),
		draining:      f.Gauge("draining", "1 while the gateway closes its sockets to stop."),
		probeOK:       f.Gauge("probe_ok", "1 if the last ring of the gateway for itself came through Redis, 0 if not or before the first."),
		probeSeconds:  histogram("probe_seconds", "How long rings of the gateway for itself took through Redis."),
		probeFailures: counter("probe_failures_total", "Rings of the gateway for itself that did not come through."),
		drainCuts:     counter("drain_cuts_total", "Sockets cut at the end of a drain since they did not end by themselves."),
		lateSubscriptions: counter("late_subscriptions_total",
			"Logins that went on before Redis had confirmed the subscription."),
	}
	m.stored = m.sends.WithLabelValues("stored")
	requests := counters("requests_total", "Valid requests by type.", "type", types...)
	for _, t := range wire.Types(wire.V2) {
		m.requests[t] = requests.WithLabelValues(string(t))
	}
	m.resolve(counters("events_queued_total", "Events queued for a socket, by kind; other: what was deleted, or is of a newer version.", "kind"))
	return m
}

// countedKinds are those that operators see apart.
var countedKinds = []bell.Kind{bell.KindMessage, bell.KindFriendRequest, bell.KindFriendAdded, bell.KindFriendRemoved,
	bell.KindRequestSent, bell.KindRequestClosed, bell.KindBlocked, bell.KindUnblocked}

// resolve looks up the counters of what happens for every event.
func (m *metrics) resolve(delivered *prometheus.CounterVec) {
	m.deliveredOther = delivered.WithLabelValues("other")
	m.delivered = map[bell.Kind]prometheus.Counter{}
	for _, kind := range countedKinds {
		m.delivered[kind] = delivered.WithLabelValues(string(kind))
	}
}

// queued counts an event that was queued for a socket.
func (m *metrics) queued(kind bell.Kind) {
	if counter, ok := m.delivered[kind]; ok {
		counter.Inc()
		return
	}
	m.deliveredOther.Inc()
}

// wrote notes how late the events of a batch of frames were written. Clocks that
// differ must not make a delay negative.
func (m *metrics) wrote(batch []frame) {
	var now time.Time
	for _, f := range batch {
		if f.sentAt == 0 {
			continue
		}
		if now.IsZero() {
			now = time.Now()
		}
		m.deliveryDelay.Observe(max(0, float64(now.UnixMilli()-f.sentAt)/1000))
	}
}
