package families

import (
	"cmp"
	"fmt"
	"io"
	"strconv"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// NewListedReport returns the families of a workload from the adapter's list, which has no series and no values.
func NewListedReport(namespace string, list *explainapi.MetricList) *Report {
	report := &Report{Namespace: namespace, Families: []Family{}}
	if len(list.Pages) > 0 {
		report.Pod = list.Pages[0].Pod
	}
	for i := range list.Items {
		m := &list.Items[i]
		if !m.IsFamily() {
			continue
		}
		f := Family{Name: m.Name, Type: m.Type, Help: m.Help}
		for _, served := range m.Metrics {
			if served.Resource == "pods" && !served.Pattern {
				f.Metrics = append(f.Metrics, served.Name)
			}
		}
		report.Families = append(report.Families, f)
	}
	return report
}

// PrintListed writes the table of the adapter's list.
func PrintListed(out io.Writer, list *explainapi.MetricList, opts output.TableOptions) error {
	table := output.Table{Header: []string{"METRIC", "TYPE", "FAMILY", "TARGETS", "DEMANDED", "HELP"}}
	for i := range list.Items {
		m := &list.Items[i]
		metrics, family := m.DescribeMetrics(), m.Name
		if !m.IsFamily() {
			metrics, family = m.Name, "<none>"
		}
		table.Add(metrics, cmp.Or(m.Type, "<none>"), family, strconv.Itoa(m.Targets), m.DescribeDemands(), m.Help)
	}
	return table.Print(out, opts)
}

// ListGaps returns what the adapter's list lacks, a sentence each.
func ListGaps(list *explainapi.MetricList) []string {
	var gaps []string
	if len(list.Pages) == 0 {
		gaps = append(gaps, explainapi.NoMetricPages)
	}
	for _, p := range list.Pages {
		switch {
		case p.Error != "":
			gaps = append(gaps, fmt.Sprintf("could not read the page of pod %s for %s: %s", p.Pod, p.Workload, p.Error))
		case p.Truncated:
			gaps = append(gaps, fmt.Sprintf("the page of pod %s for %s has more families than the %d that are listed", p.Pod, p.Workload, p.Families))
		}
	}
	if list.UnreadWorkloads > 0 {
		gaps = append(gaps, fmt.Sprintf("%s more not read: name one, as deployment/NAME", output.Count(list.UnreadWorkloads, "workload")))
	}
	if list.Truncated {
		gaps = append(gaps, "the pages have more families than are listed: name a workload, as deployment/NAME")
	}
	return gaps
}
