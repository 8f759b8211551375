package service_test

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"pymessage/internal/service"
	"pymessage/internal/testenv"
)

func TestTheHeadroomIsAPercentageOfTheHeapOrTheLeast(t *testing.T) {
	t.Parallel()

	const mib = 1 << 20
	for _, c := range []struct {
		base   int
		marked uint64
		want   int
	}{
		{50, 0, 400},
		{50, 4 * mib, 400},
		{50, 8 * mib, 400},
		{50, 63 * mib, 50},
		{50, 10 << 30, 50},
		{100, 20 * mib, 160},
		{100, 40 * mib, 100},
		{1000, 0, 1000},
	} {
		if got := service.PercentFor(c.base, c.marked); got != c.want {
			t.Errorf("%d percent of %d MiB: GOGC is %d, want %d", c.base, c.marked/mib, got, c.want)
		}
	}
}

// Not parallel, and so alone in the process, as GOGC is one for all of it.
func TestGOGCFollowsTheHeapWhileAProgramServes(t *testing.T) {
	const base = 200 // minHeadroom is 200 percent of 16 MiB
	before, _ := collector()
	serve(t, base, nil, func() {
		if got := settled(t, base); got <= base {
			t.Errorf("with a small heap GOGC is %d", got)
		}
		held := make([]byte, 24<<20)
		if got := settled(t, base); got != base {
			t.Errorf("with a large heap GOGC is %d", got)
		}
		runtime.KeepAlive(held)
		if got := settled(t, base); got <= base {
			t.Errorf("with a heap that was large GOGC is %d", got)
		}
	})
	collect()
	collect() // by now the finalizers of the first have run
	if after, _ := collector(); after != before {
		t.Errorf("GOGC was %d and is %d", before, after)
	}
}

// Not parallel, as above.
func TestAGOGCOfTheOperatorsIsLeftAlone(t *testing.T) {
	before, _ := collector()
	serve(t, 200, []string{"GOGC=70"}, func() { // which Go itself read when the process began
		if got, _ := collector(); got != before {
			t.Errorf("GOGC was %d and is %d", before, got)
		}
	})
}

// serve runs a program that does something and ends.
func serve(t *testing.T, gcPercent int, environ []string, do func()) {
	t.Helper()
	program := service.Program{
		Name: "brief", Settings: new(settings), GCPercent: gcPercent,
		Serve: func(context.Context, *service.Process) error { do(); return nil },
	}
	out, _ := testenv.NewLogBook()
	environ = append(environ, "KEY=0123456789abcdef")
	if status := service.Main(program, []string{"serve"}, environ, out, out); status != 0 {
		t.Errorf("status %d\n%s", status, out)
	}
}

// settled collects until GOGC is what the rule says of the heap, which is soon.
func settled(t *testing.T, base int) (percent int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		collect()
		percent, marked := collector()
		want := service.PercentFor(base, marked)
		if percent == want {
			return percent
		}
		if time.Now().After(deadline) {
			t.Fatalf("GOGC is %d, want %d for %d bytes", percent, want, marked)
		}
	}
}

// collector is the present GOGC, and how much the last collection marked.
func collector() (percent int, marked uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/gogc:percent"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples[1:] {
		marked += s.Value.Uint64()
	}
	return int(samples[0].Value.Uint64()), marked
}

// garbage is what a collection finds.
type garbage struct{ found chan struct{} }

// collect collects, and waits until finalizers have begun to run.
func collect() {
	found := make(chan struct{})
	runtime.SetFinalizer(&garbage{found}, func(g *garbage) { close(g.found) })
	runtime.GC()
	<-found
}
