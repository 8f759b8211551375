package bell

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// Channels names the pub/sub channels under a prefix, which keeps several
// deployments on one Redis apart. In a Redis Cluster (see Redis.Channels) the users
// are spread over partitions, the channels of each in one slot.
type Channels struct {
	Prefix  string
	stems   []string // by partition, up to the user's id; without Redis Cluster one or none
	sharded bool
}

// Sharded says whether the channels are those of sharded pub/sub.
func (c Channels) Sharded() bool { return c.sharded }

// Partitions is how many there are: 1 without Redis Cluster.
func (c Channels) Partitions() int { return max(1, len(c.stems)) }

// Partition is the one that a user belongs to, from 0.
func (c Channels) Partition(user int) int { return int(uint(user) % uint(c.Partitions())) }

// User is the channel of a user's inbox.
func (c Channels) User(id int) string { return c.stem(id) + strconv.Itoa(id) }

// UserOf is the user whose channel it is.
func (c Channels) UserOf(channel string) (id int, ok bool) {
	start := strings.LastIndexByte(channel, ':') + 1
	id, err := strconv.Atoi(channel[start:])
	return id, err == nil && channel[:start] == c.stem(id)
}

func (c Channels) stem(user int) string {
	if len(c.stems) == 0 {
		return c.Prefix + ":user:"
	}
	return c.stems[c.Partition(user)]
}

// Everybody is an id that no user has, in a partition, to whose channel all gateways
// listen.
func (c Channels) Everybody(partition int) int { return partition }

// Nobody is an id that no user has, in a partition: whoever asks for it has a
// channel of their own there.
func (c Channels) Nobody(partition int) int {
	id := -1 - rand.IntN(1<<53)
	for c.Partition(id) != partition {
		id--
	}
	return id
}
