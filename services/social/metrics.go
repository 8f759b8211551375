package social

import (
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/service"
	"pymessage/services/social/socialapi"
)

// metrics are what operators see of this service beyond HTTP and the pool.
type metrics struct {
	stored       prometheus.Counter
	refused      *prometheus.CounterVec
	batchSize    prometheus.Histogram
	merged       prometheus.Histogram
	repeated     prometheus.Counter
	storeSeconds *prometheus.HistogramVec
	storeUndone  prometheus.Counter
	lookups      *prometheus.CounterVec
	lanesPruned  prometheus.Counter

	noncesRepeated prometheus.Counter
	noncesPruned   prometheus.Counter
	eventsPruned   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := service.NewMetrics(reg, "pymessage_social_")
	var refusals []string
	for refusal := range verdicts {
		if refusal != "" {
			refusals = append(refusals, string(refusal))
		}
	}
	return &metrics{
		stored: m.Counter("messages_stored_total", "Messages that were stored."),
		refused: m.Counters("messages_refused_total",
			"Messages that were not stored, by the reason: unknown, not_friend, invalid, unavailable.", "reason", refusals...),
		repeated: m.Counter("batches_repeated_total", "Batches that had been stored before and got the result that was kept."),
		batchSize: m.Histogram("batch_messages", "Messages in a batch.",
			[]float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}),
		merged: m.Histogram("merged_batches", "Batches of messages that one transaction stores.",
			[]float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32}),
		storeSeconds: m.Histograms("store_seconds",
			"How long operations on Postgres took, by operation, waiting for a connection included.", "operation",
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}),
		storeUndone: m.Counter("store_undone_total", "Transactions that Postgres undid to resolve a deadlock and that were begun anew. There should be none."),
		lookups: m.Counters("account_lookups_total", "Users asked for at accounts, by the outcome: found, absent, failed.",
			"outcome", "found", "absent", "failed"),
		lanesPruned: m.Counter("lanes_pruned_total", "Idle lanes that were forgotten."),

		noncesRepeated: m.Counter("nonces_repeated_total", "Messages whose nonce had been stored before and that got the answer of the first."),
		noncesPruned:   m.Counter("nonces_pruned_total", "Old nonces that were forgotten."),
		eventsPruned:   m.Counter("events_pruned_total", "Delivered events older than MESSAGE_RETENTION that were deleted."),
	}
}

// count counts the outcome of a batch.
func (m *metrics) count(results []socialapi.Result, repeated bool) {
	if repeated {
		m.repeated.Inc()
		return
	}
	m.batchSize.Observe(float64(len(results)))
	stored := 0
	for _, r := range results {
		switch {
		case r.Refused != "":
			m.refused.WithLabelValues(string(r.Refused)).Inc()
		case r.First != nil:
			m.noncesRepeated.Inc()
		default:
			stored++
		}
	}
	m.stored.Add(float64(stored))
}
