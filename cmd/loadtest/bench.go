package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const benchCommand = "bench"

// benchRun is a scenario that make bench measures, and what it tells of it, the most
// important first.
type benchRun struct {
	args  string
	timed bool // takes -duration
	tells []string
}

// pacedTells are the latencies, and what the disk had to do with them.
var pacedTells = []string{"p50", "p99", "p99.9", stoodStill}

var benchRuns = []benchRun{
	{"chat -floor", true, []string{"acknowledged", "p50", "p99", "of the floor", "acknowledged by the floor"}},
	{"chat -gateways 4", true, []string{"acknowledged", "p50", "p99"}},
	{"chat -users 4000", true, []string{"acknowledged", "p50", "p99"}},
	{"paced -rate 2000", true, pacedTells},
	{"paced -rate 200", true, pacedTells},
	{"fanin", true, []string{"acknowledged", "p50", "p99"}},
	{"idle -users 19000", true, []string{"memory of a socket at rest", "cores of gateway", "cores of all servers", "logged in"}},
	{"storm -version 2 -login resume", false, []string{"back and caught up", "half are back after", "all have caught up after"}},
	{"storm -version 1 -login pin", false, []string{"back and caught up", "half are back after", "all have caught up after"}},
	{"freeze -rounds 1", true, []string{"p99, frozen to control", "p99 of the others, some frozen", "the frozen have it all after"}},
}

// benchPackages have the micro-benchmarks.
var benchPackages = []string{"./internal/bell", "./services/gateway", "./services/gateway/wire", "./services/accounts", "./services/social"}

// benchOptions are the flags of bench.
type benchOptions struct {
	duration time.Duration
	micro    time.Duration
	runs     int
	into     string
}

// bench runs the micro-benchmarks and the scenarios, and writes what they told into a
// document. It is run in the root of the source.
func bench(args []string, stderr io.Writer) error {
	var o benchOptions
	f := flag.NewFlagSet("loadtest bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.DurationVar(&o.duration, "duration", 8*time.Second, "how long to measure in each run of a scenario")
	f.DurationVar(&o.micro, "micro", time.Second, "how long to run each micro-benchmark")
	f.IntVar(&o.runs, "runs", 3, "of each scenario, of which the median is told")
	f.StringVar(&o.into, "into", "docs/performance.md", "document whose tables to write")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.duration <= 0 || o.micro <= 0 || o.runs < 1 || f.NArg() > 0 {
		return errors.New("-duration, -micro and -runs must be positive, and there are no other arguments")
	}
	document, err := os.ReadFile(o.into)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	found := findings{Date: time.Now().UTC().Format(time.DateOnly), Runs: o.runs}
	if found.Machine, err = describeMachine(ctx); err != nil {
		return err
	}
	if found.Micro, err = runMicro(ctx, o, stderr); err != nil {
		return err
	}
	if found.Scenarios, err = runScenarios(ctx, o, stderr); err != nil {
		return err
	}
	text, err := found.writeInto(string(document))
	if err != nil {
		return fmt.Errorf("%s: %w", o.into, err)
	}
	return os.WriteFile(o.into, []byte(text), 0o644)
}

// runScenarios takes turns, so that what else the machine does meets all alike.
func runScenarios(ctx context.Context, o benchOptions, stderr io.Writer) ([]measured, error) {
	folder, err := os.MkdirTemp("", "pymessage-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	var out []measured
	for _, run := range benchRuns {
		m := measured{Command: "loadtest " + run.args, tells: run.tells}
		if run.timed {
			m.Command += fmt.Sprint(" -duration ", o.duration)
		}
		out = append(out, m)
	}
	for range o.runs {
		for i := range out {
			r, err := runOnce(ctx, out[i].Command, filepath.Join(folder, "result.json"), stderr)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", out[i].Command, err)
			}
			out[i].Reports = append(out[i].Reports, r)
		}
	}
	return out, nil
}

// runOnce runs a scenario in a process of its own. It fails when something was lost,
// doubled, disordered or refused.
func runOnce(ctx context.Context, command, file string, stderr io.Writer) (r report, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	fmt.Fprintln(stderr, command)
	args := append(strings.Fields(command)[1:], "-json", file)
	cmd := stoppable(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Run(); err != nil {
		return r, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// stoppable is a command that is asked to stop when ctx ends, and may then clean up.
func stoppable(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// micro is what a micro-benchmark told: values by their units.
type micro struct {
	Name   string
	Values map[string]float64
}

func runMicro(ctx context.Context, o benchOptions, stderr io.Writer) ([]micro, error) {
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", o.micro.String()}, benchPackages...)
	fmt.Fprintln(stderr, "go", strings.Join(args, " "))
	cmd := stoppable(ctx, "go", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("micro-benchmarks: %w\n%s", err, &out)
	}
	return readMicro(out.String())
}

// benchLine is a line such as "BenchmarkDecode/flat-2  2301932  521.3 ns/op  80 B/op".
var benchLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?[ \t]+\d+[ \t]+(.*)$`)

func readMicro(text string) ([]micro, error) {
	var out []micro
	for _, line := range benchLine.FindAllStringSubmatch(text, -1) {
		m := micro{Name: line[1], Values: map[string]float64{}}
		words := strings.Fields(line[2])
		for i := 0; i+1 < len(words); i += 2 {
			value, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line[0], err)
			}
			m.Values[words[i+1]] = value
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, errors.New("there are no micro-benchmarks")
	}
	return out, nil
}
