package main

import (
	"math"
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const text = "42 (a ) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 20 5 20 0 1 0 100 1 1 1\n"
	got, err := parseStat(42, text)
	if want := (stat{42, 7, 2 * time.Second, 250 * time.Millisecond}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parseStat(42, "42 (x) S 7"); err == nil {
		t.Error("a short text was taken")
	}
}

func TestParsePSS(t *testing.T) {
	t.Parallel()
	n, err := parsePSS([]byte("00400000-7fff r--p\nRss:  900 kB\nPss:     512 kB\nPss_Dirty: 1 kB\n"))
	if n != 512<<10 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := parsePSS([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no Pss was taken")
	}
}

// TestOwnCosts reads the costs of this process in both ways there are.
func TestOwnCosts(t *testing.T) {
	t.Parallel()
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
	}
	read, err := cpuTime(os.Getpid())
	if own := ownCPU(); err != nil || read <= 0 || math.Abs((own-read).Seconds()) > 60 {
		t.Errorf("/proc says %v, getrusage %v, %v", read, own, err)
	}
	if n, err := memory(os.Getpid()); n < 1<<20 || err != nil {
		t.Errorf("memory %d, %v", n, err)
	}
	if used, err := machineCPU(); used < read || err != nil {
		t.Errorf("the machine has used %v, this process %v, %v", used, read, err)
	}
}

func TestMetric(t *testing.T) {
	t.Parallel()
	const text = "# HELP a b\na_total 3\na_total_more 4\n"
	if got := metric(text, "a_total"); got != 3 {
		t.Errorf("got %v", got)
	}
	if got := metric(text, "a"); got != 0 {
		t.Errorf("got %v", got)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	var none *recorder
	none.record(1, 0, 1)
	r := newRecorder(time.Hour)
	for i := range int64(1000) {
		r.record(int(i), r.from, r.from+(i+1)*int64(time.Millisecond))
	}
	r.record(0, r.from-1, r.from)                // before
	r.record(0, r.until, r.until)                // after
	r.record(0, r.from, r.from+int64(time.Hour)) // too long is the longest
	got := r.latency()
	if got.Count != 1001 || got.P50 < 495 || got.P50 > 505 || got.P99 < 985 || got.P99 > 1000 || got.Max < 59_000 {
		t.Errorf("got %+v", got)
	}
}
