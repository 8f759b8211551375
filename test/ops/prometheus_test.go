package ops

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pymessage/internal/local"
	"pymessage/internal/stores"
	"pymessage/internal/stores/child"
)

// rules is the file of alerts.
const rules = "deploy/prometheus/rules.yml"

// window is what $__rate_interval is here: some scrapes, one a second.
const window = "10s"

// prometheus is a real one that scrapes a deployment.
type prometheus struct {
	t   *testing.T
	url string
}

// watch starts a Prometheus that knows our alerts and scrapes d, as the stack does
// but more often.
func watch(t *testing.T, d *local.Deployment) *prometheus {
	t.Helper()
	port, err := stores.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rulesFile, err := filepath.Abs(filepath.Join(root, rules))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(scrapes(d, rulesFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatalf("%v: install the package prometheus", err)
	}
	t.Cleanup(process.Kill)
	p := &prometheus{t, "http://" + address}
	until(t, "Prometheus to be ready", func() bool {
		if !process.Running() {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("Prometheus ended: %s", text)
		}
		resp, err := http.Get(p.url + "/-/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return p
}

// scrapes is a configuration that scrapes the services of d.
func scrapes(d *local.Deployment, rulesFile string) string {
	targets := map[string][]string{}
	for _, s := range d.Services() {
		targets[s.Kind] = append(targets[s.Kind], "'"+strings.TrimPrefix(s.OpsURL, "http://")+"'")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: ['%s']\nscrape_configs:\n", rulesFile)
	for kind, list := range targets {
		fmt.Fprintf(&b, "  - {job_name: %s, static_configs: [{targets: [%s]}]}\n", kind, strings.Join(list, ", "))
	}
	return b.String()
}

// ask asks the API for data.
func (p *prometheus) ask(path string, query url.Values, data any) error {
	resp, err := http.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	return nil
}

// value counts the series of a query that have a number.
func (p *prometheus) series(expr string) (count int, err error) {
	expr = strings.ReplaceAll(expr, "$__rate_interval", window)
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.ask("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return 0, err
	}
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			count++
		}
	}
	return count, nil
}

// alert is one as Prometheus sees it.
type alert struct {
	Name, Query, Health, LastError, State string
	Labels, Annotations                   map[string]string
}

func (p *prometheus) alerts() []alert {
	p.t.Helper()
	var data struct {
		Groups []struct{ Rules []alert }
	}
	if err := p.ask("/api/v1/rules", nil, &data); err != nil {
		p.t.Fatal(err)
	}
	var out []alert
	for _, g := range data.Groups {
		out = append(out, g.Rules...)
	}
	return out
}
