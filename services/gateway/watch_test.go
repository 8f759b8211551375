package gateway

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/services/gateway/wire"
)

// unwritten are sockets of version 1, whose frames stay in the queue as if a writer were
// about to take them. They were pinged in the present slice.
func (s *Server) unwritten(count int) (conns []*conn) {
	for i := range count {
		conns = append(conns, &conn{srv: s, version: wire.V1, place: i, writing: true, pinged: s.slice.Load()})
	}
	return conns
}

// writeEvents writes events, and says whether a ping went with them.
func (c *conn) writeEvents(seqs ...int64) (pinged bool) {
	var batch []frame
	for _, seq := range seqs {
		batch = append(batch, frame{kind: eventFrame, data: []byte("an event"), seq: seq, start: c.start})
	}
	out, _ := c.assemble(nil, batch)
	ping := appendFrame(nil, websocket.PingMessage, pingPayload(seqs[len(seqs)-1], c.start))
	return bytes.HasSuffix(out, ping)
}

// expectPings expects so many pings in the queue of each socket, and one more in those of
// some.
func expectPings(t *testing.T, conns []*conn, each, some int) {
	t.Helper()
	got := 0
	for _, c := range conns {
		pings := 0
		if c.out != nil {
			pings = len(c.out.waiting)
		}
		more := pings - each
		if more != 0 && more != 1 {
			t.Fatalf("a socket was pinged %d times, want %d or one more", pings, each)
		}
		got += more
	}
	if got != some {
		t.Fatalf("%d sockets were pinged more than %d times, want %d", got, each, some)
	}
}

func TestSocketsThatGetEventsAtTheSameMomentArePingedInTurnWithinASecond(t *testing.T) {
	t.Parallel()

	const each = 10
	s := &Server{beats: newBeats(time.Hour)}
	const begin = pingSlices / 2 // anywhere
	s.beatSlice(begin)
	conns := s.unwritten(each * pingSpread)
	for _, c := range conns {
		if c.writeEvents(1, 2) || c.writeEvents(3) { // one ping asks for all
			t.Fatal("events went with a ping a moment after the last one")
		}
	}
	for n := range pingSlices {
		expectPings(t, conns, 0, int(max(0, n-pingAfter))*each)
		s.beatSlice(begin + 1 + n)
	}
	expectPings(t, conns, 1, 0)
	for n := range pingSlices { // there is nothing to ask for
		s.beatSlice(begin + 1 + pingSlices + n)
	}
	expectPings(t, conns, 1, 0)
}

// Also at a gateway that has only just begun to count the time.
func TestTheFirstEventsOfASocketGoWithAPing(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	f := b.hub.find(bob.id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.conns[0].writeEvents(1) {
		t.Error("there was no ping")
	}
}

func TestAPingGoesWithTheEventsOfASocketThatGetsThemAllTheTime(t *testing.T) {
	t.Parallel()

	s := &Server{beats: newBeats(time.Hour)}
	conns := s.unwritten(pingSpread)
	pings := 0
	for n := range 10 * pingAfter {
		s.beatSlice(n)
		for _, c := range conns {
			if c.writeEvents(n + 1) {
				pings++
			}
		}
	}
	if want := 9 * len(conns); pings != want { // it begins with one
		t.Errorf("%d pings went with events, want %d", pings, want)
	}
	expectPings(t, conns, 0, 0)
	for n := range pingSlices { // and those of the last slices are asked for as well
		s.beatSlice(10*pingAfter + n)
	}
	expectPings(t, conns, 1, 0)
}

func TestEverySocketIsPingedOnceEachHeartbeatUntilItEnds(t *testing.T) {
	t.Parallel()

	const each = 3
	s := &Server{conns: map[*conn]struct{}{}, beats: newBeats(1500 * time.Millisecond), metrics: newMetrics(prometheus.NewRegistry())}
	round := len(s.beats)
	conns := s.unwritten(each * round)
	for _, c := range conns {
		s.remember(c)
	}
	beat := func(n int) {
		for slice := range beatPings {
			s.beatSlice(int64(n*beatPings + slice))
		}
	}
	for n := range 2 * round {
		expectPings(t, conns, n/round, n%round*each)
		beat(n)
	}
	ended, left := conns[:round], conns[round:]
	for _, c := range ended {
		s.forget(c)
	}
	for n := range round {
		beat(n)
	}
	expectPings(t, ended, 2, 0)
	expectPings(t, left, 3, 0)
}

func TestTheBucketsOfAnEndlessHeartbeatAreBounded(t *testing.T) {
	t.Parallel()

	for heartbeat, want := range map[time.Duration]int{
		time.Millisecond: 1, time.Second: 4, 25 * time.Second: 100, 1 << 62: 3600 * 4,
	} {
		if got := len(newBeats(heartbeat)); got != want {
			t.Errorf("%v: %d buckets, want %d", heartbeat, got, want)
		}
	}
}

func TestManySocketsThatGetEventsAtTheSameMomentConfirmAllOfThem(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = time.Hour }) // no ping but those after events

	var bobs []*client
	var reading sync.WaitGroup
	for i := range 2 * pingSlices {
		bob := b.enter(t, fmt.Sprint("bob", i))
		bobs = append(bobs, bob)
		_ = bob.ws.SetReadDeadline(time.Time{})
		reading.Go(func() { // a library pongs by itself while it reads
			for err := error(nil); err == nil; {
				_, _, err = bob.ws.ReadMessage()
			}
		})
	}
	for seq := range int64(3) { // the first is asked for at once, the others in turn
		began := time.Now()
		for _, bob := range bobs {
			b.ring(bob.id, b.append(bob.id, 10000999, "to all"))
		}
		for _, bob := range bobs {
			b.awaitPosition(t, bob.id, seq+1)
		}
		if took := time.Since(began); took > patience { // 1.3 s, and a loaded machine
			t.Errorf("all have confirmed after %v", took)
		}
	}
	for _, bob := range bobs {
		bob.ws.Close()
	}
	reading.Wait()
}

func TestEverySocketIsToldTheNewestSeqEachHeartbeat(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = time.Second })

	var bobs []*client
	for i := range 2 * pingSlices {
		bob, _ := b.enter2(t, fmt.Sprint("bob", i))
		bob.expect(`{"type":"synced","seq":0}`)
		bobs = append(bobs, bob)
	}
	for range 3 {
		for _, bob := range bobs {
			bob.expect(`{"type":"heartbeat","seq":0}`)
		}
	}
}
