package deploy_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// scrapeTarget is a job of the compose stack's Prometheus.
var scrapeTarget = regexp.MustCompile(`(?m)^  - job_name: (\w+)\n    dns_sd_configs: \[\{names: \[(\w+)\], type: A, port: (\d+),`)

func TestPrometheusScrapesEveryService(t *testing.T) {
	t.Parallel()
	project := compose(t)
	ports := map[string]string{"haproxy": strings.TrimPrefix(sections(t)["frontend ops"].value("bind"), ":")}
	for _, p := range programs {
		ports[p.name] = strconv.Itoa(p.ports(t, composeEnvironment(project.Services[p.name]))["ops"])
	}
	seen := 0
	for _, m := range scrapeTarget.FindAllStringSubmatch(read(t, "deploy/prometheus/prometheus.yml"), -1) {
		job, host, port := m[1], m[2], m[3]
		seen++
		// Alerts and dashboards select by these names.
		if job != host || ports[host] != port || !shareNetwork(project.Services[host], project.Services["prometheus"]) {
			t.Errorf("job %s asks %s:%s, want port %s in a network with it", job, host, port, ports[host])
		}
	}
	if seen != len(ports) {
		t.Errorf("%d jobs, want %d", seen, len(ports))
	}
}

func TestGrafanaFindsPrometheusAndItsDashboards(t *testing.T) {
	t.Parallel()
	project := compose(t)
	grafana := project.Services["grafana"]
	if !shareNetwork(grafana, project.Services["prometheus"]) ||
		!strings.Contains(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml"), "url: http://prometheus:9090\n") {
		t.Error("Grafana cannot ask Prometheus")
	}
	m := regexp.MustCompile(`options: \{path: (\S+)\}`).FindStringSubmatch(read(t, "deploy/grafana/provisioning/dashboards/pymessage.yml"))
	var targets []string
	for _, v := range grafana.Volumes {
		targets = append(targets, v.Target)
	}
	home := composeEnvironment(grafana)["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if m == nil || !slices.Contains(targets, m[1]) || home != m[1]+"/overview.json" {
		t.Errorf("dashboards are expected in %v, mounted are %v, home is %s", m, targets, home)
	}
}
