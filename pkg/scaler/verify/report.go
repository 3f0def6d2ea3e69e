// This file holds the report of a verification, and its forms for people.

package verify

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// Report is the result of a verification: the responses of new and old pods, and the verdicts.
type Report struct {
	Pods     []PodReport `json:"pods"` // new pods in the given order, then old pods
	New      Summary     `json:"new"`
	Old      Summary     `json:"old"`
	Verdicts []Verdict   `json:"verdicts"`
	Passed   bool        `json:"passed"`
}

// PodReport is the result of a pod.
type PodReport struct {
	Name string `json:"name"`
	Old  bool   `json:"old,omitempty"`
	// Readiness is the result of the readiness address: ok, skipped with a reason, or the cause of the failure. Empty for old pods.
	Readiness string `json:"readiness,omitempty"`
	Summary
}

// Summary counts requests and summarizes latencies, from the start of a request to the end of its response. The latencies are of
// successful and timed-out requests; 0: no such request.
type Summary struct {
	Requests int             `json:"requests"`
	Failed   int             `json:"failed"`
	Success  float64         `json:"success"` // share, from 0 to 1
	P50      metav1.Duration `json:"p50"`
	P95      metav1.Duration `json:"p95"`
	P99      metav1.Duration `json:"p99"`
	Max      metav1.Duration `json:"max"`
	Causes   map[string]int  `json:"causes,omitempty"` // failures by cause
}

// Verdict is the result of a threshold.
type Verdict struct {
	What   string `json:"what"`  // such as p95
	Got    string `json:"got"`   // such as 312ms
	Limit  string `json:"limit"` // such as at most 200ms
	Passed bool   `json:"passed"`
}

// SummaryLine returns a line of text: the broken thresholds with figures and limits, or the figures of a report that passed.
func (r Report) SummaryLine() string {
	var broken []string
	for _, v := range r.Verdicts {
		if !v.Passed {
			broken = append(broken, fmt.Sprintf("%s: %s, wanted %s", v.What, v.Got, v.Limit))
		}
	}
	switch {
	case len(broken) > 0:
		return strings.Join(broken, "; ")
	case !r.Passed:
		return "not verified"
	}
	return r.reportPassedLine()
}

// reportPassedLine returns the line of a report that passed.
func (r Report) reportPassedLine() string {
	skipped, fresh := 0, 0
	for i := range r.Pods {
		if r.Pods[i].Old {
			continue
		}
		fresh++
		if strings.HasPrefix(r.Pods[i].Readiness, "skipped") {
			skipped++
		}
	}
	line := fmt.Sprintf("passed: %d of %d pods answered their readiness address", fresh-skipped, fresh)
	if skipped > 0 {
		line += fmt.Sprintf(" (%d have none)", skipped)
	}
	if r.New.Requests == 0 {
		return line
	}
	return line + fmt.Sprintf("; %d requests, %d failed, p50 %s, p95 %s, p99 %s",
		r.New.Requests, r.New.Failed, formatRequestLatency(r.New.P50.Duration), formatRequestLatency(r.New.P95.Duration), formatRequestLatency(r.New.P99.Duration))
}

// WriteTable writes the report as tables: pods, totals, verdicts.
func (r Report) WriteTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() //nolint:errcheck // a terminal that went away
	line := func(cells ...string) {
		for i := range cells {
			cells[i] = plaintext.Clean(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	line("POD", "READINESS", "REQUESTS", "FAILED", "P50", "P95", "P99", "MAX", "CAUSES")
	for i := range r.Pods {
		p := &r.Pods[i]
		name := p.Name
		if p.Old {
			name += " (old)"
		}
		line(p.formatSummaryCells(name, cmp.Or(p.Readiness, "-"))...)
	}
	if r.New.Requests > 0 {
		line(r.New.formatSummaryCells("all new", "-")...)
	}
	if r.Old.Requests > 0 {
		line(r.Old.formatSummaryCells("all old", "-")...)
	}
	fmt.Fprintln(t)
	line("THRESHOLD", "GOT", "WANTED", "VERDICT")
	for _, v := range r.Verdicts {
		verdict := "kept"
		if !v.Passed {
			verdict = "BROKEN"
		}
		line(v.What, v.Got, v.Limit, verdict)
	}
}

// formatSummaryCells returns the cells of a summary. A dash marks an unmeasured figure, because 0 is a figure.
func (s *Summary) formatSummaryCells(name, readiness string) []string {
	cells := []string{name, readiness, "-", "-", "-", "-", "-", "-", "-"}
	if s.Requests > 0 {
		cells[2], cells[3] = fmt.Sprint(s.Requests), fmt.Sprint(s.Failed)
	}
	if s.hasRequestLatencies() {
		for i, d := range []metav1.Duration{s.P50, s.P95, s.P99, s.Max} {
			cells[4+i] = formatRequestLatency(d.Duration)
		}
	}
	if len(s.Causes) > 0 {
		cells[8] = formatRequestCauses(s.Causes)
	}
	return cells
}

// formatRequestCauses lists causes, most frequent first.
func formatRequestCauses(causes map[string]int) string {
	names := slices.SortedFunc(maps.Keys(causes), func(a, b string) int {
		return cmp.Or(cmp.Compare(causes[b], causes[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%d %s", causes[name], name)
	}
	return strings.Join(parts, ", ")
}
