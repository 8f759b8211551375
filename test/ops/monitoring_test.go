package ops

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pymessage/internal/local"
)

// panel is a graph of a dashboard.
type panel struct {
	Title, Type string
	ID          int
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Datasource  struct{ UID string }
	Targets     []struct{ RefID, Expr string }
}

type dashboard struct {
	UID, Title string
	Panels     []panel
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/grafana/dashboards/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]dashboard{}
	for _, file := range files {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, filepath.Join("deploy/grafana/dashboards", filepath.Base(file)))), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	return out
}

func TestEveryPanelShowsSomethingAndEveryAlertIsEvaluated(t *testing.T) {
	t.Parallel()
	d := deploy(t, local.Options{Gateways: 2, Env: map[string][]string{"gateway": {"PROBE_INTERVAL=1s"}}})
	p := watch(t, d)
	live(t, d)
	for name, board := range dashboards(t) {
		for _, panel := range board.Panels {
			for _, target := range panel.Targets {
				p.expect(fmt.Sprintf("panel %q of %s", panel.Title, name), target.Expr)
			}
		}
	}
	for _, a := range p.alerts() {
		if a.Health != "ok" || a.State == "firing" {
			t.Errorf("alert %s: health %s, state %s: %s", a.Name, a.Health, a.State, a.LastError)
		}
		for _, selector := range selectors(a.Query) {
			p.expect("alert "+a.Name, selector)
		}
	}
}

// expect waits until a query has an answer: rates need some scrapes, and some of what
// is counted happens only now and then.
func (p *prometheus) expect(what, expr string) {
	p.t.Helper()
	until(p.t, what+", which asks for "+expr, func() bool {
		count, err := p.series(expr)
		if err != nil {
			p.t.Fatalf("%s: %s: %v", what, expr, err)
		}
		return count > 0
	})
}

var selector = regexp.MustCompile(`\b(?:pymessage_\w+|process_\w+|up\b)(?:\{[^}]*\})?`)

// selectors are the series that an expression reads. Requests that fail are none until
// the first one does.
func selectors(expr string) []string {
	found := selector.FindAllString(expr, -1)
	for i, s := range found {
		found[i] = strings.Replace(s, `code="5xx"`, `code="2xx"`, 1)
	}
	return found
}

func TestAlertsFireWhereTheyHaveTo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = filepath.Join(root, "deploy/prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v (it is in the package prometheus)\n%s", args, err, out)
		}
	}
}

func TestEveryAlertHasATestAndARunbookEntry(t *testing.T) {
	t.Parallel()
	names := func(pattern, text string) []string {
		found := map[string]bool{}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			found[m[1]] = true
		}
		return slices.Sorted(maps.Keys(found))
	}
	text := read(t, rules)
	want := names(`(?m)- alert: (\w+)$`, text)
	if len(want) == 0 {
		t.Fatal("there are no alerts")
	}
	if got := names(`alertname="(\w+)"`, read(t, "deploy/prometheus/rules_test.yml")); !slices.Equal(got, want) {
		t.Errorf("tests of %v\nalerts   %v", got, want)
	}
	if got := names(`(?m)^### (Pymessage\w+)$`, read(t, "docs/operations.md")); !slices.Equal(got, want) {
		t.Errorf("runbook of %v\nalerts     %v", got, want)
	}
	for _, name := range want {
		if !strings.Contains(text, "runbook: docs/operations.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not lead to its entry", name)
		}
	}
}

func TestDashboardsAreWhole(t *testing.T) {
	t.Parallel()
	all := dashboards(t)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, []string{"accounts", "gateway", "overview", "social"}) {
		t.Errorf("dashboards %v", got)
	}
	source := regexp.MustCompile(`(?m)^    uid: (\w+)$`).FindStringSubmatch(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml"))
	for name, board := range all {
		if board.UID != "pymessage-"+name || board.Title == "" {
			t.Errorf("%s has uid %q and title %q", name, board.UID, board.Title)
		}
		ids, places := map[int]bool{}, map[[2]int]bool{}
		for _, p := range board.Panels {
			place := [2]int{p.GridPos.X, p.GridPos.Y}
			if ids[p.ID] || places[place] || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: panel %q lies upon another, or has its id", name, p.Title)
			}
			ids[p.ID], places[place] = true, true
			if p.Type != "row" && (len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" || source == nil || p.Datasource.UID != source[1]) {
				t.Errorf("%s: panel %q lacks queries, a unit or its source of data", name, p.Title)
			}
		}
	}
}
