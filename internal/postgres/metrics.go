package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	connsDesc = prometheus.NewDesc("pymessage_postgres_connections",
		"Connections of the pool by state: used, idle, connecting.", []string{"state"}, nil)
	maxConnsDesc = prometheus.NewDesc("pymessage_postgres_connections_max",
		"How many connections the pool may have.", nil, nil)
	acquiresDesc = prometheus.NewDesc("pymessage_postgres_acquires_total",
		"Times that a connection was taken from the pool.", nil, nil)
	waitsDesc = prometheus.NewDesc("pymessage_postgres_acquire_waits_total",
		"Times that it had to be waited for, since all were in use or there was none yet.", nil, nil)
	waitSecondsDesc = prometheus.NewDesc("pymessage_postgres_acquire_wait_seconds_total",
		"Time spent waiting for a connection.", nil, nil)
	givenUpDesc = prometheus.NewDesc("pymessage_postgres_acquires_given_up_total",
		"Times that who waited for a connection gave up.", nil, nil)
)

// collector exports the state of a pool, read when Prometheus asks, and how long its
// statements took.
type collector struct{ pool *pgxpool.Pool }

// NewCollector makes a collector for a pool made by Open, of which a registry takes
// one.
func NewCollector(pool *pgxpool.Pool) prometheus.Collector { return collector{pool} }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	if w, ok := c.pool.Config().ConnConfig.Tracer.(stopwatch); ok {
		w.seconds.Collect(ch)
	}
	s := c.pool.Stat()
	gauge := func(desc *prometheus.Desc, value int32, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	counter := func(desc *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value)
	}
	gauge(connsDesc, s.AcquiredConns(), "used")
	gauge(connsDesc, s.IdleConns(), "idle")
	gauge(connsDesc, s.ConstructingConns(), "connecting")
	gauge(maxConnsDesc, s.MaxConns())
	counter(acquiresDesc, float64(s.AcquireCount()))
	counter(waitsDesc, float64(s.EmptyAcquireCount()))
	counter(waitSecondsDesc, s.EmptyAcquireWaitTime().Seconds())
	counter(givenUpDesc, float64(s.CanceledAcquireCount()))
}
