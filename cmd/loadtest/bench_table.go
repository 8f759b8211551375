package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What bench writes stands between these lines of the document.
const (
	benchBegin = "<!-- written by make bench: begin -->\n"
	benchEnd   = "<!-- written by make bench: end -->\n"
)

// findings are what bench found.
type findings struct {
	Date, Machine string
	Runs          int
	Scenarios     []measured
	Micro         []micro
}

// measured are the runs of a scenario.
type measured struct {
	Command string
	Reports []report
	tells   []string
}

// writeInto puts the findings between the lines of a document that are theirs.
func (f findings) writeInto(document string) (string, error) {
	before, rest, ok := strings.Cut(document, benchBegin)
	_, after, closed := strings.Cut(rest, benchEnd)
	if !ok || !closed {
		return "", errors.New("the lines are missing between which the tables stand")
	}
	return before + benchBegin + f.tables() + benchEnd + after, nil
}

func (f findings) tables() string {
	var b strings.Builder
	runs := "the median of " + fmt.Sprint(f.Runs, " runs, from the least to the most")
	if f.Runs == 1 {
		runs = "one run"
	}
	fmt.Fprintf(&b, "Measured on %s: %s.\nAll of it was on this one machine, the load generator too; other programs took %.2f cores of it at most. Of each scenario:\n%s. Nothing was lost, doubled or disordered in any of them.\n\n",
		f.Date, f.Machine, f.most("cores of others"), runs)
	b.WriteString("| command | result |\n|---|---|\n")
	for _, m := range f.Scenarios {
		fmt.Fprintf(&b, "| `%s` | %s |\n", m.Command, m.result())
	}
	b.WriteString("\nProcessor time of a message in microseconds:\n\n| command |")
	for _, who := range payers {
		b.WriteString(" " + who + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(payers)) + "\n")
	for _, m := range f.Scenarios {
		b.WriteString(m.costs())
	}
	b.WriteString("\nParts by themselves (`go test -bench`), where Postgres does not wait for the disk; a batch is of 100 messages where its name\ndoes not say its size:\n\n| benchmark | µs | bytes | allocations |\n|---|---|---|---|\n")
	for _, m := range f.Micro {
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f |\n", m.Name, short(m.Values["ns/op"]/1000), m.Values["B/op"], m.Values["allocs/op"])
	}
	return b.String()
}

// payers are the columns of the table of costs.
var payers = []string{"gateway", "social", "postgres", "redis", "accounts", "all servers", "generator"}

// values are the figures of a report by their names, with those that the report has
// elsewhere.
func (r report) values() map[string]figure {
	out := map[string]figure{}
	add := func(name string, value float64, unit string) { out[name] = figure{name, value, unit} }
	add("acknowledged", r.Result.PerSecond, "messages/s")
	if r.Floor != nil && r.Floor.PerSecond > 0 {
		add("acknowledged by the floor", r.Floor.PerSecond, "messages/s")
		add("of the floor", r.Result.PerSecond/r.Floor.PerSecond, "")
	}
	l := r.Result.Latency
	add("p50", l.P50, "ms")
	add("p99", l.P99, "ms")
	add("p99.9", l.P999, "ms")
	for _, c := range r.Result.Costs {
		add("µs of "+c.Name, c.Each, "µs")
		add("cores of "+c.Name, c.Cores, "")
	}
	for _, f := range r.Result.Figures {
		out[f.Name] = f
	}
	return out
}

// sorted are the values of a name in all runs, with their unit; none where the
// scenario does not have it.
func (m measured) sorted(name string) (values []float64, unit string) {
	for _, r := range m.Reports {
		if f, ok := r.values()[name]; ok {
			values, unit = append(values, f.Value), f.Unit
		}
	}
	slices.Sort(values)
	return values, unit
}

// result tells the first in full.
func (m measured) result() string {
	var parts []string
	for i, name := range m.tells {
		values, unit := m.sorted(name)
		if len(values) == 0 {
			continue
		}
		value := short(middle(values))
		if i == 0 {
			value = "**" + value + "**"
		}
		part := strings.TrimSpace(name + " " + value + " " + unit)
		if i == 0 && len(values) > 1 {
			part += fmt.Sprintf(" (%s to %s)", short(values[0]), short(values[len(values)-1]))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// costs is a row, and nothing where messages were not what was measured.
func (m measured) costs() string {
	row := "| `" + m.Command + "` |"
	if values, _ := m.sorted("µs of all servers"); len(values) == 0 || middle(values) == 0 {
		return ""
	}
	for _, who := range payers {
		values, _ := m.sorted("µs of " + who)
		if len(values) == 0 {
			row += " |"
			continue
		}
		row += " " + short(middle(values)) + " |"
	}
	return row + "\n"
}

// most is the largest value of a name in all runs of all scenarios.
func (f findings) most(name string) (most float64) {
	for _, m := range f.Scenarios {
		if values, _ := m.sorted(name); len(values) > 0 {
			most = max(most, values[len(values)-1])
		}
	}
	return most
}

func middle(sorted []float64) float64 { return sorted[len(sorted)/2] }

// short writes three digits, and thousands with commas.
func short(v float64) string {
	switch {
	case v >= 1000:
		text := fmt.Sprintf("%.0f", v)
		for at := len(text) - 3; at > 0; at -= 3 {
			text = text[:at] + "," + text[at:]
		}
		return text
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
