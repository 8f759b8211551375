// Package deploy_test checks that what deploys the services (Dockerfile, compose
// file, Kubernetes manifests, HAProxy, the database's roles) agrees with their code.
package deploy_test

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pymessage/internal/service"
	"pymessage/internal/testenv"
	"pymessage/services/accounts"
	"pymessage/services/gateway"
	"pymessage/services/social"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// root is the top of the repository.
const root = "../.."

// program is a service as its code says it is.
type program struct {
	name     string
	settings func() any // a new settings struct
}

var programs = []program{
	{"gateway", func() any { return new(gateway.Config) }},
	{"accounts", func() any { return new(accounts.Config) }},
	{"social", func() any { return new(social.Config) }},
}

// portSettings are the settings that say where a program listens, and the names of
// those ports in manifests.
var portSettings = map[string]string{"public": "LISTEN_ADDR", "internal": "INTERNAL_ADDR", "ops": "OPS_ADDR"}

// runtimeSettings are read by the Go runtime instead of by us.
var runtimeSettings = []string{"GOMEMLIMIT"}

// sampleSecrets are values for what only the operator knows.
var sampleSecrets = map[string]string{
	"INTERNAL_SECRET":      "0123456789abcdef0123456789abcdef",
	"PIN_PEPPER":           "fedcba9876543210fedcba9876543210",
	"REDIS_URL":            "rediss://:password@redis.example.com:6379/0",
	"DATABASE_URL":         "postgres://user:password@postgres.example.com:5432/pymessage?sslmode=verify-full",
	"POSTGRES_PASSWORD":    "postgrespassword",
	"ACCOUNTS_DB_PASSWORD": "accountspassword",
	"SOCIAL_DB_PASSWORD":   "socialpassword",
	"REDIS_PASSWORD":       "redispassword",
	"GRAFANA_PASSWORD":     "grafanapassword",
}

func programNamed(name string) (program, bool) {
	i := slices.IndexFunc(programs, func(p program) bool { return p.name == name })
	if i < 0 {
		return program{}, false
	}
	return programs[i], true
}

// folder is where the program's package is.
func (p program) folder() string { return filepath.Join(root, "services", p.name) }

// migrates says whether the program has a schema.
func (p program) migrates() bool {
	_, err := os.Stat(filepath.Join(p.folder(), "migrations"))
	return err == nil
}

// setting is the value that the program uses in environment env.
func (p program) setting(name string, env map[string]string) (string, bool) {
	for _, s := range service.Settings(p.settings()) {
		if s.Name != name {
			continue
		}
		if value, ok := env[name]; ok {
			return value, true
		}
		return s.Default, true
	}
	return "", false
}

// ports are the ports by name that the program listens on in environment env.
func (p program) ports(t *testing.T, env map[string]string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for name, setting := range portSettings {
		address, ok := p.setting(setting, env)
		if !ok {
			continue
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatalf("%s: %s is %q: %v", p.name, setting, address, err)
		}
		if out[name], err = strconv.Atoi(port); err != nil {
			t.Fatalf("%s: %s is %q: %v", p.name, setting, address, err)
		}
	}
	return out
}

// duration is a setting, 0 where the program does not have it.
func (p program) duration(t *testing.T, name string, env map[string]string) time.Duration {
	t.Helper()
	value, ok := p.setting(name, env)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatalf("%s: %s: %v", p.name, name, err)
	}
	return d
}

// stopMargin is what a program may need to stop beside its own pauses: requests in
// flight get 15 s, sockets that do not close by themselves 5 s.
const stopMargin = 20 * time.Second

// stopsWithin is the longest that a program takes from SIGTERM to its end.
func (p program) stopsWithin(t *testing.T, env map[string]string) time.Duration {
	t.Helper()
	return p.duration(t, "DRAIN_PAUSE", env) + p.duration(t, "DRAIN_SPREAD", env) + stopMargin
}

// checkEnvironment checks that the program starts with env, and that it reads all
// that is in it.
func (p program) checkEnvironment(t *testing.T, where string, env map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if _, ok := p.setting(name, env); !ok && !slices.Contains(runtimeSettings, name) {
			t.Errorf("%s: %s is given to %s, which has no such setting", where, name, p.name)
		}
	}
	environ := make([]string, 0, len(env))
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	if err := service.ParseSettings(p.settings(), environ); err != nil {
		t.Errorf("%s: %s does not start: %v", where, p.name, err)
	}
}

// addresses are the settings of env that lead to other servers.
func addresses(t *testing.T, where string, env map[string]string) map[string]*url.URL {
	t.Helper()
	out := map[string]*url.URL{}
	for name, value := range env {
		if !strings.HasSuffix(name, "_URL") {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Port() == "" {
			t.Errorf("%s: %s is not a URL with a port: %v", where, name, err)
			continue
		}
		out[name] = u
	}
	return out
}

// internalPort is the port that a setting such as ACCOUNTS_URL has to lead to, if it
// leads to a program of ours.
func internalPort(t *testing.T, setting string) (target program, port int, ok bool) {
	t.Helper()
	name := strings.ToLower(strings.TrimSuffix(setting, "_URL"))
	if target, ok = programNamed(name); !ok {
		return target, 0, false
	}
	return target, target.ports(t, nil)["internal"], true
}

// trusts says whether a value of TRUSTED_PROXIES covers a whole network.
func trusts(t *testing.T, trusted, network string) bool {
	t.Helper()
	n, err := netip.ParsePrefix(network)
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(trusted, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err == nil && p.Bits() <= n.Bits() && p.Contains(n.Addr()) {
			return true
		}
	}
	return false
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryServiceIsDeployed(t *testing.T) {
	t.Parallel()
	mains, err := filepath.Glob(filepath.Join(root, "services", "*", "cmd", "*", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, main := range mains {
		name := filepath.Base(filepath.Dir(main))
		if _, ok := programNamed(name); !ok {
			t.Errorf("%s is not known here, so that nothing checks how it is deployed", name)
		}
	}
	if len(mains) != len(programs) {
		t.Errorf("%d programs found, %d expected", len(mains), len(programs))
	}
}
