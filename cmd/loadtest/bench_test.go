package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// benchReports are as -json writes them, of three runs.
func benchReports(t *testing.T, texts ...string) []report {
	t.Helper()
	var out []report
	for _, text := range texts {
		var r report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

const benchMicro = `goos: linux
pkg: pymessage/services/gateway/wire
BenchmarkDecode/flat-2         	  125335	       521.3 ns/op	      80 B/op	       3 allocs/op
BenchmarkSendBatch/policy=anyone/lanes=1 	     100	    1250000 ns/op	     80000 messages/s	  239419 B/op	    1183 allocs/op
    logger.go:27: level=INFO 1 x
PASS
`

func TestBenchWritesItsTablesAndNothingElse(t *testing.T) {
	t.Parallel()
	micro, err := readMicro(benchMicro)
	if err != nil {
		t.Fatal(err)
	}
	f := findings{Date: "2026-01-02", Machine: "2 cores", Runs: 3, Micro: micro, Scenarios: []measured{
		{Command: "loadtest chat -floor", tells: []string{"acknowledged", "p99", "of the floor", "what it has not"}, Reports: benchReports(t,
			`{"result": {"messages_per_second": 50182, "latency": {"p99_ms": 90}, "processor": [{"name": "gateway", "us_each": 18.5, "cores": 0.9}, {"name": "all servers", "us_each": 33}, {"name": "others", "cores": 0.25}]}, "floor": {"messages_per_second": 125455}}`,
			`{"result": {"messages_per_second": 48031, "latency": {"p99_ms": 111.4}, "processor": [{"name": "gateway", "us_each": 19, "cores": 0.9}, {"name": "all servers", "us_each": 34}, {"name": "others", "cores": 0.1}]}, "floor": {"messages_per_second": 96062}}`,
			`{"result": {"messages_per_second": 49588, "latency": {"p99_ms": 112}, "processor": [{"name": "gateway", "us_each": 18, "cores": 0.9}, {"name": "all servers", "us_each": 32}]}, "floor": {"messages_per_second": 123970}}`)},
		{Command: "loadtest idle", tells: []string{"memory of a socket at rest"}, Reports: benchReports(t,
			`{"result": {"processor": [{"name": "gateway", "cores": 0.02}], "figures": [{"name": "memory of a socket at rest", "value": 11.4, "unit": "KiB"}]}}`)},
	}}
	got, err := f.writeInto("# Prose\n" + benchBegin + "old\n" + benchEnd + "More of it.\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "# Prose\n" + benchBegin + `Measured on 2026-01-02: 2 cores.
All of it was on this one machine, the load generator too; other programs took 0.25 cores of it at most. Of each scenario:
the median of 3 runs, from the least to the most. Nothing was lost, doubled or disordered in any of them.

| command | result |
|---|---|
| ` + "`loadtest chat -floor`" + ` | acknowledged **49,588** messages/s (48,031 to 50,182); p99 111 ms; of the floor 0.40 |
| ` + "`loadtest idle`" + ` | memory of a socket at rest **11.4** KiB |

Processor time of a message in microseconds:

| command | gateway | social | postgres | redis | accounts | all servers | generator |
|---|---|---|---|---|---|---|---|
| ` + "`loadtest chat -floor`" + ` | 18.5 | | | | | 33.0 | |

Parts by themselves (` + "`go test -bench`" + `), where Postgres does not wait for the disk; a batch is of 100 messages where its name
does not say its size:

| benchmark | µs | bytes | allocations |
|---|---|---|---|
| Decode/flat | 0.52 | 80 | 3 |
| SendBatch/policy=anyone/lanes=1 | 1,250 | 239419 | 1183 |
` + benchEnd + "More of it.\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBenchNeedsItsPlace(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"", benchBegin, benchEnd, benchEnd + benchBegin} {
		if got, err := (findings{}).writeInto(document); err == nil {
			t.Errorf("%q became %q", document, got)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), benchBegin) != 1 || strings.Count(string(text), benchEnd) != 1 {
		t.Error("docs/performance.md has no place for the tables")
	}
}

func TestBenchRunsScenariosThatThereAre(t *testing.T) {
	t.Parallel()
	for _, run := range benchRuns {
		args := strings.Fields(run.args)
		if run.timed {
			args = append(args, "-duration", "1s")
		}
		if o := optionsOf(t, args...); scenarios[o.scenario] == nil {
			t.Errorf("there is no scenario %q", run.args)
		}
	}
	for _, wrong := range [][]string{{"-runs", "0"}, {"-duration", "0s"}, {"chat"}, {"-into", filepath.Join(t.TempDir(), "nothing")}} {
		if err := bench(wrong, t.Output()); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	if _, err := readMicro("PASS\n"); err == nil {
		t.Error("no micro-benchmarks are enough")
	}
}
