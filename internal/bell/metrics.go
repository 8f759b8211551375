package bell

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

var (
	connsDesc = prometheus.NewDesc("pymessage_redis_connections",
		"Connections to Redis by client and state: used, idle. Those that listen for rings are not among them.",
		[]string{"client", "state"}, nil)
	poolTimeoutsDesc = prometheus.NewDesc("pymessage_redis_pool_timeouts_total",
		"Times that a command waited in vain for a connection to Redis, by client.", []string{"client"}, nil)
)

// Measure exports how long the commands of clients take, how many fail, and the
// state of their pools, by the names given. A process calls it once.
func Measure(reg prometheus.Registerer, clients map[string]redis.UniversalClient) {
	f := promauto.With(reg)
	seconds := f.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "pymessage_redis_seconds",
		Help:    "How long commands to Redis took, by client: a pipeline counts as one, waiting for a connection is included.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"client"})
	failed := f.NewCounterVec(prometheus.CounterOpts{
		Name: "pymessage_redis_failures_total",
		Help: "Commands to Redis that failed or were not answered in time, by client.",
	}, []string{"client"})
	for name, client := range clients {
		hold(client, stopwatch{seconds.WithLabelValues(name), failed.WithLabelValues(name)})
	}
	reg.MustRegister(pools(clients))
}

// hold has w measure what client does; of a cluster, what it asks of each node.
func hold(client redis.UniversalClient, w stopwatch) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		client.AddHook(w)
		return
	}
	cluster.OnNewNode(func(node *redis.Client) { node.AddHook(w) })
}

// stopwatch measures commands.
type stopwatch struct {
	seconds prometheus.Observer
	failed  prometheus.Counter
}

func (w stopwatch) note(start time.Time, err error) error {
	w.seconds.Observe(time.Since(start).Seconds())
	if isFailure(err) {
		w.failed.Inc()
	}
	return err
}

// isFailure leaves out what is no fault of Redis: there is no such key, a script is
// not known yet, another node of the cluster knows, who asked is gone.
func isFailure(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) {
		return false
	}
	return !redis.HasErrorPrefix(err, "NOSCRIPT") && !redis.HasErrorPrefix(err, "MOVED") && !redis.HasErrorPrefix(err, "ASK")
}

// DialHook implements redis.Hook.
func (w stopwatch) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (w stopwatch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		return w.note(start, next(ctx, cmd))
	}
}

// ProcessPipelineHook implements redis.Hook.
func (w stopwatch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		return w.note(start, next(ctx, cmds))
	}
}

// pools are clients by name, whose pools are looked at when Prometheus asks.
type pools map[string]redis.UniversalClient

// Describe implements prometheus.Collector.
func (p pools) Describe(ch chan<- *prometheus.Desc) {
	ch <- connsDesc
	ch <- poolTimeoutsDesc
}

// Collect implements prometheus.Collector.
func (p pools) Collect(ch chan<- prometheus.Metric) {
	for name, client := range p {
		s := client.PoolStats()
		used := max(0, int64(s.TotalConns)-int64(s.IdleConns))
		ch <- prometheus.MustNewConstMetric(connsDesc, prometheus.GaugeValue, float64(used), name, "used")
		ch <- prometheus.MustNewConstMetric(connsDesc, prometheus.GaugeValue, float64(s.IdleConns), name, "idle")
		ch <- prometheus.MustNewConstMetric(poolTimeoutsDesc, prometheus.CounterValue, float64(s.Timeouts), name)
	}
}
