package social

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"pymessage/services/social/socialapi"
)

// metrics are what operators see of this service beyond HTTP and the pool.
type metrics struct {
	stored       prometheus.Counter
	refused      *prometheus.CounterVec
	batchSize    prometheus.Histogram
	repeated     prometheus.Counter
	storeSeconds *prometheus.HistogramVec
	storeUndone  prometheus.Counter
	lookups      *prometheus.CounterVec
	lanesPruned  prometheus.Counter

	noncesRepeated prometheus.Counter
	noncesPruned   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return factory.NewCounter(prometheus.CounterOpts{Name: "pymessage_social_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: "pymessage_social_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		stored:   counter("messages_stored_total", "Messages that were stored."),
		refused:  counters("messages_refused_total", "Messages that were not stored, by the reason: unknown, not_friend, invalid, unavailable.", "reason"),
		repeated: counter("batches_repeated_total", "Batches that had been stored before and got the result that was kept."),
		batchSize: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "pymessage_social_batch_messages",
			Help:    "Messages in a batch.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
		}),
		storeSeconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pymessage_social_store_seconds",
			Help:    "How long operations on Postgres took, by operation, waiting for a connection included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"operation"}),
		storeUndone: counter("store_undone_total", "Transactions that Postgres undid to resolve a deadlock and that were begun anew. There should be none."),
		lookups:     counters("account_lookups_total", "Users asked for at accounts, by the outcome: found, absent, failed.", "outcome"),
		lanesPruned: counter("lanes_pruned_total", "Idle lanes that were forgotten."),

		noncesRepeated: counter("nonces_repeated_total", "Messages whose nonce had been stored before and that got the answer of the first."),
		noncesPruned:   counter("nonces_pruned_total", "Old nonces that were forgotten."),
	}
	// A counter that begins to exist with its first event hides that event from rate().
	for refusal := range verdicts {
		if refusal != "" {
			m.refused.WithLabelValues(string(refusal))
		}
	}
	for _, outcome := range []string{"found", "absent", "failed"} {
		m.lookups.WithLabelValues(outcome)
	}
	return m
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
