package broker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/internal/stores"
	"pymessage/internal/testenv"
)

// clusterPartitions is less than the default, to have several on each master and few
// connections.
const clusterPartitions = 8

// shards are two brokers on a cluster, the second of which has a user in each
// partition.
type shards struct {
	cluster  *stores.RedisCluster
	channels bell.Channels
	asks     *bundle
	has      *bundle
	users    []int // by partition
	seq      int64
}

func newShards(t *testing.T) *shards {
	t.Helper()
	s := &shards{cluster: testenv.RedisCluster(t)}
	settings := bell.Redis{RedisURL: service.Secret(s.cluster.URL()), RedisPrefix: "cluster",
		RedisCluster: true, RedisPartitions: clusterPartitions}
	s.channels = settings.Channels()
	s.asks, s.has = setupOn(t, settings), setupOn(t, settings)
	for id := 10000000; len(s.users) < clusterPartitions; id++ {
		if s.channels.Partition(id) == len(s.users) {
			s.users = append(s.users, id)
			await(t, "a subscription", s.has.Subscribe(id))
		}
	}
	eventually(t, "all lines are up", s.up)
	return s
}

func (s *shards) up() bool { return s.asks.Healthy() && s.has.Healthy() }

// ringAll rings for all users, and waits until all rings were heard. Some may be lost:
// whoever is told so by Restored looks for what was missed, and otherwise the checks of
// the heads find it, for which it rings again now and then.
func (s *shards) ringAll(t *testing.T) {
	t.Helper()
	s.seq++
	missing := map[int]bool{}
	for _, user := range s.users {
		missing[user] = true
		s.asks.ring(user, s.seq)
	}
	late := time.After(patience)
	check := time.NewTicker(time.Second)
	defer check.Stop()
	ringAgain := func() {
		for user := range missing {
			s.asks.ring(user, s.seq)
		}
	}
	for len(missing) > 0 {
		select {
		case got := <-s.has.rings:
			if got.seq == s.seq {
				delete(missing, got.user)
			}
		case <-s.has.restored:
			ringAgain()
		case <-check.C:
			ringAgain()
		case <-late:
			t.Fatalf("never heard for %v", slices.Collect(maps.Keys(missing)))
		}
	}
}

// right says whether presence is: who is there is there, who is not is not.
func (s *shards) right() bool {
	absent := make([]int, len(s.users))
	for i, user := range s.users {
		absent[i] = user + clusterPartitions // of the same partition
	}
	ctx := context.Background()
	return !slices.Contains(s.asks.Connected(ctx, s.users), false) && !slices.Contains(s.asks.Connected(ctx, absent), true)
}

// neverAbsent asks all the time until stop is called, which fails the test if a user
// who was there was ever taken for absent.
func (s *shards) neverAbsent(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	var wrong []string
	asking.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for began := time.Now(); ctx.Err() == nil; <-tick.C {
			if there := s.asks.Connected(ctx, s.users); slices.Contains(there, false) {
				wrong = append(wrong, fmt.Sprintf("after %v: %v", time.Since(began), there))
			}
		}
	})
	return func() {
		t.Helper()
		cancel()
		asking.Wait()
		if len(wrong) > 0 {
			t.Errorf("users who were there were taken for absent %d times, first %s", len(wrong), wrong[0])
		}
	}
}

func TestAClusterMayReplaceItsMasters(t *testing.T) {
	t.Parallel()
	s := newShards(t)
	if !s.right() {
		t.Fatal("presence is wrong")
	}
	neverForgets(t, s.asks, s.users)
	s.ringAll(t)
	stop := s.neverAbsent(t)
	defer stop()

	var frozen *stores.Redis
	for _, change := range []struct {
		what      string
		partition int
		do        func(ctx context.Context, key string) error
	}{
		{"failover", 0, s.cluster.Failover},
		{"slot moved", clusterPartitions / 2, s.cluster.MoveSlot},
		{"master killed", clusterPartitions - 1, func(ctx context.Context, key string) error {
			_, err := s.cluster.KillMaster(ctx, key)
			return err
		}},
		{"master frozen", 0, func(ctx context.Context, key string) (err error) {
			frozen, err = s.cluster.FreezeMaster(ctx, key)
			return err
		}},
	} {
		for len(s.has.restored) > 0 {
			<-s.has.restored
		}
		began := time.Now()
		if err := change.do(t.Context(), s.channels.User(s.users[change.partition])); err != nil {
			t.Fatalf("%s: %v", change.what, err)
		}
		changed := time.Now()
		await(t, "the restoration of a line", s.has.restored)
		eventually(t, "all lines are up", s.up)
		s.ringAll(t)
		t.Logf("%s: took %v, noticed and restored %v later", change.what, changed.Sub(began), time.Since(changed))
	}
	if err := frozen.Thaw(); err != nil {
		t.Fatal(err)
	}
	replaced := client(t, frozen.URL())
	eventually(t, "who was replaced is not believed", func() bool { return !s.asks.Believes(t.Context(), replaced, s.users[0]) })
	// A connection to what hangs does not break by itself.
	if name := "pymessage_broker_uncounted_total"; s.has.metric(t, name)+s.asks.metric(t, name) == 0 {
		t.Error("it was not noticed that subscriptions do not count")
	}
	eventually(t, "presence is right again", s.right)
	s.ringAll(t)
}
