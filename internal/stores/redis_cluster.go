package stores

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	// clusterSlots is how many slots every cluster has.
	clusterSlots = 16384

	// nodeTimeout is after how long the nodes replace one that is silent: short, for
	// here a network is never slow.
	nodeTimeout = time.Second

	// clusterTimeout bounds the wait for the nodes to agree: they gossip.
	clusterTimeout = 30 * time.Second
)

// RedisCluster is a private Redis Cluster on 127.0.0.1: masters that share the slots in
// equal pieces, and a replica of each. Its methods change who is master of what, as
// operators and accidents do, and return when the nodes concerned agree.
type RedisCluster struct {
	nodes []*Redis // the first masters, then their replicas in the same order
}

// StartRedisCluster starts a cluster with that many masters, whose nodes have their
// folders in dir.
func StartRedisCluster(ctx context.Context, dir string, masters int) (*RedisCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	c := &RedisCluster{nodes: make([]*Redis, 2*masters)}
	password := rand.Text()
	group, starting := errgroup.WithContext(ctx)
	for i := range c.nodes {
		group.Go(func() (err error) {
			c.nodes[i], err = startNode(starting, filepath.Join(dir, strconv.Itoa(i)), password)
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		err = c.form(ctx, masters)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a Redis Cluster: %w", err), c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// startNode starts a node that knows of no others.
func startNode(ctx context.Context, dir, password string) (*Redis, error) {
	r, err := newRedis(RedisOptions{Dir: dir})
	if err != nil {
		return nil, err
	}
	r.password = password
	return r, insist(ctx, func() (err error) {
		if r.port, err = FreePort(); err != nil {
			return err
		}
		if r.busPort, err = FreePort(); err != nil {
			return err
		}
		r.server.(*redisProcess).more = fmt.Sprintf("cluster-enabled yes\ncluster-port %d\ncluster-node-timeout %d\n"+
			"masterauth %s\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n", r.busPort, nodeTimeout.Milliseconds(), password)
		return r.launch(ctx)
	})
}

// form makes a cluster of nodes that do not know each other.
func (c *RedisCluster) form(ctx context.Context, masters int) error {
	for i, node := range c.nodes {
		err := node.do(ctx, func(rdb *redis.Client) error {
			if i < masters {
				if err := rdb.ClusterAddSlotsRange(ctx, i*clusterSlots/masters, (i+1)*clusterSlots/masters-1).Err(); err != nil {
					return err
				}
			}
			// Each its own, or the nodes would have to settle that first.
			return rdb.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err()
		})
		if err != nil {
			return err
		}
		err = c.nodes[0].do(ctx, func(rdb *redis.Client) error {
			return rdb.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", node.port, node.busPort).Err()
		})
		if i > 0 && err != nil {
			return err
		}
	}
	for i, replica := range c.nodes[masters:] {
		if err := replica.follow(ctx, c.nodes[i]); err != nil {
			return err
		}
	}
	return until(ctx, c.agreed)
}

// follow makes r the replica of master.
func (r *Redis) follow(ctx context.Context, master *Redis) error {
	id, err := master.id(ctx)
	if err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error { // it may not know of the master yet
		return r.do(ctx, func(rdb *redis.Client) error { return rdb.ClusterReplicate(ctx, id).Err() })
	})
}

// agreed says whether all nodes know of all slots, with a master and a replica that
// work.
func (c *RedisCluster) agreed(ctx context.Context) error {
	for _, node := range c.nodes {
		err := node.do(ctx, func(rdb *redis.Client) error {
			shards, err := rdb.ClusterShards(ctx).Result()
			if err != nil {
				return err
			}
			if len(shards) != len(c.nodes)/2 {
				return errors.New("some masters are not known")
			}
			for _, shard := range shards {
				if len(shard.Slots) == 0 || len(shard.Nodes) != 2 ||
					shard.Nodes[0].Health != "online" || shard.Nodes[1].Health != "online" {
					return errors.New("a shard is not complete")
				}
			}
			return rdb.Exists(ctx, "anything").Err() // refused while the node finds the cluster broken
		})
		if err != nil && !redis.HasErrorPrefix(err, "MOVED") {
			return err
		}
	}
	return nil
}

// URL is how clients connect: it names all nodes.
func (c *RedisCluster) URL() string {
	others := url.Values{}
	for _, node := range c.nodes[1:] {
		others.Add("addr", loopback(node.port))
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", c.nodes[0].password), Host: loopback(c.nodes[0].port),
		RawQuery: others.Encode()}
	return u.String()
}

// Stop ends all nodes at once.
func (c *RedisCluster) Stop(ctx context.Context) error {
	var group errgroup.Group
	for _, node := range c.nodes {
		if node != nil {
			group.Go(func() error { return node.Kill(ctx) })
		}
	}
	return group.Wait()
}

// Master is the node that is in charge of key's slot: that says so itself.
func (c *RedisCluster) Master(ctx context.Context, key string) (*Redis, error) {
	return c.find(ctx, func(ctx context.Context, rdb *redis.Client) error { return rdb.Exists(ctx, key).Err() })
}

// find is the first node that runs and takes what is asked of it.
func (c *RedisCluster) find(ctx context.Context, ask func(context.Context, *redis.Client) error) (found *Redis, err error) {
	for _, node := range c.nodes {
		err = node.do(ctx, func(rdb *redis.Client) error { return ask(ctx, rdb) })
		if err == nil {
			return node, nil
		}
	}
	return nil, err
}

// KillMaster ends the master of key's slot by SIGKILL, and returns when its replica
// has taken its place.
func (c *RedisCluster) KillMaster(ctx context.Context, key string) (killed *Redis, err error) {
	return c.lose(ctx, key, func(node *Redis) error { return node.Kill(ctx) })
}

// FreezeMaster makes the master of key's slot hang, and returns when its replica has
// taken its place.
func (c *RedisCluster) FreezeMaster(ctx context.Context, key string) (frozen *Redis, err error) {
	return c.lose(ctx, key, (*Redis).Freeze)
}

func (c *RedisCluster) lose(ctx context.Context, key string, damage func(*Redis) error) (lost *Redis, err error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	if lost, err = c.Master(ctx, key); err != nil {
		return nil, err
	}
	if err := damage(lost); err != nil {
		return nil, err
	}
	return lost, until(ctx, func(ctx context.Context) error {
		_, err := c.Master(ctx, key)
		return err
	})
}

// Failover makes the replica of key's master the master, and the master its replica.
func (c *RedisCluster) Failover(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	before, err := c.Master(ctx, key)
	if err != nil {
		return err
	}
	for i, node := range c.nodes { // nodes of a pair stay one
		if node == before {
			replica := c.nodes[(i+len(c.nodes)/2)%len(c.nodes)]
			err = replica.do(ctx, func(rdb *redis.Client) error { return rdb.ClusterFailover(ctx).Err() })
		}
	}
	if err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		after, err := c.Master(ctx, key)
		if err == nil && after == before {
			return errors.New("the master is still the same")
		}
		return err
	})
}

// MoveSlot gives key's slot, in which there must be no keys, to another master.
func (c *RedisCluster) MoveSlot(ctx context.Context, key string) error {
	from, err := c.Master(ctx, key)
	if err != nil {
		return err
	}
	to, err := c.find(ctx, func(ctx context.Context, rdb *redis.Client) error {
		role, err := rdb.Do(ctx, "ROLE").Slice()
		if err == nil && (role[0] != "master" || rdb.Options().Addr == loopback(from.port)) {
			return errors.New("no other master")
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.handOver(ctx, key, from, to)
}

// handOver follows the steps that Redis prescribes.
func (c *RedisCluster) handOver(ctx context.Context, key string, from, to *Redis) error {
	fromID, err := from.id(ctx)
	if err != nil {
		return err
	}
	toID, err := to.id(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		node  *Redis
		state string
		id    string
	}{{to, "IMPORTING", fromID}, {from, "MIGRATING", toID}, {to, "NODE", toID}, {from, "NODE", toID}} {
		err := step.node.do(ctx, func(rdb *redis.Client) error {
			slot, err := rdb.ClusterKeySlot(ctx, key).Result()
			if err != nil {
				return err
			}
			return rdb.Do(ctx, "CLUSTER", "SETSLOT", slot, step.state, step.id).Err()
		})
		if err != nil {
			return fmt.Errorf("setting the slot to %s: %w", step.state, err)
		}
	}
	return nil
}

// id is the node's in its cluster.
func (r *Redis) id(ctx context.Context) (id string, err error) {
	err = r.do(ctx, func(rdb *redis.Client) error {
		id, err = rdb.ClusterMyID(ctx).Result()
		return err
	})
	return id, err
}

// do talks with the node.
func (r *Redis) do(ctx context.Context, talk func(*redis.Client) error) error {
	if err := listens(ctx, loopback(r.port)); err != nil { // go-redis logs what it cannot dial
		return err
	}
	client := r.client()
	defer client.Close()
	return talk(client)
}

// until asks until there is no error.
func until(ctx context.Context, ask func(context.Context) error) error {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}
