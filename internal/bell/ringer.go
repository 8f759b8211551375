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

type ring struct {
	user     int
	envelope Envelope
	heard    func(gateways int64) // may be nil
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
	r.enqueue(ring{user: user, envelope: Envelope{Epoch: epoch, Events: []Event{ev}}})
}

// RingSessionEnd tells user's gateways that one of the user's sessions has ended.
// It never blocks and may lose the ring.
func (r *Ringer) RingSessionEnd(user int, session string) {
	r.enqueue(ring{user: user, envelope: Envelope{Session: session}})
}

// RingSessionsEnd tells user's gateways that all sessions of the user have ended but
// one, if except is not empty, and that sockets without a session have to go as well.
// It never blocks and may lose the ring.
func (r *Ringer) RingSessionsEnd(user int, except string) {
	r.enqueue(ring{user: user, envelope: Envelope{Session: EverySession, Except: except}})
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
	r.enqueue(ring{user: user, envelope: Envelope{Passing: &p}, heard: heard})
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
	next := round{latest: map[int]int{}}
	for {
		select {
		case first := <-queue:
			next.gather(first, queue)
			r.publish(context.WithoutCancel(ctx), &next)
		case <-ctx.Done():
			r.drain(context.WithoutCancel(ctx), &next, queue)
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

// round is what is published at once. It is used again and again.
type round struct {
	rings  []ring
	latest map[int]int // user: the place in rings of the last one
}

// gather takes what is queued behind first, without waiting.
func (o *round) gather(first ring, queue <-chan ring) {
	clear(o.rings)
	o.rings = append(o.rings[:0], first)
	for len(o.rings) < ringBatch {
		select {
		case next := <-queue:
			o.rings = append(o.rings, next)
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
	for _, b := range next.join() {
		payload, err := encode(b.envelope)
		if err != nil {
			r.log.ErrorContext(ctx, "ring could not be encoded", "err", err)
			continue
		}
		told := publish(ctx, r.channels.User(b.user), payload)
		if b.heard != nil {
			heard = append(heard, func() { b.heard(told.Val()) })
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

// join makes one ring of the events of one user, in place: what Redis and the gateways
// that listen have to do is by the ring.
func (o *round) join() []ring {
	if len(o.rings) == 1 {
		return o.rings
	}
	clear(o.latest)
	joined := o.rings[:0]
	for _, next := range o.rings {
		if i, ok := o.latest[next.user]; ok && joined[i].takes(next) {
			joined[i].envelope.Events = append(joined[i].envelope.Events, next.envelope.Events...)
			continue
		}
		o.latest[next.user] = len(joined)
		joined = append(joined, next)
	}
	return joined
}

// takes says whether the events of next, which comes later, can go with those of r.
func (r ring) takes(next ring) bool {
	return len(r.envelope.Events) > 0 && len(next.envelope.Events) > 0 && r.envelope.Epoch == next.envelope.Epoch &&
		sizeOf(r.envelope)+sizeOf(next.envelope) <= joinedBytes
}
