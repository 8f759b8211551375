package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pymessage/internal/local"
)

// target is what the load is for.
type target struct {
	urls     []string // of the gateways
	loopback bool     // all of them are on this machine
	groups   []group
	settings []string          // of the deployment that are not the defaults
	ops      map[string]string // URLs of the ops ports, by name
	local    *local.Deployment // nil unless it was started here
	dir      string            // of its data
	stop     func() error
}

// group is processes whose costs are told together.
type group struct {
	name      string
	processes []process
}

// homeOf is the gateway of user n: the two of a pair have different ones.
func (t *target) homeOf(n int) int { return (n/2 + n) % len(t.urls) }

// openTarget starts a deployment, or takes that of -urls.
func openTarget(ctx context.Context, o *options, tell func(string)) (*target, error) {
	if o.urls != "" {
		return givenTarget(o)
	}
	return startDeployment(ctx, o, tell)
}

func givenTarget(o *options) (*target, error) {
	t := &target{loopback: true, stop: func() error { return nil }}
	for _, address := range strings.Split(o.urls, ",") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "ws" || u.Port() == "" {
			return nil, fmt.Errorf("-urls: %q is not of the form ws://host:port", address)
		}
		ip := net.ParseIP(u.Hostname())
		t.loopback = t.loopback && ip != nil && ip.IsLoopback()
		t.urls = append(t.urls, address)
	}
	for _, entry := range strings.FieldsFunc(o.pids, func(r rune) bool { return r == ',' }) {
		name, text, _ := strings.Cut(entry, "=")
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("-pids: %q is not of the form name=pid", entry)
		}
		t.add(name, process{name, func() int { return pid }})
	}
	return t, nil
}

// add adds a process to the group of its kind: gateway-1 to gateway.
func (t *target) add(kind string, p process) {
	kind, _, _ = strings.Cut(kind, "-")
	i := slices.IndexFunc(t.groups, func(g group) bool { return g.name == kind })
	if i < 0 {
		t.groups = append(t.groups, group{name: kind})
		i = len(t.groups) - 1
	}
	t.groups[i].processes = append(t.groups[i].processes, p)
}

// loadSettings are what a load test needs: the limits that protect a deployment from
// its users are not what it measures.
var loadSettings = map[string][]string{
	"gateway": {"REQUESTS_PER_SECOND=1000000", "REQUEST_BURST=1000000"},
	"accounts": {"CREATIONS_PER_ADDRESS=1000000000", "LOGIN_FAILURES_PER_ADDRESS=1000000000",
		"LOGIN_FAILURES_OVERALL=1000000000"},
}

// cheapPins make thousands of accounts in seconds. They are as good for what does
// not measure logins by pin.
var cheapPins = []string{"ARGON2_MEMORY_KIB=64", "ARGON2_TIME=1"}

// startDeployment starts everything with new data. The front door is left out: one
// that copies bytes in this process would cost what we want to measure.
func startDeployment(ctx context.Context, o *options, tell func(string)) (*target, error) {
	env, err := o.serviceEnv()
	if err != nil {
		return nil, err
	}
	dir, remove, err := dataFolder(o.data)
	if err != nil {
		return nil, err
	}
	settings := map[string][]string{}
	for service, s := range loadSettings {
		settings[service] = slices.Clone(s)
	}
	if o.pins != "default" {
		settings["accounts"] = append(settings["accounts"], cheapPins...)
	}
	for service, s := range env {
		settings[service] = append(settings[service], s...)
	}
	tell("starting Postgres, Redis, accounts, social and the gateways")
	d, err := local.Start(ctx, local.Options{
		BinDir: o.bin, DataDir: dir, ListenAddr: "127.0.0.1:0", Gateways: o.gateways, Durable: true,
		Environ: inherited(), Env: settings, Report: tell,
	})
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	t := &target{loopback: true, local: d, dir: dir, ops: map[string]string{}}
	t.stop = func() error { return errors.Join(d.Stop(context.WithoutCancel(ctx)), remove()) }
	if d.Redis().Embedded() {
		return nil, errors.Join(errors.New("there is no redis-server on this machine: run `make stores`"), t.stop())
	}
	if err := d.Postgres().RecycleLog(ctx); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	t.describe(d, settings)
	return t, nil
}

func (t *target) describe(d *local.Deployment, settings map[string][]string) {
	for _, s := range d.Services() {
		t.ops[s.Name] = s.OpsURL
		t.add(s.Kind, process{s.Name, s.PID})
	}
	for _, g := range d.Gateways() {
		t.urls = append(t.urls, "ws"+strings.TrimPrefix(g.PublicURL, "http")+"/")
	}
	t.add("redis", process{"redis", d.Redis().PID})
	t.add("postgres", process{"postgres", d.Postgres().PID})
	for service, s := range settings {
		t.settings = append(t.settings, service+": "+strings.Join(s, " "))
	}
	slices.Sort(t.settings)
}

// dataFolder is where the deployment keeps its data. A folder of our own is removed.
func dataFolder(wanted string) (dir string, remove func() error, err error) {
	if wanted != "" {
		return wanted, func() error { return nil }, nil
	}
	ours, err := os.MkdirTemp("", "pymessage-load-")
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(ours) }
	if err := os.Chmod(ours, 0o755); err != nil { // as root, Postgres is another user
		return "", nil, errors.Join(err, remove())
	}
	return filepath.Join(ours, "data"), remove, nil
}

// inherited is the environment for the services without settings of theirs, which
// the shell may hold by chance.
func inherited() []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains([]string{"PATH", "HOME", "TMPDIR", "LANG", "GORACE", "GOMAXPROCS", "GOGC", "GOMEMLIMIT"}, name) {
			env = append(env, entry)
		}
	}
	return env
}

// spent is what the processes of a group have used.
type spent map[string]time.Duration

// cpu reads the processor time of all groups, the generator, and the machine.
func (t *target) cpu() spent {
	u := spent{}
	for _, g := range t.groups {
		for _, p := range g.processes {
			if used, err := cpuTime(p.PID()); err == nil { // it may be down, in a storm
				u[g.name] += used
			}
		}
	}
	u["generator"] = ownCPU()
	if used, err := machineCPU(); err == nil {
		u["machine"] = used
	}
	return u
}

// memory is the PSS of each process of a group.
func (t *target) memory(kind string) (map[string]int64, error) {
	sizes := map[string]int64{}
	for _, g := range t.groups {
		for _, p := range g.processes {
			if g.name != kind {
				continue
			}
			n, err := memory(p.PID())
			if err != nil {
				return nil, fmt.Errorf("memory of %s: %w", p.Name, err)
			}
			sizes[p.Name] = n
		}
	}
	return sizes, nil
}
