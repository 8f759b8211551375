// Command loadtest puts a deployment under load, measures what it does and costs,
// and checks that nothing is lost, doubled or disordered; see usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pymessage/internal/service"
)

const usage = `usage: loadtest SCENARIO [flags]     (loadtest SCENARIO -h lists the flags)
  chat    pairs on different gateways, each user with -window messages under way: messages a second, what they cost
  paced   pairs that send -rate messages a second together: how long they take
  fanin   everybody to one user
  idle    sockets that do nothing: the memory of each, logins a second, processor time at rest
  storm   all sockets of one gateway end at once: how long until all are back and have caught up
  freeze  pairs chat while others stop to read: what the pairs notice of it
  bench   all of them and the micro-benchmarks, medians of several runs, into the tables of docs/performance.md
  help    this
It starts a whole deployment of its own with new data, unless -urls names gateways.
The exit code is 1 when something was lost, doubled, disordered or refused.
`

// scenario measures something.
type scenario func(ctx context.Context, t *target, o *options, p *progress) (*result, error)

var scenarios = map[string]scenario{
	"chat":   chat,
	"paced":  paced,
	"fanin":  fanin,
	"idle":   idle,
	"storm":  storm,
	"freeze": freeze,
}

func main() {
	service.CalmMonitor(os.Args, os.Environ()) // the generator is to cost as little as it can
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || strings.HasPrefix(args[0], "-") {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if args[0] == relayCommand { // for -floor
		fmt.Fprintln(stderr, "loadtest:", serveRelay(stdout))
		return 1
	}
	if args[0] == benchCommand {
		return status(bench(args[1:], stderr), stderr)
	}
	do, ok := scenarios[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "loadtest: unknown scenario %q\n%s", args[0], usage)
		return 2
	}
	o, err := readOptions(args[0], args[1:], stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	return status(measure(ctx, do, o, stdout, stderr), stderr)
}

// status is the exit code, after err was said.
func status(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(stderr, "loadtest:", err)
	return 1
}

// measure runs a scenario and writes what it found. Its error says too what was
// lost, doubled or disordered.
func measure(ctx context.Context, do scenario, o *options, stdout, stderr io.Writer) (err error) {
	if err := raiseFileLimit(o.users); err != nil {
		return err
	}
	if o.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the services' binaries: %w", err)
		}
		o.bin = filepath.Dir(self)
	}
	var floor *result
	if o.floor {
		relayed := *o
		relayed.version, relayed.prefix, relayed.profile = "1", "", ""
		if _, floor, err = runOn(ctx, do, &relayed, stderr, startRelay); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		floor.write(stdout, "floor: a bare relay, no store, no Redis", nil)
	}
	tell := func(what string) { fmt.Fprintln(stderr, what) }
	t, r, err := runOn(ctx, do, o, stderr, func(ctx context.Context) (*target, error) { return openTarget(ctx, o, tell) })
	if r == nil {
		return err
	}
	r.write(stdout, o.title(t), floor)
	if o.json != "" {
		err = errors.Join(err, writeJSON(o.json, o, t.settings, r, floor))
	}
	return errors.Join(err, r.verdict.err())
}

// runOn runs a scenario on a target that is opened for it.
func runOn(ctx context.Context, do scenario, o *options, stderr io.Writer,
	open func(context.Context) (*target, error)) (*target, *result, error) {
	t, err := open(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := startProgress(stderr)
	r, err := do(ctx, t, o, p)
	p.stop()
	return t, r, errors.Join(err, t.stop())
}

// title says what was measured.
func (o *options) title(t *target) string {
	title := fmt.Sprintf("%s: %d users, %d gateways, version %s", o.scenario, o.users, len(t.urls), o.version)
	for _, name := range slices.Sorted(maps.Keys(o.set)) {
		title += " -" + name + " " + o.set[name]
	}
	for _, s := range t.settings {
		title += "\n  not the defaults of " + s
	}
	return title
}

// spareFiles are file descriptors for other things than users.
const spareFiles = 200

// raiseFileLimit makes room for a socket of each user, and for those of the
// gateways, who inherit the limit.
func raiseFileLimit(users int) error {
	need := uint64(users + spareFiles)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= need {
		return nil
	}
	limit.Cur, limit.Max = need, max(need, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d users need %d file descriptors, and this process may not have them: %w", users, need, err)
	}
	return nil
}
