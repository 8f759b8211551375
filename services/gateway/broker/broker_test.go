package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/internal/testenv"
	"pymessage/services/gateway/broker"
)

func TestMain(m *testing.M) {
	// It ends up to a second after its pool was closed.
	testenv.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patience is how long a test waits for an event before it fails.
const patience = 10 * time.Second

// heard is what came in for a handler.
type heard struct {
	user int
	seq  int64
}

// recorder is a Handler that passes on what it is told.
type recorder struct {
	rings    chan heard
	restored chan struct{}
	left     func(partition int, users []int)
}

func (r *recorder) Deliver(user int, env bell.Envelope) {
	for _, ev := range env.Events {
		r.rings <- heard{user, ev.Seq}
	}
}
func (r *recorder) Restored()                       { r.restored <- struct{}{} }
func (r *recorder) Left(partition int, users []int) { r.left(partition, users) }

func (r *recorder) expect(t *testing.T, want heard) {
	t.Helper()
	select {
	case got := <-r.rings:
		if got != want {
			t.Fatalf("heard %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("never heard %v", want)
	}
}

// bundle is a broker that runs, and a ringer beside it.
type bundle struct {
	*broker.Broker
	*recorder
	ringer   *bell.Ringer
	registry *prometheus.Registry
}

// metric is the value of one of the broker's counters.
func (b *bundle) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func setup(t *testing.T, url, prefix string) *bundle {
	t.Helper()
	return setupOn(t, bell.Redis{RedisURL: service.Secret(url), RedisPrefix: prefix})
}

func setupOn(t *testing.T, settings bell.Redis) *bundle {
	t.Helper()
	r := &recorder{rings: make(chan heard, 10000), restored: make(chan struct{}, 100)}
	log := testenv.Logger(t)
	registry := prometheus.NewRegistry()
	b, err := broker.New(settings, r, log, registry)
	if err != nil {
		t.Fatal(err)
	}
	ringer := bell.NewRinger(b.Client(), b.Channels(), log, prometheus.NewRegistry())
	r.left = func(partition int, users []int) {
		ringer.Pass(b.Channels().Everybody(partition), bell.Passing{Kind: bell.PassingLeft, Peers: users})
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	running.Go(func() { _ = ringer.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		b.Close()
	})
	return &bundle{b, r, ringer, registry}
}

func (b *bundle) ring(user int, seq int64) {
	b.ringer.Ring(user, "epoch", bell.Event{Seq: seq, Kind: bell.KindMessage, Peer: 1, Content: "hi"})
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
	}
}

// eventually asks until the answer is yes. What it waits for has no event of its own.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); {
		if time.Now().After(deadline) {
			t.Fatalf("never came to pass: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestARingIsHeardByEveryBrokerThatSubscribed(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)

	a, b := setup(t, url, prefix), setup(t, url, prefix)
	await(t, "a's subscription", a.Subscribe(10000001))
	await(t, "b's subscription", b.Subscribe(10000001))
	await(t, "b's other subscription", b.Subscribe(10000002))
	a.ring(10000001, 1) // in order for each user, and perhaps in one
	a.ring(10000001, 2)
	a.ring(10000002, 7)
	a.expect(t, heard{10000001, 1})
	a.expect(t, heard{10000001, 2})
	b.expect(t, heard{10000001, 1})
	b.expect(t, heard{10000001, 2})
	b.expect(t, heard{10000002, 7})
}

func TestPresenceIsTheSubscription(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)

	a, b := setup(t, url, prefix), setup(t, url, prefix)
	await(t, "a's connection", a.restored)
	await(t, "b's subscription", b.Subscribe(10000002))
	if got := a.Connected(context.Background(), []int{10000001, 10000002}); got[0] || !got[1] {
		t.Fatalf("connected: %v, want [false true]", got)
	}
	b.Unsubscribe(10000002)
	await(t, "a later subscription", b.Subscribe(10000003)) // Redis answers in the order of the commands
	if online, sure := a.Online(context.Background(), []int{10000002}); online[0] || !sure {
		t.Errorf("b's user: online %v, sure %v", online[0], sure)
	}
}

func TestWhoWasFoundConnectedIsRememberedUntilTold(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	const user = 10000002
	there := func(b *bundle) bool { return b.Connected(context.Background(), []int{user})[0] }

	a, b, c := setup(t, url, prefix), setup(t, url, prefix), setup(t, url, prefix)
	await(t, "a's connection", a.restored)
	await(t, "b's subscription", b.Subscribe(user))
	await(t, "c's subscription", c.Subscribe(user))
	if !there(a) || !a.Remembers(user) {
		t.Fatal("b's user is not there, or not remembered")
	}
	b.Unsubscribe(user)
	eventually(t, "a is told that b's user left", func() bool { return !a.Remembers(user) })
	if !there(a) || !a.Remembers(user) {
		t.Fatal("c's user is not there, or not remembered")
	}
	c.Unsubscribe(user)
	eventually(t, "a is told that c's user left", func() bool { return !a.Remembers(user) })
	if there(a) || a.Remembers(user) {
		t.Error("nobody's user is there, or remembered")
	}
}

func TestManyWhoLeaveAtOnceAreAllForgotten(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)

	a, b := setup(t, url, prefix), setup(t, url, prefix)
	await(t, "a's connection", a.restored)
	var users []int
	for i := range 1000 {
		users = append(users, 10000000+i)
		await(t, "a subscription", b.Subscribe(users[i]))
	}
	a.Connected(context.Background(), users)
	for _, user := range users {
		b.Unsubscribe(user)
	}
	for _, user := range users {
		eventually(t, "a user is forgotten", func() bool { return !a.Remembers(user) })
	}
}

func TestWithoutItsConnectionABrokerRemembersNobody(t *testing.T) {
	t.Parallel()
	url := testenv.RedisServer(t).URL()

	a, b := setup(t, url, "forgets"), setup(t, url, "forgets")
	await(t, "a's connection", a.restored)
	await(t, "b's subscription", b.Subscribe(10000001))
	a.Connected(context.Background(), []int{10000001})
	if !a.Holds(10000001) {
		t.Fatal("the user is not remembered")
	}
	if err := client(t, url).Do(context.Background(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "the restoration", a.restored)
	if a.Holds(10000001) {
		t.Error("what was found before is remembered")
	}
}

func TestTheLastWordOfManySubscribesAndUnsubscribesCounts(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)

	b, watcher := setup(t, url, prefix), setup(t, url, prefix)
	await(t, "the watcher's connection", watcher.restored)
	const users = 50
	wanted := map[int]bool{}
	for range 5000 {
		user := 10000000 + rand.IntN(users)
		wanted[user] = rand.IntN(2) == 0
		if wanted[user] {
			b.Subscribe(user)
		} else {
			b.Unsubscribe(user)
		}
	}
	var all []int
	for user := range users {
		all = append(all, 10000000+user)
		if wanted[10000000+user] {
			await(t, "a confirmation", b.Subscribe(10000000+user))
		}
	}
	await(t, "a later subscription", b.Subscribe(10000000+users)) // Redis answers in the order of the commands
	for i, there := range watcher.Connected(context.Background(), all) {
		if there != wanted[all[i]] {
			t.Errorf("user %d: connected is %v", all[i], there)
		}
	}
}

func TestACutSubscriberConnectionIsNoticedAndRestored(t *testing.T) {
	t.Parallel()
	url := testenv.RedisServer(t).URL()

	b := setup(t, url, "cut")
	await(t, "the first connection", b.restored)
	for user := range 600 { // more than one batch
		await(t, "a subscription", b.Subscribe(10000000+user))
	}
	admin := client(t, url)
	if err := admin.Do(context.Background(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "the restoration", b.restored)
	if !b.Healthy() {
		t.Error("not healthy after the restoration")
	}
	b.ring(10000599, 3)
	b.expect(t, heard{10000599, 3})
	if !b.Connected(context.Background(), []int{99999999})[0] {
		t.Error("an answer right after a reconnect was believed")
	}
}

func TestRedisMayDieAndComeBackEmpty(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	ctx := context.Background()

	b := setup(t, server.URL(), "dies")
	await(t, "a subscription", b.Subscribe(10000001))
	await(t, "the first connection", b.restored)
	if err := server.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if !b.Connected(ctx, []int{10000002})[0] {
		t.Error("unknown does not count as connected while Redis is away")
	}
	later := b.Subscribe(10000003)
	b.ring(10000009, 1) // may be lost, and must not hold anything up
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, "the restoration", b.restored)
	await(t, "a subscription asked for while Redis was away", later)
	b.ring(10000003, 5)
	b.expect(t, heard{10000003, 5})
}

func TestAFrozenRedisDelaysPresenceNoLongerThanItsTimeout(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)

	b := setup(t, server.URL(), "frozen")
	await(t, "the first connection", b.restored)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if !b.Connected(context.Background(), []int{10000001})[0] {
		t.Error("unknown does not count as connected")
	}
	if took := time.Since(began); took > 2*time.Second { // 100 ms and a loaded machine
		t.Errorf("took %v", took)
	}
	eventually(t, "a connection that does not answer is given up", func() bool { return !b.Healthy() })
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	await(t, "the restoration", b.restored)
}

func TestGarbageOnAChannelIsIgnored(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)

	b := setup(t, url, prefix)
	await(t, "a subscription", b.Subscribe(10000001))
	admin := client(t, url)
	for _, garbage := range []string{"", "hi", "{}", `{"v":99,"event":{"seq":1}}`, `{"v":1,"event":{"seq":-1}}`, "\xff\x00"} {
		if err := admin.Publish(context.Background(), fmt.Sprintf("%s:user:10000001", prefix), garbage).Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.ring(10000001, 9)
	b.expect(t, heard{10000001, 9})
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	c, err := bell.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
