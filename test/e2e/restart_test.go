package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pymessage/internal/local"
)

// restart ends a program, by whatever, and starts it again.
func restart(t *testing.T, d *local.Deployment, name string, end func(name string) error) {
	t.Helper()
	if err := end(name); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func TestARollingRestartUnderTrafficLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Env: map[string][]string{"gateway": {"DRAIN_SPREAD=2s"}}})
	c := gather(t, d.URL())
	c.chat()
	c.goOn()
	terminate := func(name string) error { return d.Terminate(t.Context(), name) }

	for _, gateway := range d.Gateways() {
		began := time.Now()
		restart(t, d, gateway.Name, terminate)
		c.goOn()
		ends, returns := c.breaks(began)
		checkDrain(t, gateway.Name, ends)
		checkSpread(t, gateway.Name+" sent away", ends, 2*time.Second)
		checkSpread(t, "they came back to others than "+gateway.Name, returns, 2*time.Second)
		if log, err := os.ReadFile(gateway.LogFile); err != nil || !strings.Contains(string(log), "serve finished") {
			t.Errorf("%s did not end in good order: %v", gateway.Name, err)
		}
	}
	began := time.Now()
	for _, service := range []string{"accounts", "social"} {
		restart(t, d, service, terminate)
		c.goOn()
	}
	if ends, _ := c.breaks(began); len(ends) > 0 {
		t.Errorf("connections ended although no gateway did: %s", describe(ends))
	}
	c.quiet()
}

// checkDrain checks that all were told why.
func checkDrain(t *testing.T, gateway string, ends []status) {
	t.Helper()
	if len(ends) < crowdSize/4 {
		t.Errorf("only %d sockets were at %s", len(ends), gateway)
	}
	for _, end := range ends {
		if !isClose(end.Err, 1012) {
			t.Errorf("a socket of %s ended with %v", gateway, end.Err)
		}
	}
}

// drainStep is the longest pause between two sockets that a gateway closes.
const drainStep = 20 * time.Millisecond

// checkSpread checks that something happened to people over the time in which a gateway
// closes its sockets, DRAIN_SPREAD or less if they are few, and not at once.
func checkSpread(t *testing.T, what string, to []status, drainSpread time.Duration) {
	t.Helper()
	slices.SortFunc(to, func(a, b status) int { return a.at.Compare(b.at) })
	n := len(to)
	spread := min(drainSpread, time.Duration(n)*drainStep)
	middle := to[n*9/10].at.Sub(to[n/10].at)
	crowded := 0 // the most within a fifth of it
	for i, first := range to {
		until := slices.IndexFunc(to[i:], func(s status) bool { return s.at.Sub(first.at) > spread/5 })
		if until < 0 {
			until = n - i
		}
		crowded = max(crowded, until)
	}
	t.Logf("%s: %d sockets over %v, the middle 80%% of them over %v, at most %d within %v",
		what, n, to[n-1].at.Sub(to[0].at), middle, crowded, spread/5)
	if middle < spread/2 || crowded > n/2 {
		t.Errorf("%s: all in one moment", what)
	}
}

func TestEachPartMayBeKilledUnderTraffic(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Durable: true})
	c := gather(t, d.URL())
	c.chat()
	c.goOn()
	for _, name := range []string{"social", "accounts", "redis", "postgres", "gateway-1", "gateway-2"} {
		restart(t, d, name, func(name string) error { return d.Kill(t.Context(), name) })
		c.goOn()
	}
	c.quiet()
}
