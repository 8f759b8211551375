package accounts

import (
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/fault"
	"pymessage/internal/service"
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
	m := service.NewMetrics(reg, "pymessage_accounts_")
	proofs := service.Outcomes(fault.Unauthorized, fault.TooMany, fault.Unavailable, fault.Internal)
	return &metrics{
		logins: m.Counters("logins_total",
			"Logins by outcome: ok, or the kind of the fault (unauthorized: unknown user or wrong pin; too_many: throttled).",
			"outcome", proofs...),
		creations: m.Counters("creations_total",
			"Creations of accounts by outcome: ok, or the kind of the fault (conflict: the name is taken).",
			"outcome", service.Outcomes(fault.Invalid, fault.Conflict, fault.TooMany, fault.Unavailable, fault.Internal)...),
		pinQueue: m.Gauge("pin_queue_length", "Pins that wait to be hashed."),
		pinWait: m.Histogram("pin_wait_seconds", "How long pins waited to be hashed.",
			[]float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10}),
		pinsRefused:      m.Counter("pins_refused_total", "Pins that were not hashed since the queue was full."),
		pinsRemembered:   m.Counter("pins_remembered_total", "Right pins that were not hashed since they had been right a short while ago."),
		throttleFailures: m.Counter("throttle_failures_total", "Times that Redis could not be asked about attempts, which were let through."),
		sessionsBegun:    m.Counter("sessions_begun_total", "Sessions that were begun by a login or a creation."),
		sessionsEnded: m.Counters("sessions_ended_total",
			"Sessions that were deleted, by the reason: logout, limit (the account began too many), expired, pin (it was changed).",
			"reason", string(endedByLogout), string(endedByLimit), string(endedByAge), string(endedByPin)),
		resumes: m.Counters("resumes_total",
			"Tokens that were shown, to resume a session or with a REST request, by outcome: ok, or the kind of the fault (unauthorized: the session is over; too_many: throttled).",
			"outcome", proofs...),
		deletions:    m.Counter("deletions_total", "Accounts that were deleted."),
		outboxLength: m.Gauge("outbox_length", "Deleted accounts whose content social has not finished to delete."),
		outboxTries: m.Counters("outbox_tries_total",
			"Times that social was told to delete the content of an account, by outcome: ok, failed.", "outcome", "ok", "failed"),
	}
}
