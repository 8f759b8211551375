package deploy_test

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const composeFile = root + "/docker-compose.yml"

// composeSecrets are the variables that the compose file has to be given.
var composeSecrets = []string{
	"INTERNAL_SECRET", "PIN_PEPPER", "POSTGRES_PASSWORD", "ACCOUNTS_DB_PASSWORD", "SOCIAL_DB_PASSWORD", "REDIS_PASSWORD",
	"GRAFANA_PASSWORD",
}

// loadCompose loads and validates the compose file as docker compose would, with the
// secrets and other variables given.
func loadCompose(t *testing.T, variables ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithEnv(variables))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func secretVariables(without string) []string {
	var out []string
	for _, name := range composeSecrets {
		if name != without {
			out = append(out, name+"="+sampleSecrets[name])
		}
	}
	return out
}

func compose(t *testing.T, variables ...string) *types.Project {
	t.Helper()
	project, err := loadCompose(t, append(secretVariables(""), variables...)...)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// composeProgram is our program that a compose service runs, and whether it only
// migrates.
func composeProgram(s types.ServiceConfig) (p program, migrates, ours bool) {
	if s.Build == nil {
		return p, false, false
	}
	p, ours = programNamed(s.Build.Target)
	return p, slices.Equal(s.Command, []string{"migrate"}), ours
}

func composeEnvironment(s types.ServiceConfig) map[string]string {
	out := map[string]string{}
	for name, value := range s.Environment {
		if value != nil {
			out[name] = *value
		}
	}
	return out
}

// eachComposeServer runs check for each service that serves with a program of ours.
func eachComposeServer(t *testing.T, project *types.Project, check func(types.ServiceConfig, program)) {
	t.Helper()
	seen := 0
	for _, s := range project.Services {
		if p, migrates, ours := composeProgram(s); ours && !migrates {
			seen++
			check(s, p)
		}
	}
	if seen != len(programs) {
		t.Errorf("%d of %d programs run", seen, len(programs))
	}
}

func TestComposeGivesEveryServiceTheSettingsThatItsCodeReads(t *testing.T) {
	t.Parallel()
	for _, s := range compose(t).Services {
		if p, _, ours := composeProgram(s); ours {
			p.checkEnvironment(t, s.Name, composeEnvironment(s))
		}
	}
}

func TestComposeRefusesToRunWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	for _, name := range composeSecrets {
		for _, variables := range [][]string{secretVariables(name), append(secretVariables(name), name+"=")} {
			_, err := loadCompose(t, variables...)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("without %s: %v; want an error that names it", name, err)
			}
		}
	}
}

func TestComposeSaysHowToMakeItsSecrets(t *testing.T) {
	t.Parallel()
	text := read(t, "docker-compose.yml")
	said := regexp.MustCompile(`(?m)^#\s+for name in ([A-Z_ ]+); do .*> \.env$`).FindStringSubmatch(text)
	if said == nil {
		t.Fatal("the head of the compose file does not say how to make a .env")
	}
	asked := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+):\?`).FindAllStringSubmatch(text, -1) {
		asked[m[1]] = true
	}
	want := slices.Sorted(maps.Keys(asked))
	if got := slices.Sorted(slices.Values(strings.Fields(said[1]))); !slices.Equal(got, want) {
		t.Errorf("it says %v, the services ask for %v", got, want)
	}
}

func TestComposeURLsLeadToServices(t *testing.T) {
	t.Parallel()
	project := compose(t)
	for _, s := range project.Services {
		if _, _, ours := composeProgram(s); !ours {
			continue
		}
		for setting, u := range addresses(t, s.Name, composeEnvironment(s)) {
			checkComposeURL(t, project, s, setting, u)
		}
	}
}

// storePorts are where the stores' images listen.
var storePorts = map[string]string{"postgres": "5432", "redis": "6379"}

func checkComposeURL(t *testing.T, project *types.Project, s types.ServiceConfig, setting string, u *url.URL) {
	t.Helper()
	to, ok := project.Services[u.Hostname()]
	if !ok || !shareNetwork(s, to) {
		t.Errorf("%s: %s leads to %s, which it cannot reach", s.Name, setting, u.Host)
		return
	}
	want := storePorts[to.Name]
	if target, port, ours := internalPort(t, setting); ours {
		want = strconv.Itoa(port)
		if to.Name != target.name {
			t.Errorf("%s: %s leads to %s", s.Name, setting, u.Host)
		}
	}
	if u.Port() != want {
		t.Errorf("%s: %s leads to %s, want port %s", s.Name, setting, u.Host, want)
	}
}

func shareNetwork(a, b types.ServiceConfig) bool {
	for name := range a.Networks {
		if _, ok := b.Networks[name]; ok {
			return true
		}
	}
	return false
}

func TestComposePublishesHAProxyOnly(t *testing.T) {
	t.Parallel()
	project := compose(t)
	for _, s := range project.Services {
		for _, port := range s.Ports {
			local := port.HostIP == "127.0.0.1" && (s.Name == "prometheus" || s.Name == "grafana")
			if s.Name != "haproxy" && !local {
				t.Errorf("%s publishes %v", s.Name, port)
			}
		}
		if s.NetworkMode != "" {
			t.Errorf("%s has network mode %s", s.Name, s.NetworkMode)
		}
	}
	public := gatewayPorts(t)["public"]
	ports := project.Services["haproxy"].Ports
	if len(ports) != 1 || int(ports[0].Target) != public || ports[0].Published != strconv.Itoa(public) {
		t.Errorf("HAProxy publishes %v, want %d", ports, public)
	}
	if !project.Networks["backend"].Internal {
		t.Error("the network of the stores has a way out")
	}
	for _, name := range []string{"postgres", "redis", "accounts-migrate", "social-migrate"} {
		if s := project.Services[name]; len(s.Networks) != 1 || !slices.Contains(slices.Collect(maps.Keys(s.Networks)), "backend") {
			t.Errorf("%s is in networks %v, want backend", name, slices.Collect(maps.Keys(s.Networks)))
		}
	}
}

func gatewayPorts(t *testing.T) map[string]int {
	t.Helper()
	gateway, _ := programNamed("gateway")
	return gateway.ports(t, nil)
}

func TestComposeServicesBelieveHAProxy(t *testing.T) {
	t.Parallel()
	for _, variables := range [][]string{nil, {"EDGE_SUBNET=10.99.0.0/24"}} {
		project := compose(t, variables...)
		eachComposeServer(t, project, func(s types.ServiceConfig, p program) {
			trusted, has := p.setting("TRUSTED_PROXIES", composeEnvironment(s))
			if !has {
				return
			}
			for network := range project.Services["haproxy"].Networks {
				for _, pool := range project.Networks[network].Ipam.Config {
					if !trusts(t, trusted, pool.Subnet) {
						t.Errorf("%s trusts %q, HAProxy is in %s", s.Name, trusted, pool.Subnet)
					}
				}
				if len(project.Networks[network].Ipam.Config) == 0 {
					t.Errorf("HAProxy is in network %s, whose addresses are not fixed", network)
				}
			}
		})
	}
}

func TestComposeGatewaysCanBeScaled(t *testing.T) {
	t.Parallel()
	project := compose(t)
	for _, name := range []string{"gateway", "accounts", "social"} {
		s := project.Services[name]
		if s.ContainerName != "" || s.Hostname != "" || len(s.Ports) > 0 {
			t.Errorf("%s has a name or port that only one container can have", name)
		}
		for network, in := range s.Networks {
			if in != nil && (in.Ipv4Address != "" || in.MacAddress != "") {
				t.Errorf("%s has a fixed address in network %s", name, network)
			}
		}
	}
	gateways := project.Services["gateway"]
	if n := gateways.GetScale(); n < 2 {
		t.Errorf("%d gateways, want several", n)
	}
}

func TestComposeStartsThingsInOrder(t *testing.T) {
	t.Parallel()
	project := compose(t)
	conditions := map[string]string{
		"postgres": types.ServiceConditionHealthy, "redis": types.ServiceConditionHealthy,
		"accounts-migrate": types.ServiceConditionCompletedSuccessfully,
		"social-migrate":   types.ServiceConditionCompletedSuccessfully,
	}
	for _, s := range project.Services {
		for on, d := range s.DependsOn {
			if want, ok := conditions[on]; ok && d.Condition != want {
				t.Errorf("%s waits for %s to be %s, want %s", s.Name, on, d.Condition, want)
			}
		}
		p, migrates, ours := composeProgram(s)
		if _, after := s.DependsOn[p.name+"-migrate"]; ours && !migrates && after != p.migrates() {
			t.Errorf("%s starts after its migrations: %v, want %v", s.Name, after, p.migrates())
		}
		if _, after := s.DependsOn["postgres"]; migrates && (!after || s.Restart != "no") {
			t.Errorf("%s: after Postgres: %v, restart %q", s.Name, after, s.Restart)
		}
	}
	for _, name := range []string{"postgres", "redis", "haproxy"} {
		if s := project.Services[name]; s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
	}
}

func TestComposeMigrationsHaveTheirServersSettings(t *testing.T) {
	t.Parallel()
	project := compose(t)
	for _, s := range project.Services {
		p, migrates, ours := composeProgram(s)
		if !ours || !migrates {
			continue
		}
		if s.Name != p.name+"-migrate" || !maps.Equal(composeEnvironment(s), composeEnvironment(project.Services[p.name])) ||
			s.Image != project.Services[p.name].Image {
			t.Errorf("%s differs from %s", s.Name, p.name)
		}
	}
}

func TestComposeGivesServicesTheTimeTheyNeedToStop(t *testing.T) {
	t.Parallel()
	project := compose(t)
	eachComposeServer(t, project, func(s types.ServiceConfig, p program) {
		need := p.stopsWithin(t, composeEnvironment(s))
		if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < need {
			t.Errorf("%s: is killed after %v, may need %v to stop", s.Name, s.StopGracePeriod, need)
		}
	})
}

func TestComposeContainersHaveNoPrivileges(t *testing.T) {
	t.Parallel()
	for _, s := range compose(t).Services {
		if s.Privileged || len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: privileged %v, capabilities %v, options %v", s.Name, s.Privileged, s.CapAdd, s.SecurityOpt)
		}
		// The image of Postgres starts as root, to take its data folder.
		if s.Name != "postgres" && (!s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"})) {
			t.Errorf("%s: read only %v, dropped %v", s.Name, s.ReadOnly, s.CapDrop)
		}
	}
}

func TestComposeMountsWhatThereIs(t *testing.T) {
	t.Parallel()
	mounted := map[string]string{}
	for _, s := range compose(t).Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			info, err := os.Stat(v.Source)
			if err != nil || !info.IsDir() && !info.Mode().IsRegular() || !v.ReadOnly {
				t.Errorf("%s: %s is not there, or may be written: %v", s.Name, v.Source, err)
			}
			mounted[filepath.Base(v.Source)] = s.Name + ":" + v.Target
		}
	}
	want := map[string]string{
		"haproxy.cfg": "haproxy:/usr/local/etc/haproxy/haproxy.cfg",
		"init.sh":     "postgres:/docker-entrypoint-initdb.d/init.sh",

		"prometheus":   "prometheus:/etc/prometheus",
		"provisioning": "grafana:/etc/grafana/provisioning",
		"dashboards":   "grafana:/etc/pymessage/dashboards",
	}
	if !maps.Equal(mounted, want) {
		t.Errorf("mounted: %v, want %v", mounted, want)
	}
}

func TestStoresAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	project := compose(t)
	for _, c := range render(t, manifests+"/overlays/local").containers() {
		if s, ok := project.Services[c.Name]; !c.ours && (!ok || s.Image != c.Image) {
			t.Errorf("%s in Kubernetes, %s in compose", c.Image, s.Image)
		}
	}
}
