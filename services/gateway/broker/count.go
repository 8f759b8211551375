package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// checkInterval is the time between two looks at whether Redis counts the lines. It
// takes as long to notice that a slot has moved silently, and as long again until
// go-redis knows where to.
const checkInterval = time.Second

// errUncounted ends a connection whose channels Redis does not count: it was cut
// without our noticing, or its node is not the master any more.
var errUncounted = errors.New("its subscriptions are not counted by Redis")

// answer is what the Redis in charge of a line says.
type answer struct {
	given  bool             // by the one that is in charge
	ours   bool             // it counts what we have subscribed to on this line
	counts map[string]int64 // subscriptions by channel
}

// ask asks for the number of subscriptions to channels, which are given and answered
// by line. A line without channels is not asked about.
//
// In a cluster each master counts its own subscribers only, and so does one that was
// replaced without being told so yet. So every question asks for two things more:
// whether the node is in charge of the slot, and for the beacon of the line.
func (b *Broker) ask(ctx context.Context, channels [][]string) []answer {
	answers := make([]answer, len(b.lines))
	if !b.channels.Sharded() {
		if len(channels[0]) > 0 {
			answers[0] = b.askServer(ctx, b.lines[0], channels[0])
		}
		return answers
	}
	var asking sync.WaitGroup
	for node, lines := range b.masters(ctx, channels) {
		asking.Go(func() { b.askNode(ctx, node, lines, channels, answers) })
	}
	asking.Wait()
	return answers
}

// askServer asks a Redis that is alone.
func (b *Broker) askServer(ctx context.Context, l *line, channels []string) answer {
	beacon := b.channels.User(l.beacon)
	counts, err := b.presence.PubSubNumSub(ctx, append(channels, beacon)...).Result()
	return answer{given: err == nil, ours: counts[beacon] > 0, counts: counts}
}

// masters are the nodes that have the slots of the lines with channels, as far as
// go-redis knows.
func (b *Broker) masters(ctx context.Context, channels [][]string) map[*redis.Client][]*line {
	cluster := b.presence.(*redis.ClusterClient)
	out := map[*redis.Client][]*line{}
	for _, l := range b.lines {
		if len(channels[l.number]) == 0 {
			continue
		}
		if node, err := cluster.MasterForKey(ctx, b.channels.User(l.beacon)); err == nil {
			out[node] = append(out[node], l)
		}
	}
	return out
}

// askNode asks one node about lines, in one round trip, and fills in their answers.
func (b *Broker) askNode(ctx context.Context, node *redis.Client, lines []*line, channels [][]string, answers []answer) {
	pipe := node.Pipeline()
	var names []string
	charges := make([]*redis.IntCmd, len(lines))
	for i, l := range lines {
		beacon := b.channels.User(l.beacon)
		charges[i] = pipe.Exists(ctx, beacon) // there is no such key: only the slot counts
		names = append(append(names, channels[l.number]...), beacon)
	}
	all := pipe.PubSubShardNumSub(ctx, names...)
	_, _ = pipe.Exec(ctx) // each command has its error
	counts, err := all.Result()
	for i, l := range lines {
		given := err == nil && inCharge(charges[i].Err())
		if !given {
			b.presence.(*redis.ClusterClient).ReloadState(ctx)
		}
		answers[l.number] = answer{given: given, ours: given && counts[b.channels.User(l.beacon)] > 0, counts: counts}
	}
}

// inCharge says whether a node that answered a command with err has its slot. One
// that is about to give it away still has it.
func inCharge(err error) bool { return err == nil || redis.HasErrorPrefix(err, "ASK") }

// watch looks every second whether Redis counts what the lines have subscribed to,
// and gives up the connections of which it does not.
func (b *Broker) watch(ctx context.Context) error {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.check(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Broker) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkInterval)
	defer cancel()
	question := make([][]string, len(b.lines))
	drops := make([]context.CancelCauseFunc, len(b.lines))
	for i, l := range b.lines {
		if drops[i] = l.connection(); drops[i] != nil {
			question[i] = []string{b.channels.User(l.beacon)}
		}
	}
	for i, a := range b.ask(ctx, question) {
		if drops[i] != nil && a.given && !a.ours {
			b.metrics.uncounted.Inc()
			drops[i](errUncounted)
		}
	}
}

// connection is what gives up the present connection; nil where there is none whose
// beacon is confirmed.
func (l *line) connection() context.CancelCauseFunc {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.connected {
		return nil
	}
	return l.drop
}

// reload has go-redis look again which node of a cluster has which slots, and waits
// for it: ForEachMaster begins with that.
func (b *Broker) reload(ctx context.Context) {
	if cluster, ok := b.rdb.(*redis.ClusterClient); ok {
		_ = cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
	}
}
