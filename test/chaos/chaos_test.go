//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pymessage/internal/local"
)

const (
	// startPatience bounds the start of everything, and the making of accounts.
	startPatience = 2 * time.Minute
	// endPatience bounds the time from the last fault until everything has arrived.
	endPatience = 60 * time.Second
	// hotUsers get more than others.
	hotUsers = 4
	// maxPadding makes some messages long, and all that flood a frozen reader.
	maxPadding = 3500
	// maxShown violations of each rule are shown.
	maxShown = 8
)

// world is a run.
type world struct {
	t        *testing.T
	settings settings
	rec      *recorder
	d        *local.Deployment
	social   *relay
	relays   []*relay
	users    []user
	ids      []int
	running  sync.WaitGroup // users
	target   *target
}

// TestChaos is the whole: people chat while everything breaks, and nothing that was
// promised is lost.
func TestChaos(t *testing.T) {
	s := readSettings(t)
	t.Logf("CHAOS_SEED=%d CHAOS_DURATION=%v CHAOS_USERS=%d CHAOS_RATE=%d", s.seed, s.duration, s.users, s.rate)
	w := &world{t: t, settings: s, rec: newRecorder()}
	w.start()
	ctx, leave := context.WithCancel(context.Background())
	defer func() { leave(); w.running.Wait() }()
	w.meet(ctx)
	w.chat(ctx)
	w.settle(ctx)
	stored, err := inboxes(t.Context(), w.d.PostgresURL())
	if err != nil {
		t.Fatal(err)
	}
	leave()
	w.running.Wait()
	w.judge(w.rec.finish(stored, w.skipped()))
}

// start starts the deployment, with a relay in front of social.
func (w *world) start() {
	folder := makeFolder(w.t)
	build(w.t, folder)
	w.social = w.relay()
	o := options(folder, w.settings, w.social.address())
	o.Report = func(what string) { w.rec.stray(0, "a program", what) }
	ctx, cancel := context.WithTimeout(w.t.Context(), startPatience)
	defer cancel()
	d, err := local.Start(ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.d = d
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			w.t.Error(err)
		}
	})
	social, _ := d.Service("social")
	w.social.lead(strings.TrimPrefix(social.InternalURL, "http://"))
}

func (w *world) relay() *relay {
	r, err := newRelay()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = r.close() })
	return r
}

// meet makes the users, every other one of version 1, and waits until they are there.
func (w *world) meet(ctx context.Context) {
	door := strings.Replace(strings.TrimPrefix(w.d.URL(), "http://"), "localhost", "127.0.0.1", 1)
	for i := range w.settings.users {
		r := w.relay()
		r.lead(door)
		w.relays = append(w.relays, r)
		u := w.newUser(i, r.address())
		w.users = append(w.users, u)
		w.running.Go(func() { u.run(ctx) })
	}
	limit, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for _, u := range w.users {
		id, err := u.ready(limit)
		if err != nil {
			w.t.Fatal(err)
		}
		w.ids = append(w.ids, id)
	}
}

func (w *world) newUser(i int, address string) user {
	name := fmt.Sprintf("user-%d", i)
	if i%2 == 0 {
		return newUser1(name, address, w.rec)
	}
	u, err := newUser2(name, address, w.rec)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// chat has everybody write, while faults happen.
func (w *world) chat(ctx context.Context) {
	s := w.settings
	traffic, stop := context.WithTimeout(ctx, s.duration)
	defer stop()
	w.target = &target{
		deployment: w.d, relays: w.relays, ids: w.ids, social: w.social, rec: w.rec, log: w.t.Logf,
		cutSubscribers: func(ctx context.Context) error { return cutSubscribers(ctx, w.d.RedisURL()) },
		slowCommits:    func(ctx context.Context, slow bool) error { return slowCommits(ctx, w.d.PostgresURL(), slow) },
	}
	var writers sync.WaitGroup
	for i := range w.users {
		writers.Go(func() { w.write(ctx, traffic, i) })
	}
	if err := w.target.do(traffic, Plan(s.seed, s.duration, len(w.d.Gateways()), len(w.users))); err != nil {
		w.t.Fatal(err)
	}
	writers.Wait()
}

// write has one user write at the user's share of the rate.
func (w *world) write(ctx, traffic context.Context, i int) {
	random := rand.New(rand.NewPCG(w.settings.seed, uint64(i)+1))
	pause := time.Second * time.Duration(len(w.users)) / time.Duration(w.settings.rate)
	for n := 0; sleepUntil(traffic, time.Now().Add(time.Duration(random.ExpFloat64()*float64(pause)))); n++ {
		to, padding := w.pick(random)
		w.users[i].send(ctx, w.ids[to], fmt.Sprintf("%d:%d", i, n)+strings.Repeat(".", padding))
	}
}

// pick chooses a recipient, and how much a message is made longer. Some get more than
// others, and one whose reader is frozen gets so much that it has to wait in the store.
func (w *world) pick(random *rand.Rand) (to, padding int) {
	if flooded := int(w.target.flooded.Load()); flooded > 0 && random.IntN(4) == 0 {
		return flooded - 1, maxPadding
	}
	if random.IntN(10) == 0 {
		padding = random.IntN(maxPadding)
	}
	if random.IntN(5) == 0 {
		return random.IntN(min(hotUsers, len(w.users))), padding
	}
	return random.IntN(len(w.users)), padding
}

// settle waits until every send has its answer, or never gets one, and everybody has
// everything that is stored.
func (w *world) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	began := time.Now()
	pending := func() (n int) {
		for _, u := range w.users {
			n += u.pending()
		}
		return n
	}
	if !w.await(ctx, func() bool { return pending() == 0 }) {
		w.t.Errorf("%d sends are still without an answer", pending())
	}
	var last map[int]int
	for {
		stored, err := waiting(ctx, w.d.PostgresURL())
		if err != nil {
			w.t.Errorf("counting what is stored: %v", err)
			return
		}
		if maps.Equal(stored, last) {
			w.t.Logf("all is quiet after %v", time.Since(began).Round(time.Millisecond))
			return
		}
		if !w.await(ctx, func() bool { return w.allHave(stored) }) {
			w.t.Error("not everybody has got everything")
			return
		}
		last = stored
	}
}

func (w *world) allHave(stored map[int]int) bool {
	return !slices.ContainsFunc(w.ids, func(id int) bool { return w.rec.has(id) < stored[id] })
}

// await looks again whenever something has happened, and now and then, as the end of
// a socket is nothing that is told.
func (w *world) await(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		change := w.rec.change()
		if done() {
			return true
		}
		select {
		case <-change:
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// skipped counts what clients of version 2 gave up waiting for.
func (w *world) skipped() (n int64) {
	for _, u := range w.users {
		if u, ok := u.(*user2); ok {
			n += u.client.Stats().Skipped
		}
	}
	return n
}

// judge checks the history and prints what it amounts to.
func (w *world) judge(h History) {
	slack := time.Second
	if raced {
		slack = 3 * time.Second
	}
	violations, n := Check(h, slack)
	w.t.Logf("sends: %d acknowledged, %d refused (%d of connected users, in fault windows), %d failed, %d unanswered",
		n.Acknowledged, n.Refused, n.Excused, n.Failed, n.Unanswered)
	w.t.Logf("%d stored, %d delivered on %d sockets, of them %d repeated to version 1 within the allowance",
		n.Stored, n.Delivered, n.Sockets, n.Repeated)
	w.t.Logf("%d times a slow socket went on from the store, at the gateways that live", w.stalls())
	w.t.Logf("longest gap in service: %v, at %v", n.LongestGap.Round(time.Millisecond), n.LongestGapAt.Round(time.Millisecond))
	for _, kind := range kinds {
		w.t.Logf("fault: %2d x %s", n.Faults[kind], kind)
		if n.Faults[kind] == 0 {
			w.t.Errorf("no fault of the kind %q", kind)
		}
	}
	if least := w.settings.rate * int(w.settings.duration/time.Second) / 4; n.Acknowledged < least {
		w.t.Errorf("only %d messages were acknowledged, less than %d: this shows nothing", n.Acknowledged, least)
	}
	w.show(violations)
}

// stalls counts how often the queue of a socket was full. A gateway that was killed
// has forgotten.
func (w *world) stalls() (n int) {
	for _, g := range w.d.Gateways() {
		for line := range strings.Lines(metrics(w.t, g.OpsURL)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if count, err := strconv.Atoi(value); err == nil && strings.HasSuffix(name, "_stalls_total") {
				n += count
			}
		}
	}
	return n
}

// metrics reads the metrics of a service. Its connection does not outlive the answer.
func metrics(t *testing.T, ops string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (w *world) show(violations []Violation) {
	shown := map[Rule]int{}
	for _, v := range violations {
		if shown[v.Rule]++; shown[v.Rule] <= maxShown {
			w.t.Error(v)
		}
	}
	for rule, n := range shown {
		if n > maxShown {
			w.t.Errorf("%s: %d in all", rule, n)
		}
	}
}
