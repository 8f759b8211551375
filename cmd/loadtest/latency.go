package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recorder counts how long messages took. It has parts, so that those who record at
// the same time seldom wait for each other.
type recorder struct {
	from, until int64 // of the clock at sending; others are not counted
	parts       [8]part
}

type part struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
	_    [64]byte // parts do not share a cache line
}

// newRecorder counts what is sent from now on for a while.
func newRecorder(d time.Duration) *recorder {
	now := clock()
	r := &recorder{from: now, until: now + int64(d)}
	for i := range r.parts {
		r.parts[i].hist = hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	}
	return r
}

// record notes a message that was sent and came at these times; who spreads the
// work over the parts. Without a recorder it does nothing.
func (r *recorder) record(who int, sent, came int64) {
	if r == nil || sent < r.from || sent >= r.until {
		return
	}
	p := &r.parts[who%len(r.parts)]
	p.mu.Lock()
	_ = p.hist.RecordValue(min((came-sent)/1000, p.hist.HighestTrackableValue()))
	p.mu.Unlock()
}

// latency are percentiles in milliseconds.
type latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func (r *recorder) latency() latency {
	all := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	for i := range r.parts {
		r.parts[i].mu.Lock()
		all.Merge(r.parts[i].hist)
		r.parts[i].mu.Unlock()
	}
	ms := func(q float64) float64 { return float64(all.ValueAtQuantile(q)) / 1000 }
	return latency{all.TotalCount(), ms(50), ms(90), ms(99), ms(99.9), float64(all.Max()) / 1000}
}
