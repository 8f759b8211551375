package bell

import (
	"slices"
	"strings"
	"testing"
)

// onCluster are settings for a Redis Cluster.
func onCluster(partitions int) Redis {
	return Redis{RedisURL: "redis://127.0.0.1:1", RedisPrefix: "p", RedisCluster: true, RedisPartitions: partitions}
}

func TestUserChannelsAreToldFromOthers(t *testing.T) {
	t.Parallel()

	for _, c := range []Channels{{Prefix: "p"}, Redis{RedisPrefix: "p"}.Channels(), onCluster(16).Channels()} {
		for _, id := range []int{12345678, 99999999, c.Nobody(c.Partitions() - 1)} {
			if got, ok := c.UserOf(c.User(id)); !ok || got != id {
				t.Errorf("%s: got %d, %v", c.User(id), got, ok)
			}
		}
		for _, channel := range []string{"", "p:user:", "p:user:x", "q:user:12345678", "p:session:12345678",
			strings.TrimSuffix(c.User(12345678), "8") + "9x", "p:{no tag}:user:12345678"} {
			if _, ok := c.UserOf(channel); ok {
				t.Errorf("%q is taken for a user's channel", channel)
			}
		}
	}
	if got := (Redis{RedisPrefix: "p"}).Channels().User(12345678); got != "p:user:12345678" {
		t.Errorf("the channel without a cluster is %s: neighbours of other versions do not hear it", got)
	}
}

func TestNobodysChannelIsInItsPartition(t *testing.T) {
	t.Parallel()

	c := onCluster(7).Channels()
	for partition := range 7 {
		id := c.Nobody(partition)
		if c.Partition(id) != partition || id >= 0 {
			t.Errorf("%d is in partition %d, want %d", id, c.Partition(id), partition)
		}
	}
}

func TestSlotsAreThoseOfRedis(t *testing.T) {
	t.Parallel()

	for tag, slot := range map[string]int{"foo": 12182, "1": 9842, "3": 1584, "123456789": 12739} {
		if got := slotOf(tag); got != slot {
			t.Errorf("%q has slot %d, want %d", tag, got, slot)
		}
	}
}

func TestPartitionsAreSpreadEvenlyOverTheSlots(t *testing.T) {
	t.Parallel()

	for _, n := range []int{1, 2, 3, 16, maxPartitions} {
		all := tags(n)
		for i, tag := range all {
			if got := slotOf(tag) * n / slots; got != i {
				t.Errorf("the tag %s of %d of %d is in part %d", tag, i, n, got)
			}
		}
		slices.Sort(all)
		if len(slices.Compact(all)) != n {
			t.Errorf("%d tags are not different", n)
		}
	}
}

func TestFaultySettingsAreRefused(t *testing.T) {
	t.Parallel()

	bad := onCluster(16)
	bad.RedisURL = "http://bob:hunter2@cache"
	for name, r := range map[string]Redis{"REDIS_PARTITIONS": onCluster(0), "REDIS_PARTITIONS must": onCluster(maxPartitions + 1),
		"REDIS_URL": bad, "REDIS_URL is": {RedisURL: "cache", RedisPartitions: 1}} {
		var faults []string
		for _, f := range r.Faults() {
			if f != nil {
				faults = append(faults, f.Error())
			}
		}
		if len(faults) != 1 || !strings.HasPrefix(faults[0], name) || strings.Contains(faults[0], "hunter2") {
			t.Errorf("%s: %v", name, faults)
		}
	}
	for _, f := range onCluster(maxPartitions).Faults() {
		if f != nil {
			t.Error(f)
		}
	}
}
