package accounts

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
)

func testHasher(t *testing.T, change func(*Config)) *hasher {
	t.Helper()
	cfg := withDefaults(t, Config{})
	if change != nil {
		change(&cfg)
	}
	h, err := newHasher(cfg, newMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hashOf(t *testing.T, h *hasher, pin string) string {
	t.Helper()
	stored, err := h.hash(t.Context(), pin)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func verifies(t *testing.T, h *hasher, pin, stored string) bool {
	t.Helper()
	right, err := h.verify(t.Context(), pin, stored)
	if err != nil {
		t.Fatal(err)
	}
	return right
}

func TestOnlyThePinThatWasHashedIsRight(t *testing.T) {
	t.Parallel()

	h := testHasher(t, nil)
	stored := hashOf(t, h, "0042")
	if !verifies(t, h, "0042", stored) {
		t.Error("the pin is wrong")
	}
	for _, wrong := range []string{"42", "0043", "00422", "", stored} {
		if verifies(t, h, wrong, stored) {
			t.Errorf("%q is right", wrong)
		}
	}
	if hashOf(t, h, "0042") == stored {
		t.Error("two hashes of a pin are the same: there is no salt")
	}
}

func TestHashesOfOlderSettingsAreStillGood(t *testing.T) {
	t.Parallel()

	stored := hashOf(t, testHasher(t, nil), "1234")
	now := testHasher(t, func(c *Config) { c.Argon2MemoryKiB, c.Argon2Time = 64, 2 })
	if !verifies(t, now, "1234", stored) {
		t.Error("the pin is wrong since the settings changed")
	}
	if got := hashOf(t, now, "1234"); !strings.Contains(got, "$m=64,t=2,p=1$") {
		t.Errorf("new hash %s has the old settings", got)
	}
}

func TestWithoutThePepperNoPinIsRight(t *testing.T) {
	t.Parallel()

	stored := hashOf(t, testHasher(t, nil), "1234")
	other := testHasher(t, func(c *Config) { c.PinPepper = "another pepper of the tests" })
	if verifies(t, other, "1234", stored) {
		t.Error("the pepper has no part in the hash")
	}
}

func TestNoPinIsRightForNobody(t *testing.T) {
	t.Parallel()

	h := testHasher(t, nil)
	h.dummy = hashOf(t, h, "1234") // even this one
	if verifies(t, h, "1234", "") {
		t.Error("an unknown user got in")
	}
}

func TestADamagedHashIsAnErrorAndDoesNotShowItself(t *testing.T) {
	t.Parallel()

	_, err := testHasher(t, nil).verify(t.Context(), "1234", "$argon2id$nonsense")
	if fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}

func TestAFullQueueRefusesAndAWaiterMayLeave(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		h := testHasher(t, func(c *Config) { c.Argon2Workers, c.Argon2Queue = 1, 2 })
		leave, err := h.enter(t.Context()) // keeps the only worker
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		impatient, giveUp := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{impatient, t.Context()} {
			go func() {
				_, err := h.hash(ctx, "1234")
				results <- err
			}()
		}
		synctest.Wait()
		if n := testutil.ToFloat64(h.metrics.pinQueue); n != 2 {
			t.Errorf("%v wait, want 2", n)
		}
		_, err = h.verify(t.Context(), "1234", "")
		wantFault(t, err, fault.Unavailable)

		giveUp()
		if err := <-results; !errors.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		leave()
		if err := <-results; err != nil {
			t.Errorf("who waited got %v", err)
		}
		if len(h.places)+len(h.workers) != 0 || testutil.ToFloat64(h.metrics.pinQueue) != 0 {
			t.Error("places are still taken")
		}
	})
}
