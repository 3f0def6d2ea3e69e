package try

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Print writes the faults, or the values of each metric, or the autoscaler's decision.
func (t *RuleTrial) Print(out io.Writer, opts output.TableOptions) error {
	for _, f := range t.Faults {
		fmt.Fprintln(out, plaintext.Clean(t.File+": "+strict.Fault{Path: f.Path, Line: f.Line, Message: f.Message}.String()))
	}
	if len(t.Faults) > 0 {
		return nil
	}
	if t.Explanation != nil {
		return t.Explanation.Print(out, opts)
	}
	for i := range t.Reviews {
		if err := t.printRuleReview(out, &t.Reviews[i], opts); err != nil {
			return err
		}
	}
	return nil
}

func (t *RuleTrial) printRuleReview(out io.Writer, r *explainapi.RuleReviewStatus, opts output.TableOptions) error {
	kind := r.Resource
	if r.External {
		kind = "external"
	}
	fmt.Fprintf(out, "%s (%s) of namespace %s, from %s, computed by %s:\n", plaintext.Clean(r.Metric), plaintext.Clean(kind), t.Namespace,
		plaintext.Clean(strings.Join(r.Families, ", ")), plaintext.Clean(r.Source.Replica))
	table := output.Table{Header: []string{"OBJECT", "VALUE", "AGE", "WINDOW", "NOTE"}}
	for _, v := range r.Values {
		value := reading.FormatAmount("", v.Milli)
		if inventory.IsRateMetric(r.Metric) {
			value += "/s"
		}
		window, note := "", ""
		if v.WindowSeconds > 0 {
			window = output.Window(hpa.ConvertWindow(v.WindowSeconds))
		} else if v.WindowSeconds < 0 {
			note = "negative window"
		}
		table.Add(cmp.Or(v.Object, formatTrialLabels(v.Labels)), value, output.Age(v.Time, r.Source.Time), window, note)
	}
	for _, o := range r.Omitted {
		table.Add(o.Pod, "<none>", "", "", explain.DescribeOmission(o))
	}
	if len(table.Rows) > 0 {
		if err := table.Print(out, opts); err != nil {
			return err
		}
	}
	if r.Error != "" {
		fmt.Fprintln(out, "An autoscaler would get the error: "+plaintext.Clean(r.Error))
	}
	return nil
}

// formatTrialLabels returns the labels of a series as PromQL writes them.
func formatTrialLabels(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
