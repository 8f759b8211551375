package bell

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	// ringQueue bounds the rings that wait while Redis is slow, of all partitions
	// together: some seconds of traffic. What does not fit is dropped and found by
	// the gateways' checks.
	ringQueue = 16384
	// partitionQueue is the least of them that a partition has room for.
	partitionQueue = 1024
	// ringBatch is how many rings share a pipeline.
	ringBatch = 256
	// joinedBytes is up to which size events of a user share a ring.
	joinedBytes = 16 << 10
	// ringTimeout is after how long a pipeline is given up.
	ringTimeout = time.Second
)

// ring is one event, or an envelope of what is none.
type ring struct {
	user  int
	epoch string // of the event
	event Event
	other *Envelope
	heard func(gateways int64) // may be nil
}

// Ringer publishes rings in the background, in the order they were given for a user,
// several in one round trip.
type Ringer struct {
	rdb      redis.UniversalClient
	channels Channels
	log      *slog.Logger
	queues   []chan ring // by partition: a master that is slow or away holds up its own only
	rings    *prometheus.CounterVec
}

// NewRinger makes a Ringer; it publishes while Run runs.
func NewRinger(rdb redis.UniversalClient, channels Channels, log *slog.Logger, reg prometheus.Registerer) *Ringer {
	r := &Ringer{
		rdb: rdb, channels: channels, log: log,
		rings: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "pymessage_rings_total",
			Help: "Rings by outcome: published, failed (Redis did not take them), dropped (the queue was full), gave_way (of no event, while the queue was half full).",
		}, []string{"outcome"}),
	}
	for range channels.Partitions() {
		r.queues = append(r.queues, make(chan ring, max(partitionQueue, ringQueue/channels.Partitions())))
	}
	for _, outcome := range []string{"published", "failed", "dropped", "gave_way"} {
		r.rings.WithLabelValues(outcome) // exists before its first event
	}
	return r
}

// OpenRinger makes a Ringer with a measured client of its own, which close closes.
func (r Redis) OpenRinger(log *slog.Logger, reg prometheus.Registerer) (ringer *Ringer, close func() error, err error) {
	rdb, err := r.Connect()
	if err != nil {
		return nil, nil, err
	}
	Measure(reg, map[string]redis.UniversalClient{"rings": rdb})
	return NewRinger(rdb, r.Channels(), log, reg), rdb.Close, nil
}

// Ring tells user's gateways of ev. It never blocks and may lose the ring.
func (r *Ringer) Ring(user int, epoch string, ev Event) {
	r.enqueue(ring{user: user, epoch: epoch, event: ev})
}

// RingSessionEnd tells user's gateways that one of the user's sessions has ended.
// It never blocks and may lose the ring.
func (r *Ringer) RingSessionEnd(user int, session string) {
	r.enqueue(ring{user: user, other: &Envelope{Session: session}})
}

// RingSessionsEnd tells user's gateways that all sessions of the user have ended but
// one, if except is not empty, and that sockets without a session have to go as well.
// It never blocks and may lose the ring.
func (r *Ringer) RingSessionsEnd(user int, except string) {
	r.enqueue(ring{user: user, other: &Envelope{Session: EverySession, Except: except}})
}

// Pass tells user's gateways of something that is in no inbox. It never blocks; it may
// be lost, and gives way to rings when many wait.
func (r *Ringer) Pass(user int, p Passing) { r.PassCounted(user, p, nil) }

// PassCounted is Pass, and calls heard with the number of gateways that were told,
// unless it was lost. heard must not block.
func (r *Ringer) PassCounted(user int, p Passing, heard func(gateways int64)) {
	if queue := r.queues[r.channels.Partition(user)]; len(queue) > cap(queue)/2 {
		r.rings.WithLabelValues("gave_way").Inc()
		return
	}
	r.enqueue(ring{user: user, other: &Envelope{Passing: &p}, heard: heard})
}

func (r *Ringer) enqueue(next ring) {
	select {
	case r.queues[r.channels.Partition(next.user)] <- next:
	default:
		r.rings.WithLabelValues("dropped").Inc()
	}
}

// Start runs r until hush is called, which returns when all rings are out. It outlives
// ctx: the last requests that are answered ring too.
func (r *Ringer) Start(ctx context.Context) (hush func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ringing sync.WaitGroup
	ringing.Go(func() { _ = r.Run(ctx) }) // ends only when it is stopped
	return func() {
		stop()
		ringing.Wait()
	}
}

// Run publishes until ctx ends, then publishes what is still queued.
func (r *Ringer) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, queue := range r.queues {
		g.Go(func() error { return r.run(ctx, queue) })
	}
	return g.Wait()
}

func (r *Ringer) run(ctx context.Context, queue <-chan ring) error {
	next := newRound()
	for {
		select {
		case first := <-queue:
			next.gather(first, queue)
			r.publish(context.WithoutCancel(ctx), next)
		case <-ctx.Done():
			r.drain(context.WithoutCancel(ctx), next, queue)
			return ctx.Err()
		}
	}
}

func (r *Ringer) drain(ctx context.Context, next *round, queue <-chan ring) {
	for {
		select {
		case first := <-queue:
			next.gather(first, queue)
			r.publish(ctx, next)
		default:
			return
		}
	}
}

func (r *Ringer) publish(ctx context.Context, next *round) {
	gathered := float64(len(next.rings))
	ctx, cancel := context.WithTimeout(ctx, ringTimeout)
	defer cancel()
	pipe := r.rdb.Pipeline()
	publish := pipe.Publish
	if r.channels.Sharded() {
		publish = pipe.SPublish
	}
	var heard []func()
	next.join()
	for _, c := range next.chains {
		payload, err := next.payload(c)
		if err != nil {
			r.log.ErrorContext(ctx, "ring could not be encoded", "err", err)
			continue
		}
		first := next.rings[c.first]
		told := publish(ctx, r.channels.User(first.user), payload)
		if first.heard != nil {
			heard = append(heard, func() { first.heard(told.Val()) })
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		r.log.WarnContext(ctx, "rings lost; the gateways' checks will find what they were for", "rings", gathered, "err", err)
		r.rings.WithLabelValues("failed").Add(gathered)
		return
	}
	r.rings.WithLabelValues("published").Add(gathered)
	for _, tell := range heard {
		tell()
	}
}
