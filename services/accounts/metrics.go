package accounts

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"pymessage/internal/fault"
)

// metrics are what operators see of this service beyond HTTP and the pool.
type metrics struct {
	logins           *prometheus.CounterVec
	creations        *prometheus.CounterVec
	pinQueue         prometheus.Gauge
	pinWait          prometheus.Histogram
	pinsRefused      prometheus.Counter
	pinsRemembered   prometheus.Counter
	throttleFailures prometheus.Counter
	sessionsBegun    prometheus.Counter
	sessionsEnded    *prometheus.CounterVec
	resumes          *prometheus.CounterVec
	deletions        prometheus.Counter
	outboxLength     prometheus.Gauge
	outboxTries      *prometheus.CounterVec
}

// ending is why a session has ended.
type ending string

const (
	endedByLogout ending = "logout"  // its user said so
	endedByLimit  ending = "limit"   // its user has begun too many others since
	endedByAge    ending = "expired" // its time was over
	endedByPin    ending = "pin"     // its account has another pin
)

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	m := &metrics{
		logins: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "pymessage_accounts_logins_total",
			Help: "Logins by outcome: ok, or the kind of the fault (unauthorized: unknown user or wrong pin; too_many: throttled).",
		}, []string{"outcome"}),
		creations: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "pymessage_accounts_creations_total",
			Help: "Creations of accounts by outcome: ok, or the kind of the fault (conflict: the name is taken).",
		}, []string{"outcome"}),
		pinQueue: factory.NewGauge(prometheus.GaugeOpts{
			Name: "pymessage_accounts_pin_queue_length",
			Help: "Pins that wait to be hashed.",
		}),
		pinWait: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "pymessage_accounts_pin_wait_seconds",
			Help:    "How long pins waited to be hashed.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		pinsRefused: factory.NewCounter(prometheus.CounterOpts{
			Name: "pymessage_accounts_pins_refused_total",
			Help: "Pins that were not hashed since the queue was full.",
		}),
		pinsRemembered: factory.NewCounter(prometheus.CounterOpts{
			Name: "pymessage_accounts_pins_remembered_total",
			Help: "Right pins that were not hashed since they had been right a short while ago.",
		}),
		throttleFailures: factory.NewCounter(prometheus.CounterOpts{
			Name: "pymessage_accounts_throttle_failures_total",
			Help: "Times that Redis could not be asked about attempts, which were let through.",
		}),
		sessionsBegun: factory.NewCounter(prometheus.CounterOpts{
			Name: "pymessage_accounts_sessions_begun_total",
			Help: "Sessions that were begun by a login or a creation.",
		}),
		sessionsEnded: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "pymessage_accounts_sessions_ended_total",
			Help: "Sessions that were deleted, by the reason: logout, limit (the account began too many), expired, pin (it was changed).",
		}, []string{"reason"}),
		resumes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "pymessage_accounts_resumes_total",
			Help: "Tokens that were shown, to resume a session or with a REST request, by outcome: ok, or the kind of the fault (unauthorized: the session is over; too_many: throttled).",
		}, []string{"outcome"}),
	}
	m.deletions = factory.NewCounter(prometheus.CounterOpts{
		Name: "pymessage_accounts_deletions_total",
		Help: "Accounts that were deleted.",
	})
	m.outboxLength = factory.NewGauge(prometheus.GaugeOpts{
		Name: "pymessage_accounts_outbox_length",
		Help: "Deleted accounts whose content social has not finished to delete.",
	})
	m.outboxTries = factory.NewCounterVec(prometheus.CounterOpts{
		Name: "pymessage_accounts_outbox_tries_total",
		Help: "Times that social was told to delete the content of an account, by outcome: ok, failed.",
	}, []string{"outcome"})
	for _, outcome := range []string{"ok", "failed"} {
		m.outboxTries.WithLabelValues(outcome)
	}
	// A counter that begins to exist with its first event hides that event from rate().
	for _, kind := range []fault.Kind{"ok", fault.Unauthorized, fault.TooMany, fault.Unavailable, fault.Internal} {
		m.logins.WithLabelValues(string(kind))
		m.resumes.WithLabelValues(string(kind))
	}
	for _, kind := range []fault.Kind{"ok", fault.Invalid, fault.Conflict, fault.TooMany, fault.Unavailable, fault.Internal} {
		m.creations.WithLabelValues(string(kind))
	}
	for _, why := range []ending{endedByLogout, endedByLimit, endedByAge, endedByPin} {
		m.sessionsEnded.WithLabelValues(string(why))
	}
	return m
}

// outcome is the label of what came of a request.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(fault.KindOf(err))
}
