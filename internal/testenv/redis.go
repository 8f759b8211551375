package testenv

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"pymessage/internal/stores"
)

// Redis returns the URL of a Redis and a prefix for keys and channels that no
// other test has.
func Redis(t testing.TB) (address, prefix string) {
	t.Helper()
	address, err := shared.redis.get(sharedRedis)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return address, "test-" + strings.ToLower(rand.Text())
}

// RedisServer starts a server for this test alone, which may be killed, frozen
// and started again.
func RedisServer(t testing.TB) *stores.Redis {
	t.Helper()
	dir, err := serverFolder("redis-")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	server, err := stores.StartRedis(t.Context(), stores.RedisOptions{Dir: dir})
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() { check(t, server.Kill(context.WithoutCancel(t.Context()))) })
	return server
}

// RedisCluster starts a cluster of three masters and three replicas for this test
// alone.
func RedisCluster(t testing.TB) *stores.RedisCluster {
	t.Helper()
	dir, err := serverFolder("redis-cluster-")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	cluster, err := stores.StartRedisCluster(t.Context(), dir, 3)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() { check(t, cluster.Stop(context.WithoutCancel(t.Context()))) })
	return cluster
}

// sharedRedis is the given server, or a new one for the whole process.
func sharedRedis() (string, error) {
	if given := os.Getenv("TEST_REDIS_URL"); given != "" {
		return given, nil
	}
	dir, err := serverFolder("redis-")
	if err != nil {
		return "", err
	}
	server, err := stores.StartRedis(context.Background(), stores.RedisOptions{Dir: dir})
	if err != nil {
		return "", err
	}
	atEnd(server.Kill)
	return server.URL(), nil
}
