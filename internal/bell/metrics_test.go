package bell_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"pymessage/internal/bell"
	"pymessage/internal/testenv"
)

func TestCommandsAndTheirFailuresAreMeasured(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	client, err := bell.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reg := prometheus.NewRegistry()
	bell.Measure(reg, map[string]redis.UniversalClient{"test": client})

	ctx := t.Context()
	if err := client.Get(ctx, prefix+":nothing").Err(); err != redis.Nil {
		t.Fatalf("a key that is not there: %v", err)
	}
	pipe := client.Pipeline()
	pipe.Publish(ctx, prefix+":1", "x")
	pipe.Publish(ctx, prefix+":2", "y")
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	if err := client.Ping(late).Err(); err == nil {
		t.Fatal("a command without time was answered")
	}
	want := `
		# HELP pymessage_redis_failures_total Commands to Redis that failed or were not answered in time, by client.
		# TYPE pymessage_redis_failures_total counter
		pymessage_redis_failures_total{client="test"} 1
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "pymessage_redis_failures_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "pymessage_redis_seconds":
			// The connection's own greeting may be among them.
			if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); n < 3 {
				t.Errorf("%d commands measured, want the lookup, the pipeline and the late one", n)
			}
		case "pymessage_redis_connections":
			if len(f.GetMetric()) != 2 {
				t.Errorf("%v", f)
			}
		}
	}
}
