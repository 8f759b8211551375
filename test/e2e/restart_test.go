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
		checkSpread(t, gateway.Name, returns, 2*time.Second)
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

// checkSpread checks that people came back over the time in which they were sent
// away, DRAIN_SPREAD or less if they are few, and not all at once.
func checkSpread(t *testing.T, gateway string, returns []status, drainSpread time.Duration) {
	t.Helper()
	slices.SortFunc(returns, func(a, b status) int { return a.at.Compare(b.at) })
	spread := min(drainSpread, time.Duration(len(returns))*drainStep)
	n := len(returns)
	middle := returns[n*9/10].at.Sub(returns[n/10].at)
	crowded := 0
	for i, r := range returns {
		until := slices.IndexFunc(returns[i:], func(other status) bool { return other.at.Sub(r.at) > spread/5 })
		if until < 0 {
			until = n - i
		}
		crowded = max(crowded, until)
	}
	t.Logf("%s: %d sockets came back over %v, the middle 80%% of them over %v, at most %d within %v",
		gateway, n, returns[n-1].at.Sub(returns[0].at), middle, crowded, spread/5)
	if middle < spread/2 || crowded > n/2 {
		t.Errorf("they came back in one moment")
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
