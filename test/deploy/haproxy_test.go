package deploy_test

import (
	"context"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const haproxyConfig = "deploy/haproxy/haproxy.cfg"

// haproxy is the program; a machine that runs these tests has to have it.
func haproxy(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy", "/usr/local/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("haproxy is not installed, so its configuration cannot be checked: install the package haproxy")
	return ""
}

// section is one of haproxy.cfg: its lines, without comments.
type section []string

// sections reads the configuration by "kind name".
func sections(t *testing.T) map[string]section {
	t.Helper()
	out := map[string]section{}
	name := ""
	for line := range strings.Lines(read(t, haproxyConfig)) {
		text := strings.TrimSpace(line)
		switch {
		case text == "", strings.HasPrefix(text, "#"):
		case line[0] != ' ':
			name = text
			out[name] = nil
		default:
			out[name] = append(out[name], text)
		}
	}
	return out
}

// value is what follows a keyword in a section, "" if it is not there.
func (s section) value(keyword string) string {
	for _, line := range s {
		if rest, ok := strings.CutPrefix(line, keyword+" "); ok {
			return rest
		}
	}
	return ""
}

func TestHAProxyAcceptsItsConfiguration(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, haproxy(t), "-c", "-f", haproxyConfig)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "WARNING") {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
}

var serverTemplate = regexp.MustCompile(`^(\S+)- 1-(\d+) (\w+):(\d+) check port (\d+)$`)

func TestHAProxyBackendsAreTheServices(t *testing.T) {
	t.Parallel()
	project, all := compose(t), sections(t)
	for _, p := range programs {
		m := serverTemplate.FindStringSubmatch(all["backend "+p.name].value("server-template"))
		if m == nil {
			t.Errorf("backend %s: %v", p.name, all["backend "+p.name])
			continue
		}
		s, ok := project.Services[m[3]]
		if target, _, _ := composeProgram(s); !ok || target.name != p.name || !shareNetwork(s, project.Services["haproxy"]) {
			t.Errorf("backend %s leads to %s, which HAProxy cannot reach or is another program", p.name, m[3])
		}
		ports := p.ports(t, composeEnvironment(s))
		if m[4] != strconv.Itoa(ports["public"]) || m[5] != strconv.Itoa(ports["ops"]) {
			t.Errorf("backend %s: ports %s and %s, want %v", p.name, m[4], m[5], ports)
		}
		if int(number(t, m[2])) < 2*s.GetScale() {
			t.Errorf("backend %s: room for %s replicas", p.name, m[2])
		}
	}
}

func TestHAProxySendsSocketsWhereThereAreTheFewest(t *testing.T) {
	t.Parallel()
	all := sections(t)
	if got := all["backend gateway"].value("balance"); got != "leastconn" {
		t.Errorf("balance %q", got)
	}
	front := all["frontend public"]
	if got := front.value("bind"); got != ":"+strconv.Itoa(gatewayPorts(t)["public"]) {
		t.Errorf("bind %q", got)
	}
	for _, route := range []string{
		"default_backend gateway",
		"use_backend accounts if { path /get_user } || { path_beg /accounts/ }",
		"use_backend social if { path_beg /social/ }",
	} {
		if !slices.Contains(front, route) {
			t.Errorf("%s is not among the routes %v", route, front)
		}
	}
}

func TestHAProxyLeavesIdleSocketsToTheGateways(t *testing.T) {
	t.Parallel()
	gateway, _ := programNamed("gateway")
	quiet := gateway.duration(t, "HEARTBEAT", nil) + gateway.duration(t, "PATIENCE", nil)
	tunnel, err := time.ParseDuration(sections(t)["defaults"].value("timeout tunnel"))
	if err != nil || tunnel < 2*quiet {
		t.Errorf("timeout tunnel %v (%v); a living socket may be quiet for %v", tunnel, err, quiet)
	}
}

func TestHAProxyNoticesADrainInTime(t *testing.T) {
	t.Parallel()
	defaults := sections(t)["defaults"]
	m := regexp.MustCompile(`check inter (\d+s) fall (\d+)`).FindStringSubmatch(defaults.value("default-server"))
	if m == nil || defaults.value("http-check send") != "meth GET uri /readyz ver HTTP/1.1 hdr Host readyz" {
		t.Fatalf("checks: %v", defaults)
	}
	inter, err := time.ParseDuration(m[1])
	if err != nil {
		t.Fatal(err)
	}
	notices := inter*time.Duration(number(t, m[2])) + time.Second
	for _, p := range programs {
		if pause := p.duration(t, "DRAIN_PAUSE", nil); pause < notices {
			t.Errorf("%s refuses connections after %v, HAProxy may need %v to look elsewhere", p.name, pause, notices)
		}
	}
}

func TestHAProxyTellsComposeWhetherTheDeploymentWorks(t *testing.T) {
	t.Parallel()
	ops := sections(t)["frontend ops"]
	test := compose(t).Services["haproxy"].HealthCheck.Test
	want := "http://127.0.0.1" + ops.value("bind") + ops.value("monitor-uri")
	if !slices.Contains(test, want) {
		t.Errorf("the health check asks %v, want %s", test, want)
	}
	for _, p := range programs {
		if !strings.Contains(ops.value("monitor fail if"), "{ nbsrv("+p.name+") lt 1 }") {
			t.Errorf("%s is not looked at: %v", p.name, ops)
		}
	}
}

func TestHAProxyAsksDockersResolver(t *testing.T) {
	t.Parallel()
	all := sections(t)
	server := all["resolvers docker"].value("nameserver")
	address, err := netip.ParseAddrPort(server[strings.LastIndex(server, " ")+1:])
	if err != nil || address.String() != "127.0.0.11:53" {
		t.Errorf("nameserver %s: %v", server, err)
	}
	if line := all["defaults"].value("default-server"); !strings.Contains(line, "resolvers docker") || !strings.Contains(line, "init-addr none") {
		t.Errorf("default-server %s: does not wait for names", line)
	}
}
