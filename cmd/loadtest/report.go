package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// result is what a run found out.
type result struct {
	duration    time.Duration
	acked, came int64 // in that time
	latency     latency
	costs       []cost
	costOf      string // what the costs are told for; empty: a message
	figures     []figure
	verdict     verdict
}

// cost is the processor time of a group of processes.
type cost struct {
	Name  string  `json:"name"`
	Cores float64 `json:"cores"`
	Each  float64 `json:"us_each"` // of the messages or, in a storm, the sockets
}

// figure is a result with a name.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func (r *result) add(name string, value float64, unit string) {
	r.figures = append(r.figures, figure{name, value, unit})
}

// addMemory adds how large the gateways are.
func (r *result) addMemory(t *target, what string) {
	sizes, err := t.memory("gateway")
	if err != nil {
		r.verdict.Faults = append(r.verdict.Faults, err.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		r.add(what+name, float64(sizes[name])/(1<<20), "MiB")
	}
}

// costsOf are the costs of the groups between two readings, and what the rest of
// the machine used meanwhile, in all and for each of n messages or the like.
func costsOf(t *target, before, after spent, took time.Duration, n int64) []cost {
	var costs []cost
	add := func(name string, used time.Duration) {
		c := cost{Name: name, Cores: used.Seconds() / took.Seconds()}
		if n > 0 {
			c.Each = float64(used.Microseconds()) / float64(n)
		}
		costs = append(costs, c)
	}
	ours := after["generator"] - before["generator"]
	var servers time.Duration
	for _, g := range t.groups {
		used := after[g.name] - before[g.name]
		servers += used
		add(g.name, used)
	}
	if len(t.groups) > 0 {
		add("all servers", servers)
	}
	add("generator", ours)
	add("others", max(0, after["machine"]-before["machine"]-ours-servers))
	return costs
}

func (r *result) perSecond() float64 { return float64(r.acked) / r.duration.Seconds() }

// write writes the table.
func (r *result) write(to io.Writer, title string, floor *result) {
	fmt.Fprintf(to, "\n%s\n", title)
	tw := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	if r.acked > 0 {
		fmt.Fprintf(tw, "acknowledged\t%.0f\tmessages/s\t%s\t\n", r.perSecond(), ratio(r.perSecond(), floor, (*result).perSecond))
	}
	if r.came > 0 {
		fmt.Fprintf(tw, "delivered\t%.0f\tmessages/s\t\n", float64(r.came)/r.duration.Seconds())
	}
	if l := r.latency; l.Count > 0 {
		fmt.Fprintf(tw, "p50\t%.2f\tms\t%s\t\n", l.P50, ratio(l.P50, floor, func(f *result) float64 { return f.latency.P50 }))
		fmt.Fprintf(tw, "p90\t%.2f\tms\t\n", l.P90)
		fmt.Fprintf(tw, "p99\t%.2f\tms\t%s\t\n", l.P99, ratio(l.P99, floor, func(f *result) float64 { return f.latency.P99 }))
		fmt.Fprintf(tw, "p99.9\t%.2f\tms\t\nmax\t%.2f\tms\t\n", l.P999, l.Max)
	}
	for _, f := range r.figures {
		fmt.Fprintf(tw, "%s\t%.2f\t%s\t\n", f.Name, f.Value, f.Unit)
	}
	tw.Flush()
	r.writeCosts(to)
	v := r.verdict
	fmt.Fprintf(to, "%d acknowledged, %d delivered: %d lost, %d doubled, %d disordered; %d refused, %d unanswered, %d repeated after a login\n",
		v.Acked, v.Delivered, v.Lost, v.Doubled, v.Disordered, v.Refused, v.Unanswered, v.Repeated)
	for _, f := range v.Faults {
		fmt.Fprintln(to, "fault:", f)
	}
}

func (r *result) writeCosts(to io.Writer) {
	if len(r.costs) == 0 {
		return
	}
	tw := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "processor\tcores\tµs a %s\t\n", cmp.Or(r.costOf, "message"))
	for _, c := range r.costs {
		if c.Each == 0 || c.Name == "others" {
			fmt.Fprintf(tw, "%s\t%.3f\t\t\n", c.Name, c.Cores)
			continue
		}
		fmt.Fprintf(tw, "%s\t%.3f\t%.1f\t\n", c.Name, c.Cores, c.Each)
	}
	tw.Flush()
}

// ratio is how a value stands to that of the floor.
func ratio(value float64, floor *result, of func(*result) float64) string {
	if floor == nil || of(floor) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f of the floor", value/of(floor))
}

// report is the JSON.
type report struct {
	Scenario string            `json:"scenario"`
	Date     string            `json:"date"`
	Options  map[string]string `json:"options"`
	CPUs     int               `json:"cpus"`
	Settings []string          `json:"settings"` // that differ from the defaults
	Result   *reportResult     `json:"result"`
	Floor    *reportResult     `json:"floor,omitempty"`
}

type reportResult struct {
	Seconds   float64  `json:"seconds"`
	PerSecond float64  `json:"messages_per_second"`
	Latency   latency  `json:"latency"`
	Costs     []cost   `json:"processor"`
	Figures   []figure `json:"figures,omitempty"`
	Verdict   verdict  `json:"verdict"`
}

func (r *result) report() *reportResult {
	if r == nil {
		return nil
	}
	out := &reportResult{Seconds: r.duration.Seconds(), Latency: r.latency, Costs: r.costs, Figures: r.figures, Verdict: r.verdict}
	if r.duration > 0 {
		out.PerSecond = r.perSecond()
	}
	return out
}

// writeJSON writes the results to a file.
func writeJSON(file string, o *options, settings []string, r, floor *result) error {
	text, err := json.MarshalIndent(report{
		Scenario: o.scenario, Date: time.Now().UTC().Format(time.RFC3339), Options: o.set, CPUs: runtime.NumCPU(),
		Settings: settings, Result: r.report(), Floor: floor.report(),
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
