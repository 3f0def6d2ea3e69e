// Package budget shows the time from a change of load to a pod that serves, stage by stage, from the adapter's records.
package budget

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// The stages, in the order of time.
const (
	Sample   = "sample"
	Period   = "period"
	Decision = "decision"
	Start    = "start"
)

// stages are the stages with their meaning.
var stages = []struct{ name, meaning string }{
	{Sample, "age of the oldest sample behind a read"},
	{Period, "time between two looks of the HPA controller"},
	{Decision, "first read to the changed number of pods"},
	{Start, "creation of a pod to its readiness"},
}

// maxPeriod bounds the time between two looks: a longer one is a gap of the record.
const maxPeriod = 2 * time.Minute

// Budget is the reaction time of an autoscaler.
type Budget struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Source    explainapi.Source `json:"source"`
	Stages    []Stage           `json:"stages"`
	// Longest is the stage with the longest p95; empty without any observation.
	Longest string `json:"longest,omitempty"`
}

// Stage is one stage of the reaction. Times are zero without observations.
type Stage struct {
	Name  string        `json:"name"`
	Count int           `json:"count"`
	P50   time.Duration `json:"p50"`
	P95   time.Duration `json:"p95"`
}

// Measure returns the budget of an autoscaler from its complete record.
func Measure(log *explainapi.DecisionLog) Budget {
	observed := map[string][]time.Duration{Start: measurePodStarts(log)}
	var before time.Time
	for i := range log.Decisions {
		d := &log.Decisions[i]
		if len(d.Reads) == 0 {
			continue
		}
		if gap := d.Time.Sub(before); !before.IsZero() && gap > 0 && gap <= maxPeriod {
			observed[Period] = append(observed[Period], gap)
		}
		before = d.Time
		for _, r := range d.Reads {
			if oldest, ok := findOldestSample(r); ok {
				observed[Sample] = append(observed[Sample], oldest)
			}
		}
		if d.WrittenAfter != nil && d.WrittenAfter.Duration >= 0 && d.Status != nil && d.Status.DesiredReplicas != d.Status.CurrentReplicas {
			observed[Decision] = append(observed[Decision], d.WrittenAfter.Duration)
		}
	}
	b := Budget{Namespace: log.Namespace, Name: log.Name, Source: log.Source}
	longest := time.Duration(-1)
	for _, stage := range stages {
		s := newBudgetStage(stage.name, observed[stage.name])
		if b.Stages = append(b.Stages, s); s.Count > 0 && s.P95 > longest {
			b.Longest, longest = s.Name, s.P95
		}
	}
	return b
}

// maxSampleAge bounds the age of a sample: a file has any number, whose nanoseconds could overflow.
const maxSampleAge = hpa.MaxWindow

// findOldestSample returns the age of the oldest sample behind a read.
func findOldestSample(r explainapi.Read) (time.Duration, bool) {
	oldest := int64(-1)
	for _, v := range r.Values {
		oldest = max(oldest, v.AgeMillis)
	}
	return time.Duration(min(oldest, maxSampleAge.Milliseconds())) * time.Millisecond, oldest >= 0
}

// measurePodStarts returns how long each pod took to become ready that was created within the record. A pod that became ready
// again later counts with its first time.
func measurePodStarts(log *explainapi.DecisionLog) []time.Duration {
	var took []time.Duration
	counted := map[string]bool{}
	for i := range log.Decisions {
		for _, p := range log.Decisions[i].Pods {
			if counted[p.Name] || p.State != explainapi.PodReady {
				continue
			}
			counted[p.Name] = true
			if p.Created.After(log.Decisions[0].Time) && !p.Readied.Before(p.Created) {
				took = append(took, p.Readied.Sub(p.Created))
			}
		}
	}
	return took
}

func newBudgetStage(name string, observed []time.Duration) Stage {
	s := Stage{Name: name, Count: len(observed)}
	if len(observed) == 0 {
		return s
	}
	slices.Sort(observed)
	s.P50, s.P95 = findStageQuantile(observed, 50), findStageQuantile(observed, 95)
	return s
}

// findStageQuantile returns the smallest observation that at least a percentage of all does not exceed.
func findStageQuantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

// Print writes the budgets as a table, one row for each autoscaler, and the meaning of the stages.
func Print(out io.Writer, budgets []Budget, opts output.TableOptions) error {
	table := output.Table{Header: []string{"NAME", "SAMPLE", "PERIOD", "DECISION", "START", "LONGEST", "RECORDED BY"}}
	if opts.WithNamespace {
		table.Header = append([]string{"NAMESPACE"}, table.Header...)
	}
	for _, b := range budgets {
		var cells []string
		if opts.WithNamespace {
			cells = append(cells, b.Namespace)
		}
		cells = append(cells, b.Name)
		for _, s := range b.Stages {
			cells = append(cells, formatBudgetStage(s))
		}
		longest := b.Longest
		if longest == "" {
			longest = "<unknown>"
		}
		table.Add(append(cells, longest, cmp.Or(strings.Join(b.Source.Recorders(), ","), "<none>"))...)
	}
	if err := table.Print(out, opts); err != nil {
		return err
	}
	if opts.NoHeaders {
		return nil
	}
	var meanings []string
	for _, s := range stages {
		meanings = append(meanings, s.name+": "+s.meaning)
	}
	_, err := fmt.Fprintf(out, "\np50/p95 of each stage. %s.\n", strings.Join(meanings, "; "))
	return err
}

func formatBudgetStage(s Stage) string {
	if s.Count == 0 {
		return "<none>"
	}
	return fmt.Sprintf("%.1fs/%.1fs", s.P50.Seconds(), s.P95.Seconds())
}
