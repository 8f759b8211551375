package accounts

import (
	"context"
	"errors"
	"testing"
	"time"

	"pymessage/internal/fault"
)

func TestAPinIsRememberedForItsHashAndForAWhile(t *testing.T) {
	t.Parallel()

	now := time.Now()
	r := newRemembered(time.Minute)
	r.add("0042", "hash", now)
	for _, c := range []struct {
		pin, stored string
		after       time.Duration
		want        bool
	}{
		{"0042", "hash", 0, true},
		{"0042", "hash", time.Minute - 1, true},
		{"0042", "hash", time.Minute, false},
		{"0042", "another hash", 0, false},
		{"0043", "hash", 0, false},
		{"", "hash\x000042", 0, false},
	} {
		if got := r.has(c.pin, c.stored, now.Add(c.after)); got != c.want {
			t.Errorf("%q for %q after %v: %v", c.pin, c.stored, c.after, got)
		}
	}
	if newRemembered(time.Minute).mac("0042", "hash") == r.mac("0042", "hash") {
		t.Error("two processes have one key")
	}
}

func TestARightPinNeedsNoWorkerTheSecondTime(t *testing.T) {
	t.Parallel()

	h := testHasher(t, nil)
	chosen, before := hashOf(t, h, "0042"), hashOf2(t, "0042")
	if !verifies(t, h, "0042", before) {
		t.Fatal("the pin is wrong")
	}
	for range cap(h.workers) { // nobody is hashed any more
		h.workers <- struct{}{}
	}
	if !verifies(t, h, "0042", before) || !verifies(t, h, "0042", chosen) {
		t.Error("the pin is wrong the second time")
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.verify(late, "0043", chosen); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a wrong pin was not hashed: %v", err)
	}
	if _, err := h.verify(late, "0042", hashOf2(t, "0042")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a pin with a new hash was not hashed: %v", err)
	}
}

// hashOf2 is made by another hasher, which has workers.
func hashOf2(t *testing.T, pin string) string { return hashOf(t, testHasher(t, nil), pin) }

func TestNothingIsRememberedWhereThatIsSwitchedOff(t *testing.T) {
	t.Parallel()

	h := testHasher(t, func(c *Config) { c.PinRemembered = 0 })
	stored := hashOf(t, h, "0042")
	if !verifies(t, h, "0042", stored) || h.remembered.pins.Len() != 0 {
		t.Error("a pin is remembered")
	}
}
