package verify

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report is what new and old pods answered, and what it is worth.
type Report struct {
	Pods     []PodReport `json:"pods"`
	New      Summary     `json:"new"`
	Old      Summary     `json:"old"`
	Verdicts []Verdict   `json:"verdicts"`
	Passed   bool        `json:"passed"`
}

// PodReport is what one pod answered.
type PodReport struct {
	Name string `json:"name"`
	Old  bool   `json:"old,omitempty"`
	// Readiness is what the readiness address answered: ok, skipped and why, or what went wrong.
	Readiness string `json:"readiness,omitempty"`
	Summary
}

// Summary counts requests, and gives the latencies of those that were answered well.
type Summary struct {
	Requests int             `json:"requests"`
	Failed   int             `json:"failed"`
	Success  float64         `json:"success"` // share, from 0 to 1
	P50      metav1.Duration `json:"p50"`
	P95      metav1.Duration `json:"p95"`
	P99      metav1.Duration `json:"p99"`
	Max      metav1.Duration `json:"max"`
	Causes   map[string]int  `json:"causes,omitempty"` // of failures, in few words
}

// Verdict is one threshold, and whether it was kept.
type Verdict struct {
	What   string `json:"what"`
	Got    string `json:"got"`
	Limit  string `json:"limit"`
	Passed bool   `json:"passed"`
}

// Why is one line: which thresholds were broken, with figures and limits, or that none was.
func (r Report) Why() string {
	var broken []string
	for _, v := range r.Verdicts {
		if !v.Passed {
			broken = append(broken, fmt.Sprintf("%s %s, wanted %s", v.What, v.Got, v.Limit))
		}
	}
	if len(broken) == 0 && r.Passed {
		return fmt.Sprintf("passed: %d requests, %d failed, p95 %s", r.New.Requests, r.New.Failed, r.New.P95.Duration)
	}
	return strings.Join(broken, "; ")
}

// Table writes the report for people: pods, totals, verdicts.
func (r Report) Table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() //nolint:errcheck // a terminal that went away
	row := func(name, ready string, s Summary) {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", name, ready, s.Requests, s.Failed, s.P50.Duration, s.P95.Duration, s.P99.Duration, s.Max.Duration)
	}
	fmt.Fprintln(t, "POD\tREADINESS\tREQUESTS\tFAILED\tP50\tP95\tP99\tMAX")
	for _, p := range r.Pods {
		row(p.Name, p.Readiness, p.Summary)
	}
	row("all new", "", r.New)
	if r.Old.Requests > 0 {
		row("all old", "", r.Old)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintf(t, "%s\tpassed=%t\tgot %s\twanted %s\n", v.What, v.Passed, v.Got, v.Limit)
	}
}
