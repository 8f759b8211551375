package chaos

import (
	"testing"
	"time"
)

func TestAClockCountsWhatTheMachineWorked(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	// A second of beats, a second in which the machine stood still, another of beats.
	var c clock
	for at := time.Duration(0); at <= 3*time.Second; at += 20 * ms {
		if at <= time.Second || at >= 2*time.Second {
			c = append(c, at)
		}
	}
	for _, test := range []struct {
		from, d, after time.Duration
	}{
		{0, 500 * ms, 500 * ms},
		{0, time.Second, time.Second},
		{500 * ms, 600 * ms, 2*time.Second + 75*ms},
		{1500 * ms, 25 * ms, 1525 * ms},
		{1500 * ms, 100 * ms, 2*time.Second + 75*ms},
		{2500 * ms, 2 * time.Second, 4500 * ms}, // beyond the last beat
	} {
		if got := c.after(test.from, test.d); got != test.after {
			t.Errorf("%v after %v is %v, want %v", test.d, test.from, got, test.after)
		}
	}
	if got := c.between(0, 3*time.Second); got != 2*time.Second+25*ms {
		t.Errorf("counted %v", got)
	}
	if got := clock(nil).after(time.Second, time.Second); got != 2*time.Second {
		t.Errorf("without a beat: %v", got)
	}
	if got := clock(nil).between(time.Second, 3*time.Second); got != 2*time.Second {
		t.Errorf("without a beat: %v", got)
	}
}
