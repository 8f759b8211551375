package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
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
	// endPatience bounds the time from the last fault until everything has arrived, in
	// beats; endLimit by other clocks, should this one stand still.
	endPatience = 40 * time.Second
	endLimit    = 5 * time.Minute
	// hotUsers get more than others.
	hotUsers = 4
	// maxPadding makes some messages long, and all that flood a frozen reader.
	maxPadding = 3500
	// requestShare is how many messages there are to a friend request.
	requestShare = 25
	// maxShown violations of each rule are shown.
	maxShown = 8
)

// world is a run.
type world struct {
	t        *testing.T
	settings settings
	folder   string
	rec      *recorder
	d        *local.Deployment
	social   *relay
	relays   []*relay
	users    []user
	ids      []int
	running  sync.WaitGroup // users
	target   *target
}

// last is the last message that a user gets.
func last(user int) string { return fmt.Sprintf("the end for %d", user) }

// TestChaos is the whole: people chat while everything breaks, and nothing that was
// promised is lost.
func TestChaos(t *testing.T) {
	s := readSettings(t)
	t.Logf("CHAOS_SEED=%d CHAOS_DURATION=%v CHAOS_USERS=%d CHAOS_RATE=%d", s.seed, s.duration, s.users, s.rate)
	w := &world{t: t, settings: s, rec: newRecorder()}
	w.start()
	ctx, leave := context.WithCancel(context.Background())
	defer func() { leave(); w.running.Wait() }()
	w.beat(ctx)
	w.meet(ctx)
	w.chat(ctx)
	end := w.settle(ctx)
	stored, err := inboxes(t.Context(), w.d.PostgresURL(), w.rec.began)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	w.running.Wait()
	w.judge(w.rec.finish(stored, end))
}

// start starts the deployment, with a relay in front of social.
func (w *world) start() {
	w.folder = makeFolder(w.t)
	build(w.t, w.folder)
	w.social = w.relay(false)
	o := options(w.folder, w.settings, w.social.address())
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

// beat lets the clock go.
func (w *world) beat(ctx context.Context) {
	w.running.Go(func() {
		c := &commits{url: w.d.PostgresURL()}
		defer c.close()
		pulse(ctx, w.rec, c.commit)
	})
}

func (w *world) relay(narrow bool) *relay {
	r, err := newRelay(narrow)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = r.close() })
	return r
}

// meet makes the users, and waits until they are there.
func (w *world) meet(ctx context.Context) {
	door := strings.Replace(strings.TrimPrefix(w.d.URL(), "http://"), "localhost", "127.0.0.1", 1)
	for i := range w.settings.users {
		r := w.relay(true)
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

// newUser makes users of each sort in turn: of version 1 with one socket and with two,
// of version 2 with two, and Clients.
func (w *world) newUser(i int, address string) user {
	name := fmt.Sprintf("user-%d", i)
	switch i % 4 {
	case 0:
		return newUser1(newPerson(name, address, w.rec, 1), 1)
	case 1:
		return newUser1(newPerson(name, address, w.rec, 1), 2)
	case 2:
		return newUser2(newPerson(name, address, w.rec, 2), 2)
	}
	u, err := newUserC(name, address, w.rec)
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
		deployment: w.d, relays: w.relays, users: w.users, ids: w.ids, social: w.social, rec: w.rec, log: w.t.Logf,
		cutSubscribers: func(ctx context.Context) error { return cutSubscribers(ctx, w.d.RedisURL()) },
		slowCommits:    func(ctx context.Context, slow bool) error { return slowCommits(ctx, w.d.PostgresURL(), slow) },
	}
	var writers sync.WaitGroup
	for i := range w.users {
		writers.Go(func() { w.write(ctx, traffic, i) })
	}
	writers.Go(func() { w.deleteSome(ctx, traffic) })
	w.target.began = w.rec.now()
	if err := w.target.do(traffic, Plan(s.seed, s.duration, len(w.d.Gateways()), len(w.users))); err != nil {
		w.t.Fatal(err)
	}
	writers.Wait()
	w.target.ended = w.rec.now()
}

// write has one user write at the user's share of the rate.
func (w *world) write(ctx, traffic context.Context, i int) {
	random := rand.New(rand.NewPCG(w.settings.seed, uint64(i)+1))
	pause := time.Second * time.Duration(len(w.users)) / time.Duration(w.settings.rate)
	asked := map[int]bool{}
	for n := 0; !w.gone(i) && sleepUntil(traffic, time.Now().Add(time.Duration(random.ExpFloat64()*float64(pause)))); n++ {
		if to := w.pickStranger(random); random.IntN(requestShare) == 0 && w.mayAsk(i, to) && !asked[to] {
			asked[to] = true
			w.users[i].ask(ctx, w.ids[to])
			continue
		}
		if w.meddle(ctx, random, i) {
			continue
		}
		to, padding := w.pick(random, i)
		w.users[i].send(ctx, w.ids[to], fmt.Sprintf("%d:%d", i, n)+strings.Repeat("…", padding))
	}
}

// pick chooses a recipient, and how much a message is made longer. Some get more than
// others, and one whose reader is frozen gets so much that it has to wait in the store.
func (w *world) pick(random *rand.Rand, from int) (to, padding int) {
	if flooded := w.target.flooded.Load(); flooded != nil && random.IntN(4) == 0 {
		return (*flooded)[0], maxPadding
	}
	if random.IntN(10) == 0 {
		padding = random.IntN(maxPadding)
	}
	if peers := w.circle(from); len(peers) > 0 && random.IntN(4) == 0 {
		return peers[random.IntN(len(peers))], padding
	}
	if random.IntN(5) == 0 {
		return random.IntN(min(hotUsers, len(w.users))), padding
	}
	return random.IntN(len(w.users)), padding
}

// pickStranger chooses who is asked to be a friend, from those who are away if there
// are any.
func (w *world) pickStranger(random *rand.Rand) int {
	if away := w.target.away.Load(); away != nil {
		return (*away)[random.IntN(len(*away))]
	}
	return random.IntN(len(w.users))
}

// mayAsk is true for one of the two users of each pair: requests that cross would
// make friends, and wait no longer. Those who do all that version 2 can do with each
// other leave it to that.
func (w *world) mayAsk(i, to int) bool {
	distance := (to - i + len(w.users)) % len(w.users)
	return distance > 0 && distance < (len(w.users)+1)/2 && !isDealing(i, to)
}

func (w *world) awaitAnswers(ctx context.Context) {
	w.await(ctx, "every answer", endPatience, func() string {
		for i, u := range w.users {
			if n := u.pending(); n > 0 {
				return fmt.Sprintf("%d requests of %T %d", n, u, w.ids[i])
			}
		}
		return ""
	})
}

// await waits until nothing is lacking any more, and looks whenever something has
// happened, and now and then.
func (w *world) await(ctx context.Context, what string, patience time.Duration, lacking func() string) (ok bool) {
	began, latest := w.rec.now(), "nobody"
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		change := w.rec.change()
		lacks := lacking()
		if lacks == "" {
			w.t.Logf("waited %v for %s, at last for %s", (w.rec.now() - began).Round(time.Millisecond), what, latest)
			return true
		}
		latest = lacks
		late := w.rec.worked(began) > patience
		select {
		case <-change:
		case <-tick.C:
		case <-ctx.Done():
			late = true
		}
		if late {
			w.t.Errorf("waited in vain for %s, at last for %s", what, latest)
			return false
		}
	}
}

// keep leaves something beside the logs of a run that fails.
func (w *world) keep(name string, v any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(filepath.Join(w.folder, name), data, 0o644)
	}
	if err != nil {
		w.t.Error(err)
	}
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

// keepMetrics leaves what the services say of themselves.
func (w *world) keepMetrics() {
	all := map[string][]string{}
	for _, s := range w.d.Services() {
		all[s.Name] = strings.Split(metrics(w.t, s.OpsURL), "\n")
	}
	w.keep("metrics.json", all)
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
