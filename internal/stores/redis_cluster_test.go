package stores

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestAClusterReplacesItsMasters(t *testing.T) {
	t.Parallel()
	c, err := StartRedisCluster(t.Context(), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop(t.Context()) })
	options, err := redis.ParseClusterURL(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(options)
	defer rdb.Close()
	master := func(key string) *Redis {
		t.Helper()
		node, err := c.Master(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return node
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}

	first, second := master("1"), master("3") // the slots are 9842 and 1584, of 16384
	if first == second {
		t.Fatal("the slots are not shared")
	}
	check("writing", rdb.Set(t.Context(), "3", "three", 0).Err())
	check("moving a slot", c.MoveSlot(t.Context(), "1"))
	if moved := master("1"); moved == first {
		t.Error("the slot has not moved")
	}
	check("a failover", c.Failover(t.Context(), "3"))
	if after := master("3"); after == second {
		t.Error("the master is still the same")
	}
	killed, err := c.KillMaster(t.Context(), "3")
	check("a kill", err)
	if killed.PID() == 0 || master("3") == killed {
		t.Error("the master was not replaced")
	}
	check("coming back", killed.Restart(t.Context()))
	if three, err := rdb.Get(t.Context(), "3").Result(); err != nil || three != "three" {
		t.Errorf("read %q, %v", three, err)
	}
}
