package bell

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"pymessage/internal/service"
)

// maxPartitions bounds the connections on which a gateway listens: one for each
// partition.
const maxPartitions = 256

// Redis are the settings of a service that rings. All processes must agree in them,
// or they do not hear each other.
type Redis struct {
	RedisURL        service.Secret `env:"REDIS_URL,required,notEmpty" help:"Redis, redis://[:password@]host:port/db; of a Redis Cluster any node, more nodes as ?addr=host:port&addr=host:port"`
	RedisPrefix     string         `env:"REDIS_PREFIX" help:"prefix of all Redis keys and channels" envDefault:"pymessage"`
	RedisCluster    bool           `env:"REDIS_CLUSTER" help:"whether REDIS_URL is that of a Redis Cluster; the same for all processes" envDefault:"false"`
	RedisPartitions int            `env:"REDIS_PARTITIONS" help:"with REDIS_CLUSTER: parts that users are spread over, a slot and a connection of each gateway for each; the same for all processes" envDefault:"16"`
}

// Faults are those of the settings; nil where there is none.
func (r Redis) Faults() []error {
	var partitions error
	if r.RedisPartitions < 1 || r.RedisPartitions > maxPartitions {
		partitions = fmt.Errorf("REDIS_PARTITIONS must be between 1 and %d", maxPartitions)
	}
	_, url := Options(string(r.RedisURL))
	if r.RedisCluster {
		_, url = clusterOptions(string(r.RedisURL))
	}
	return []error{url, partitions}
}

// Connect makes a client. It does not connect yet.
func (r Redis) Connect() (redis.UniversalClient, error) { return r.connect(0) }

// ConnectOnce makes a client that has a single connection to each server, kept open:
// for rare questions that cannot wait for a connection to be made.
func (r Redis) ConnectOnce() (redis.UniversalClient, error) { return r.connect(1) }

// connect makes a client with at most conns connections to each server; 0 leaves the
// number to the library.
func (r Redis) connect(conns int) (redis.UniversalClient, error) {
	if r.RedisCluster {
		opts, err := clusterOptions(string(r.RedisURL))
		if err != nil {
			return nil, err
		}
		if conns > 0 {
			opts.PoolSize, opts.ConnMaxIdleTime = conns, -1
		}
		return redis.NewClusterClient(opts), nil
	}
	opts, err := Options(string(r.RedisURL))
	if err != nil {
		return nil, err
	}
	if conns > 0 {
		opts.PoolSize, opts.ConnMaxIdleTime = conns, -1
	}
	return redis.NewClient(opts), nil
}

// Channels are the names of the channels. In a Redis Cluster they carry the tag of
// their partition, which decides on the slot.
func (r Redis) Channels() Channels {
	c := Channels{Prefix: r.RedisPrefix, sharded: r.RedisCluster}
	if !r.RedisCluster {
		c.stems = []string{r.RedisPrefix + ":user:"}
		return c
	}
	for _, tag := range tags(r.RedisPartitions) {
		c.stems = append(c.stems, r.RedisPrefix+":{"+tag+"}:user:")
	}
	return c
}

// Keys is what the names of keys begin with that one script uses together: in a Redis
// Cluster they share a slot.
func (r Redis) Keys(group string) string {
	if r.RedisCluster {
		group = "{" + group + "}"
	}
	return r.RedisPrefix + ":" + group + ":"
}
