package gateway

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// measured is what a histogram holds.
func measured(t *testing.T, h prometheus.Metric) (count uint64, sum time.Duration) {
	t.Helper()
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram().GetSampleCount(), time.Duration(m.GetHistogram().GetSampleSum() * float64(time.Second))
}

func TestTheDelayOfAnEventIsMeasuredForSocketsThatWereThere(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	bob.ws.Close()
	b.awaitGone(t, bob.id)
	b.append(bob.id, 10000009, "waits for bob")
	bob = b.enter(t, "bob")
	bob.expectMessages(10000009, "waits for bob")
	if count, _ := measured(t, b.metrics.deliveryDelay); count != 0 {
		t.Errorf("an event that waited for its user's login counts as late")
	}
	live := b.append(bob.id, 10000009, "while bob is here")
	live.SentAt = time.Now().Add(-2 * time.Second).UnixMilli()
	b.ring(bob.id, live)
	bob.expectMessages(10000009, "while bob is here")
	ahead := b.append(bob.id, 10000009, "by a clock that is ahead")
	ahead.SentAt = time.Now().Add(time.Hour).UnixMilli()
	b.ring(bob.id, ahead)
	bob.expectMessages(10000009, "by a clock that is ahead")
	bob.ws.Close()
	b.stop() // what was begun is measured then
	if count, sum := measured(t, b.metrics.deliveryDelay); count != 2 || sum < 2*time.Second || sum > 2*time.Second+patience {
		t.Errorf("the delays of %d events add up to %v, want 2 s of two", count, sum)
	}
}

func TestSendsAreMeasuredFromTheirReadingToTheirAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)

	alice := b.enter(t, "alice")
	alice.message(alice.id, "hello")
	alice.expect(sent)
	alice.expectMessages(alice.id, "hello")
	alice.ws.Close()
	b.stop() // what was begun is measured then
	whole, sum := measured(t, b.metrics.sendSeconds)
	waits, wait := measured(t, b.metrics.laneWait)
	if whole != 1 || waits != 1 || wait > sum {
		t.Errorf("%d batches took %v, %d waited %v for their lanes", whole, sum, waits, wait)
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
