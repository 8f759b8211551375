package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pymessage/client"
	"pymessage/internal/local"
)

// freezer stops clients from reading, as if their processes were suspended.
type freezer struct {
	mu     sync.Mutex
	thawed chan struct{} // closed unless they are frozen
}

func newFreezer() *freezer {
	f := &freezer{thawed: make(chan struct{})}
	f.thaw()
	return f
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thawed = make(chan struct{})
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.thawed)
}

func (f *freezer) gate() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.thawed
}

// dial connects with little room in the kernel, so that it shows soon that nobody
// reads. Less than a segment, which is 64 KiB here, would make it slow.
func (f *freezer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		err = conn.(*net.TCPConn).SetReadBuffer(256 << 10)
	}
	return &frozenConn{Conn: conn, freezer: f, closed: make(chan struct{})}, err
}

type frozenConn struct {
	net.Conn
	freezer *freezer
	closing sync.Once
	closed  chan struct{}
}

func (c *frozenConn) Read(b []byte) (int, error) {
	select {
	case <-c.freezer.gate():
	case <-c.closed:
	}
	return c.Conn.Read(b)
}

func (c *frozenConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

const (
	// flood is how many messages come for each frozen reader.
	flood = 1000
	// withheld is about how many bytes come for the two of them.
	withheld = 2 * flood * 16000
	// allowed is what a gateway's heap may grow by meanwhile: two queues of 256 KiB,
	// what is being written, and what others do. Its process grows by garbage, too.
	allowed = 8 << 20
)

// winter is a gateway with two readers that can be frozen, one of each version.
type winter struct {
	*freezer
	t       *testing.T
	gateway local.Service
	frozen  []*person
	senders []*person // one for each of them
	sent    []int     // by each of those
}

func newWinter(t *testing.T, d *local.Deployment, gateway string) *winter {
	t.Helper()
	w := &winter{freezer: newFreezer(), t: t, sent: []int{0, 0}}
	w.gateway, _ = d.Service(gateway)
	for version := client.Version1; version <= client.Version2; version++ {
		w.senders = append(w.senders, join(t, w.gateway.PublicURL, 2, "sender"))
		w.frozen = append(w.frozen, join(t, w.gateway.PublicURL, version, "frozen",
			func(c *client.Config) { c.DialContext = w.dial }))
	}
	return w
}

// fill sends the flood, and more of it until each reader is like this to its sender.
func (w *winter) fill(until client.SendStatus) {
	w.t.Helper()
	filler := strings.Repeat("\U0001F600", 4000)
	ctx, cancel := context.WithTimeout(w.t.Context(), 4*patience)
	defer cancel()
	var senders sync.WaitGroup
	for i, sender := range w.senders {
		senders.Go(func() {
			status := client.SendStatus("")
			for n := 0; (n < flood || status != until) && ctx.Err() == nil; n++ {
				result, err := sender.Send(ctx, w.frozen[i].id, fmt.Sprint(w.sent[i], " ", filler))
				if err != nil {
					w.t.Error(err)
					return
				}
				status = result.Status
				w.sent[i]++
			}
		})
	}
	senders.Wait()
}

// hearAll expects all that was sent, in order.
func (w *winter) hearAll() {
	w.t.Helper()
	for i, p := range w.frozen {
		for next := 0; next < w.sent[i]; {
			ev := p.next()
			number, _, _ := strings.Cut(ev.Content, " ")
			n, err := strconv.Atoi(number)
			switch {
			case n == next && err == nil && (p.cfg.Version == client.Version1 || ev.Seq == int64(next+1)):
				next++
			case n > next || err != nil || p.cfg.Version == client.Version2:
				w.t.Fatalf("%s, seq %d, came to version %d where %d should", number, ev.Seq, p.cfg.Version, next)
			}
		}
	}
}

// memory is what lives on the gateway's heap, and what its process occupies.
func (w *winter) memory() (heap, resident int) {
	w.t.Helper()
	if status, _ := get(w.t, w.gateway.OpsURL+"/debug/pprof/heap?gc=1"); status != http.StatusOK { // collects garbage
		w.t.Fatalf("status %d", status)
	}
	_, body := get(w.t, w.gateway.OpsURL+"/metrics")
	return metric(w.t, body, "go_memstats_heap_alloc_bytes"), metric(w.t, body, "process_resident_memory_bytes")
}

func metric(t *testing.T, body, name string) int {
	t.Helper()
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(value)
		}
	}
	t.Fatalf("%s is missing", name)
	return 0
}

// talk has two others chat until stop is called, which gives the longest time that a
// message took.
func (w *winter) talk() (stop func() time.Duration) {
	alice, bob := join(w.t, w.gateway.PublicURL, 1, "alice"), join(w.t, w.gateway.PublicURL, 2, "bob")
	ctx, cancel := context.WithCancel(within(w.t))
	var talking sync.WaitGroup
	n, longest := 0, time.Duration(0)
	talking.Go(func() {
		for ; ctx.Err() == nil; n++ {
			began := time.Now()
			if _, err := alice.Send(w.t.Context(), bob.id, fmt.Sprint(n)); err != nil {
				w.t.Error(err)
				return
			}
			select {
			case <-bob.heard:
				longest = max(longest, time.Since(began))
			case <-time.After(patience):
				w.t.Errorf("message %d never came", n)
				return
			}
		}
	})
	return func() time.Duration {
		cancel()
		talking.Wait()
		if n < 10 {
			w.t.Errorf("others exchanged only %d messages meanwhile", n)
		}
		return longest
	}
}

// freezeUnderFlood floods readers that do not read, and looks at the gateway
// meanwhile.
func (w *winter) freezeUnderFlood(until client.SendStatus) {
	w.t.Helper()
	heap, resident := w.memory()
	w.freeze()
	stop := w.talk()
	w.fill(until)
	longest := stop()
	heapAfter, residentAfter := w.memory()
	w.t.Logf("%d MB were withheld; the gateway's heap grew by %.1f MB, its process by %.1f MB; others waited %v at the most",
		withheld>>20, float64(heapAfter-heap)/(1<<20), float64(residentAfter-resident)/(1<<20), longest)
	if heapAfter-heap > allowed || residentAfter-resident > 2*withheld {
		w.t.Errorf("the gateway keeps what nobody reads")
	}
}

func TestAFrozenReaderCostsNobodyAnythingAndMissesNothing(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Env: map[string][]string{
		"gateway":   {"REQUESTS_PER_SECOND=1000000", "REQUEST_BURST=1000000"},
		"gateway-1": {"PATIENCE=2m"}, "gateway-2": {"PATIENCE=2s"},
	}})

	t.Run("one that thaws in time", func(t *testing.T) {
		w := newWinter(t, d, "gateway-1")
		w.freezeUnderFlood(client.Delivered)
		w.thaw()
		w.hearAll()
		for _, p := range w.frozen {
			if s := p.Stats(); s.Logins != 1 || s.Gaps > 0 || s.Repeated > 0 {
				t.Errorf("version %d: %+v", p.cfg.Version, s)
			}
		}
	})
	t.Run("one that is given up", func(t *testing.T) {
		w := newWinter(t, d, "gateway-2")
		w.freezeUnderFlood(client.Queued)
		w.thaw()
		w.hearAll()
		for _, p := range w.frozen {
			if s := p.Stats(); s.Logins < 2 || s.Gaps > 0 {
				t.Errorf("version %d: %+v", p.cfg.Version, s)
			}
		}
	})
}
