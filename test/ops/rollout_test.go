package ops

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pymessage/internal/local"
	"pymessage/internal/stores"
	"pymessage/internal/stores/child"
)

// answerWithin is what a rollout may cost a send of version 2.
const answerWithin = 2 * time.Second

// balance starts a HAProxy with the configuration of the stack in front of d, and is
// its address. What cannot be here are the names, which Docker resolves.
func balance(t *testing.T, d *local.Deployment) (address string) {
	t.Helper()
	var addresses [2]string
	for i := range addresses {
		port, err := stores.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	text := strings.NewReplacer(
		"bind :6969", "bind "+addresses[0], "bind :8404", "bind "+addresses[1],
		" resolvers docker resolve-prefer ipv4 init-addr none", "",
		"log stdout format raw local0", "log 127.0.0.1 local0", "maxconn 100000", "maxconn 1000",
	).Replace(read(t, "deploy/haproxy/haproxy.cfg"))
	text = regexp.MustCompile(`server-template (\w+)- .*`).ReplaceAllStringFunc(text, func(line string) string {
		name, _, _ := strings.Cut(strings.Fields(line)[1], "-")
		return servers(d, name)
	})
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("haproxy")
	if err != nil {
		path = "/usr/sbin/haproxy"
	}
	process, err := child.Start(exec.Command(path, "-db", "-f", file), syscall.SIGKILL)
	if err != nil {
		t.Fatalf("%v: install the package haproxy", err)
	}
	t.Cleanup(process.Kill)
	until(t, "HAProxy to see all services", func() bool {
		resp, err := http.Get("http://" + addresses[1] + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		if !process.Running() {
			t.Fatalf("HAProxy ended: %v", process.Err())
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return addresses[0]
}

// servers are the lines of a backend.
func servers(d *local.Deployment, kind string) string {
	var lines []string
	for _, s := range d.Services() {
		if s.Kind != kind {
			continue
		}
		_, ops, _ := net.SplitHostPort(strings.TrimPrefix(s.OpsURL, "http://"))
		lines = append(lines, fmt.Sprintf("server %s %s check port %s", s.Name, strings.TrimPrefix(s.PublicURL, "http://"), ops))
	}
	return strings.Join(lines, "\n    ")
}

func TestGatewaysRollBehindHAProxyUnderLoad(t *testing.T) {
	t.Parallel()
	// The pauses of the stack, less long.
	d := deploy(t, local.Options{Gateways: 3, Env: map[string][]string{"gateway": {"DRAIN_PAUSE=3s", "DRAIN_SPREAD=5s"}}})
	crowd := gather(t, 60, "ws://"+balance(t, d)+"/")
	quiet := crowd.talk(200 * time.Millisecond)
	crowd.goOn("before", 5)
	for _, g := range d.Gateways() {
		began := time.Now()
		if err := d.Terminate(t.Context(), g.Name); err != nil {
			t.Fatal(err)
		}
		if err := d.Start(t.Context(), g.Name); err != nil {
			t.Fatal(err)
		}
		if err := d.Ready(t.Context(), g.Name); err != nil {
			t.Fatal(err)
		}
		crowd.goOn("after the restart of "+g.Name, 5)
		checkSpread(t, g.Name, crowd.comebacks(began))
	}
	quiet()
	crowd.check()
	slowest := crowd.slowest()
	t.Logf("the slowest send was acknowledged after %v", slowest)
	if slowest > answerWithin {
		t.Errorf("a send was acknowledged after %v, want %v at most", slowest, answerWithin)
	}
}

// checkSpread looks at who came back after a gateway's end: enough, and not all in one
// moment.
func checkSpread(t *testing.T, gateway string, at []time.Time) {
	t.Helper()
	if len(at) < 15 {
		t.Errorf("%s: only %d sockets came back: it had no part of the load", gateway, len(at))
		return
	}
	const moment = 50 * time.Millisecond
	most := 0
	for i, from := range at {
		n := i
		for n < len(at) && at[n].Sub(from) < moment {
			n++
		}
		most = max(most, n-i)
	}
	t.Logf("%s: %d sockets came back over %v, %d of them within %v at most", gateway, len(at), at[len(at)-1].Sub(at[0]), most, moment)
	if most > len(at)/2 {
		t.Errorf("%s: %d of %d sockets came back within %v", gateway, most, len(at), moment)
	}
}
