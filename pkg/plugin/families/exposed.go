package families

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// AddListed adds the adapter's list of the pods' families to the report of its page, or to one without a page: types and metrics by the rules
// in force, and helps where the page has none.
func (r *PageReport) AddListed(list *explainapi.MetricList) {
	r.Replica = list.Source.Replica
	if len(r.ReadPods) == 0 && r.Pod == "" && len(list.Pages) > 0 {
		r.Pod = list.Pages[0].Pod
	}
	byName := map[string]*Family{}
	for i := range r.Families {
		byName[r.Families[i].Name] = &r.Families[i]
	}
	var more []Family
	for i := range list.Items {
		m := &list.Items[i]
		switch f := byName[m.Name]; {
		case !m.IsFamily():
		case f == nil:
			more = append(more, Family{Name: m.Name})
			more[len(more)-1].takeListedFamily(m)
		default:
			f.takeListedFamily(m)
		}
	}
	r.Families = append(r.Families, more...)
	slices.SortFunc(r.Families, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
}

func (f *Family) takeListedFamily(m *explainapi.Metric) {
	f.Type, f.Help, f.Metrics, f.BuiltIn = m.Type, cmp.Or(f.Help, m.Help), []string{}, false
	for _, served := range m.Metrics {
		if served.Resource == "pods" && !served.Pattern {
			f.Metrics = append(f.Metrics, served.Name)
		} else {
			f.OtherMetrics = append(f.OtherMetrics, served.Describe())
		}
	}
}

// PrintListed writes the table of the adapter's list; wide adds the help.
func PrintListed(out io.Writer, list *explainapi.MetricList, opts output.TableOptions) error {
	table := output.Table{Header: []string{"FAMILY", "TYPE", "TARGETS", "DEMANDED", "METRICS"}}
	if opts.Wide {
		table.Header = append(table.Header, "HELP")
	}
	named := map[string]bool{}
	for i := range list.Items {
		m := &list.Items[i]
		metrics, family := m.DescribeMetrics(), m.Name
		if !m.IsFamily() {
			if metrics, family = m.Name, "<none>"; named[m.Name] { // demanded with several selectors
				continue
			}
			named[m.Name] = true
		}
		cells := []string{family, cmp.Or(m.Type, "<none>"), strconv.Itoa(m.Targets), m.DescribeDemands(), metrics}
		if opts.Wide {
			cells = append(cells, m.Help)
		}
		table.Add(cells...)
	}
	if err := table.Print(out, opts); err != nil || opts.NoHeaders || len(list.Pages) == 0 {
		return err
	}
	_, err := fmt.Fprintln(out, "\nOne pod's page stands for all pods of a workload: name the workload, as deployment/NAME, to see all of its pods.")
	return err
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
