package chaos

import (
	"reflect"
	"testing"
	"time"
)

func TestASeedIsAPlan(t *testing.T) {
	t.Parallel()
	one, two := Plan(7, 3*time.Minute, 2, 100), Plan(7, 3*time.Minute, 2, 100)
	if !reflect.DeepEqual(one, two) {
		t.Error("the same seed gave two plans")
	}
	if reflect.DeepEqual(one, Plan(8, 3*time.Minute, 2, 100)) {
		t.Error("two seeds gave the same plan")
	}
}

func TestAPlanHasEachFaultAndEndsInTime(t *testing.T) {
	t.Parallel()
	for _, length := range []time.Duration{24 * time.Second, 150 * time.Second} {
		for seed := range uint64(200) {
			found := map[Kind]int{}
			for i, f := range Plan(seed, length, 2, 40) {
				found[f.Kind]++
				if f.At < 0 || f.At > length-settle || f.Gateway > 1 {
					t.Fatalf("seed %d: fault %d of %v: %+v", seed, i, length, f)
				}
			}
			for _, kind := range kinds {
				if found[kind] == 0 {
					t.Errorf("seed %d: no %q in %v", seed, kind, length)
				}
			}
		}
	}
}
