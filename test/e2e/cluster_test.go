package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"pymessage/internal/bell"
	"pymessage/internal/local"
	"pymessage/internal/stores"
)

// onCluster is a deployment of its own, on a Redis Cluster of its own.
func onCluster(t *testing.T) (*local.Deployment, *stores.RedisCluster) {
	t.Helper()
	cluster, err := stores.StartRedisCluster(t.Context(), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	env := map[string][]string{"gateway": {"REDIS_CLUSTER=true", "PROBE_INTERVAL=1s"},
		"accounts": {"REDIS_CLUSTER=true"}, "social": {"REDIS_CLUSTER=true"}}
	return ownDeployment(t, local.Options{RedisURL: cluster.URL(), Env: env}), cluster
}

// says whether the metrics of a service have a line.
func says(t *testing.T, s local.Service, line string) bool {
	t.Helper()
	_, metrics := get(t, s.OpsURL+"/metrics")
	return strings.Contains(metrics, "\n"+line+"\n")
}

// awaitRings waits until the rings of all partitions come through to all gateways.
func awaitRings(t *testing.T, d *local.Deployment) {
	t.Helper()
	for _, gateway := range d.Gateways() {
		eventually(t, "rings come through to "+gateway.Name, func() bool {
			return says(t, gateway, "pymessage_gateway_probe_ok 1") && says(t, gateway, "pymessage_broker_connected 1")
		})
	}
}

func TestARedisClusterMayReplaceItsMastersUnderTraffic(t *testing.T) {
	t.Parallel()
	d, cluster := onCluster(t)
	c := gather(t, d.URL())
	c.chat()
	awaitRings(t, d)
	c.members[0].again(d.URL()).leave() // by pin, which asks for several counters at once
	accounts, _ := d.Service("accounts")
	if !says(t, accounts, "pymessage_accounts_throttle_failures_total 0") {
		t.Error("logins are not throttled on a cluster")
	}

	began := time.Now()
	channels := bell.Redis{RedisPrefix: "pymessage", RedisCluster: true, RedisPartitions: 16}.Channels()
	if err := cluster.Failover(t.Context(), channels.User(c.members[0].id)); err != nil {
		t.Fatal(err)
	}
	c.goOn()
	if _, err := cluster.KillMaster(t.Context(), channels.User(c.members[1].id)); err != nil {
		t.Fatal(err)
	}
	c.goOn()
	awaitRings(t, d)
	if ends, _ := c.breaks(began); len(ends) > 0 {
		t.Errorf("connections ended although no gateway did: %s", describe(ends))
	}
	c.quiet()
}
