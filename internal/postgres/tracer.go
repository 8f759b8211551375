package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// stopwatch measures statements; those sent together count as one.
type stopwatch struct{ seconds prometheus.Histogram }

func newStopwatch() stopwatch {
	return stopwatch{prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "pymessage_postgres_seconds",
		Help:    "How long Postgres took for statements, those sent together counted as one. Waiting for a connection is not in it.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})}
}

type startKey struct{}

func begin(ctx context.Context) context.Context {
	return context.WithValue(ctx, startKey{}, time.Now())
}

func (w stopwatch) end(ctx context.Context) {
	if start, ok := ctx.Value(startKey{}).(time.Time); ok {
		w.seconds.Observe(time.Since(start).Seconds())
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (w stopwatch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return begin(ctx)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (w stopwatch) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	w.end(ctx)
}

// TraceBatchStart implements pgx.BatchTracer.
func (w stopwatch) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return begin(ctx)
}

// TraceBatchQuery implements pgx.BatchTracer.
func (stopwatch) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (w stopwatch) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	w.end(ctx)
}
