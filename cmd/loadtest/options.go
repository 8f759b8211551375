package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	scenario string
	version  string

	users    int
	size     int
	window   int
	rate     float64
	duration time.Duration
	warmup   time.Duration
	parallel int
	patience time.Duration
	quiet    time.Duration
	login    string
	cut      string
	backlog  int
	frozen   int
	heavy    float64
	rounds   int

	gateways int
	urls     string
	pids     string
	prefix   string
	floor    bool
	pins     string
	env      joined

	bin, data, json, profile string

	set map[string]string // the flags that were given
}

// mostSize is the longest content that the protocol allows.
const mostSize = 4096

// usual are the defaults of a scenario.
type usual struct {
	users    int
	rate     float64
	warmup   time.Duration
	duration time.Duration
	parallel int
}

var usuals = map[string]usual{
	"chat":  {1000, 0, 3 * time.Second, 15 * time.Second, 64},
	"paced": {1000, 2000, 3 * time.Second, 15 * time.Second, 64},
	"idle":  {2000, 0, 3 * time.Second, 30 * time.Second, 64},
	"storm": {2000, 0, 0, 0, 500},
	"fanin": {100, 0, 3 * time.Second, 15 * time.Second, 64},
	// Shorter than the patience of a gateway with a reader who takes nothing.
	"freeze": {200, 500, time.Second, 7 * time.Second, 64},
}

func readOptions(scenario string, args []string, stderr io.Writer) (*options, error) {
	o := &options{scenario: scenario}
	f := flag.NewFlagSet("loadtest "+scenario, flag.ContinueOnError)
	f.SetOutput(stderr)
	usual := usuals[scenario]
	f.IntVar(&o.users, "users", usual.users, "how many users")
	f.IntVar(&o.size, "size", 64, "bytes of content of a message")
	f.IntVar(&o.window, "window", 4, "messages without an answer that each user keeps (closed loop)")
	f.Float64Var(&o.rate, "rate", usual.rate, "messages a second of all users together (open loop)")
	f.DurationVar(&o.duration, "duration", usual.duration, "how long to measure")
	f.DurationVar(&o.warmup, "warmup", usual.warmup, "how long to run before measuring")
	f.StringVar(&o.version, "version", "1", "of the protocol: 1, 2 or mixed")
	f.IntVar(&o.parallel, "parallel", usual.parallel, "logins under way at a time")
	f.DurationVar(&o.patience, "patience", 30*time.Second, "how long to wait for what was sent, before it counts as lost")
	f.DurationVar(&o.quiet, "quiet", 20*time.Second, "how long to wait at most until the disks have nothing to do, before the run")
	f.StringVar(&o.login, "login", "", "how to log in again: pin, or resume (version 2); empty: what the version can")
	f.StringVar(&o.cut, "cut", "", "storm: kill the gateway's process, or cut the sockets on this side: process or sockets; empty: what can be done")
	f.IntVar(&o.backlog, "backlog", 1, "storm, version 2: messages to each user who is away")
	f.IntVar(&o.frozen, "frozen", 5, "freeze: readers who freeze")
	f.Float64Var(&o.heavy, "heavy", 100, "freeze: messages a second to each reader who freezes, of the greatest size")
	f.IntVar(&o.rounds, "rounds", 3, "freeze: how often to freeze, each time after a control run")
	f.IntVar(&o.gateways, "gateways", 2, "of the deployment that is started here")
	f.StringVar(&o.urls, "urls", "", "comma list of gateways, ws://host:port, to use instead of starting a deployment")
	f.StringVar(&o.pids, "pids", "", "with -urls: comma list of name=pid whose processor time and memory to read")
	f.StringVar(&o.prefix, "prefix", "", "of the names of users to use again, made if they are missing; empty: new users")
	f.BoolVar(&o.floor, "floor", false, "run against a bare relay first, and tell ratios to it")
	f.StringVar(&o.pins, "pins", "", "what argon2 costs in the deployment started here: cheap or default; empty: default in a storm of logins by pin, else cheap")
	f.Var(&o.env, "env", "comma list of SERVICE:NAME=VALUE, settings of the deployment that is started here; may be given again for more")
	f.StringVar(&o.bin, "bin", "", "folder of the services' binaries; empty: beside this one")
	f.StringVar(&o.data, "data", "", "folder for the data of the deployment; empty: a new one, removed at the end")
	f.StringVar(&o.json, "json", "", "file for the results as JSON")
	f.StringVar(&o.profile, "profile", "", "folder for pprof profiles of the services, taken during the run")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	o.set = map[string]string{}
	f.Visit(func(f *flag.Flag) { o.set[f.Name] = f.Value.String() })
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unknown argument %q", rest[0])
	case o.users < 2 || o.users%2 != 0:
		return errors.New("-users must be even, and 2 at least")
	case o.size < leastSize || o.size > mostSize:
		return fmt.Errorf("-size must be from %d to %d", leastSize, mostSize)
	case o.window < 1 || o.window > 256:
		return errors.New("-window must be from 1 to 256")
	case o.rate < 0 || o.duration < 0 || o.warmup < 0 || o.quiet < 0 || o.parallel < 1 || o.gateways < 1 || o.backlog < 0 || o.heavy <= 0:
		return errors.New("-rate, -duration, -quiet, -parallel, -gateways and -heavy must be positive")
	case o.rate == 0 && usuals[o.scenario].rate > 0, o.duration == 0 && usuals[o.scenario].duration > 0:
		return errors.New("-rate and -duration must be positive")
	case o.frozen < 1 || o.rounds < 1:
		return errors.New("-frozen and -rounds must be positive")
	case o.version != "1" && o.version != "2" && o.version != "mixed":
		return errors.New("-version must be 1, 2 or mixed")
	case o.login != "" && o.login != "pin" && o.login != "resume":
		return errors.New("-login must be pin or resume")
	case o.login == "resume" && o.version != "2":
		return errors.New("only version 2 can resume")
	case o.cut != "" && o.cut != "process" && o.cut != "sockets":
		return errors.New("-cut must be process or sockets")
	case o.pins != "" && o.pins != "cheap" && o.pins != "default":
		return errors.New("-pins must be cheap or default")
	}
	if o.pins == "" && o.scenario == "storm" && o.login != "resume" && (o.version != "2" || o.login == "pin") {
		o.pins = "default"
	}
	return nil
}

// versionOf is the version of a user. Mixed, pairs are 1-2, 2-1, 1-1 and 2-2.
func (o *options) versionOf(n int) int {
	switch o.version {
	case "1":
		return 1
	case "2":
		return 2
	}
	return []int{1, 2, 2, 1, 1, 1, 2, 2}[n%8]
}

// entranceAgain is how user n logs in again.
func (o *options) entranceAgain(n int) entrance {
	if o.login == "pin" || o.versionOf(n) == 1 {
		return byPin
	}
	return resuming
}

// joined is a flag whose values are joined by commas when it is given more than once.
type joined string

func (j *joined) String() string { return string(*j) }

func (j *joined) Set(value string) error {
	*j = joined(strings.Trim(string(*j)+","+value, ","))
	return nil
}

// serviceEnv is -env by the name of the service or unit.
func (o *options) serviceEnv() (map[string][]string, error) {
	env := map[string][]string{}
	for _, entry := range strings.FieldsFunc(string(o.env), func(r rune) bool { return r == ',' }) {
		service, setting, ok := strings.Cut(entry, ":")
		if !ok || !strings.Contains(setting, "=") {
			return nil, fmt.Errorf("-env: %q is not of the form SERVICE:NAME=VALUE", entry)
		}
		env[service] = append(env[service], setting)
	}
	return env, nil
}
