package explain

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// Print writes the sentence, and below it the tables.
func (e *Explanation) Print(out io.Writer, opts output.TableOptions) error {
	fmt.Fprintln(out, plaintext.Clean(e.Sentence))
	for _, section := range []struct {
		title string
		table output.Table
	}{
		{"Metrics", e.tabulateMetrics()},
		{"Pods", e.tabulatePods()},
		{"Behavior", e.tabulateBehavior()},
		{"Conditions", e.tabulateConditions()},
	} {
		if len(section.table.Rows) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s:\n", section.title)
		if err := section.table.Print(out, opts); err != nil {
			return err
		}
	}
	printExplanationLines(out, "Arithmetic", e.listMetricSteps())
	printExplanationLines(out, "It changes", e.Changes)
	printExplanationLines(out, "Not known", e.Unknown)
	return nil
}

func printExplanationLines(out io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:\n", title)
	for _, line := range lines {
		fmt.Fprintln(out, "  "+plaintext.Clean(line))
	}
}

func (e *Explanation) tabulateMetrics() output.Table {
	table := output.Table{Header: []string{"METRIC", "TOTAL", "TARGET", "RATIO", "WISH", "ERROR"}}
	for _, m := range e.Metrics {
		wish, ratio := "?", cmp.Or(m.Ratio, "?")
		if m.Wish != nil {
			wish, ratio = fmt.Sprint(*m.Wish), cmp.Or(m.Ratio, "<none>") // no pods share a total
		}
		table.Add(m.Name, cmp.Or(m.Total, "?"), m.Target, ratio, wish, m.Error)
	}
	return table
}

func (e *Explanation) tabulatePods() output.Table {
	table := output.Table{Header: []string{"POD", "READY", "METRIC", "VALUE", "AGE", "WINDOW", "NOTE"}}
	for _, p := range e.Pods {
		for _, v := range p.Values {
			value, age, window := "<none>", "", ""
			if v.Value != "" {
				value, age, window = v.Value, output.Age(v.Time, e.Time), output.Window(v.Window)
				if inventory.IsRateMetric(v.Metric) {
					value += "/s"
				}
			}
			table.Add(p.Name, fmt.Sprint(p.Ready), inventory.BareMetricName(v.Metric), value, age, window, v.Note)
		}
	}
	return table
}

func (e *Explanation) tabulateBehavior() output.Table {
	table := output.Table{Header: []string{"DIRECTION", "POLICY", "WINDOW", "HOLDS", "TOLERANCE"}}
	for _, p := range e.Policies {
		window, holds, tolerance := time.Duration(0), false, e.Tolerance.ScaleDown
		if p.Direction == "scaleUp" {
			tolerance = e.Tolerance.ScaleUp
		}
		for _, s := range e.Stabilization {
			if s.Direction == p.Direction {
				window, holds = s.Window, s.Holds
			}
		}
		table.Add(p.Direction, p.Text, output.Duration(window), fmt.Sprint(holds), formatTolerance(tolerance))
	}
	return table
}

// formatTolerance returns a share of 1 in percent, to three decimals.
func formatTolerance(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e5)/1e3, 'f', -1, 64) + "%"
}

func (e *Explanation) tabulateConditions() output.Table {
	table := output.Table{Header: []string{"CONDITION", "STATUS", "REASON", "SINCE", "MEANING"}}
	for _, c := range e.Conditions {
		table.Add(c.Type, c.Status, c.Reason, output.Age(c.Since, e.Time), c.Meaning)
	}
	return table
}

func (e *Explanation) listMetricSteps() []string {
	var lines []string
	for _, m := range e.Metrics {
		if len(m.Steps) > 0 {
			lines = append(lines, inventory.BareMetricName(m.Name)+": "+strings.Join(m.Steps, "; "))
		}
	}
	return lines
}
