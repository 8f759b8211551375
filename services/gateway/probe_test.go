package gateway

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/testenv"
)

// probing are two gateways on one Redis that probe often.
func probing(t *testing.T) (one, two *bundle) {
	t.Helper()
	url, prefix := testenv.Redis(t)
	often := func(c *Config) { c.ProbeInterval = 300 * time.Millisecond }
	n := newNeighbours(t)
	one, two = setupOn(t, url, prefix, n, often), setupOn(t, url, prefix, n, often)
	one.awaitProbe(t, "a success", one.probeOK)
	two.awaitProbe(t, "a success", two.probeOK)
	return one, two
}

// awaitProbe waits for the probe after which the answer is yes.
func (b *bundle) awaitProbe(t *testing.T, what string, ask func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		word := b.health.Word()
		if ask() {
			return
		}
		select {
		case <-word:
		case <-late:
			t.Fatalf("the probe never came to %s", what)
		}
	}
}

func (b *bundle) probeOK() bool {
	return testutil.ToFloat64(b.metrics.probeOK) == 1 && !b.warns() && !b.isUnready()
}

// isUnready says whether the gateway blames itself. It is never started as a process
// here, which would be a problem of its own.
func (b *bundle) isUnready() bool { return b.health.Problems()[probeName] != "" }

func (b *bundle) warns() bool { return b.health.Warnings()[probeName] != "" }

func TestAGatewayThatAloneHearsNoRingsIsUnreadyUntilItDoes(t *testing.T) {
	t.Parallel()
	deaf, well := probing(t)

	deaf.broker.Unsubscribe(deaf.probe.users[0])
	deaf.awaitProbe(t, "blame the gateway itself", deaf.isUnready)
	if well.isUnready() || !deaf.warns() || deaf.probeOK() {
		t.Errorf("the other: %v, %v", well.health.Problems(), well.health.Warnings())
	}
	deaf.broker.Subscribe(deaf.probe.users[0])
	deaf.awaitProbe(t, "a success", deaf.probeOK)
}

func TestGatewaysThatAllHearNoRingsStayReady(t *testing.T) {
	t.Parallel()
	one, two := probing(t)

	for _, b := range []*bundle{one, two} {
		b.broker.Unsubscribe(b.probe.users[0])
	}
	for _, b := range []*bundle{one, two} {
		b.awaitProbe(t, "five failures", func() bool { return testutil.ToFloat64(b.metrics.probeFailures) >= 5 })
		if b.isUnready() || !b.warns() {
			t.Errorf("problems %v, warnings %v", b.health.Problems(), b.health.Warnings())
		}
	}
	// The heads are checked often now: a message comes without its ring.
	bob := one.enter(t, "bob")
	one.append(bob.id, 10000009, "not rung for")
	bob.expectMessages(10000009, "not rung for")
}
