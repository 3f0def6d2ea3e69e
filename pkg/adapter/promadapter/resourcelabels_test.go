package promadapter

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestNoSeriesToLearnLabelsFrom: without series, a rule with a single series name explains that their labels are unknown.
func TestNoSeriesToLearnLabelsFrom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t)
		c := startCatalog(t, loadConfig(t, `
rules:
- seriesQuery: 'queue{namespace!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`), series, &fakeCluster{})
		_, err := c.Rules().Lookup("pods", "queue")
		if want := `metric "queue" on pods is not known: rules[0] queue: no series seen yet, so its labels are unknown`; metric.KindOf(err) != metric.KindUnavailable ||
			err.Error() != want {
			t.Errorf("Lookup: %v", err)
		}
		// The labels that the seriesQuery requires are known.
		if diff := cmp.Diff([]string{"namespaces queue (cluster)"}, servedMetrics(c.Rules())); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
		series.setSeries(t, `queue{namespace="default",pod="a",pods="b"}`)
		<-time.After(2 * defaultRelistInterval)
		synctest.Wait()
		r, err := c.Rules().Lookup("pods", "queue")
		if err != nil {
			t.Fatal(err)
		}
		if r.ObjectLabel != "pod" || r.NamespaceLabel != "namespace" || !r.Namespaced || r.Name != "rules[0] queue" || r.Backend != "prometheus" {
			t.Errorf("rule %+v", r)
		}
		if _, err := c.Rules().Lookup("services", "queue"); metric.KindOf(err) != metric.KindNotFound {
			t.Errorf("Lookup of a label that the series lack: %v", err)
		}
	})
}

// TestSeveralLabelsOfOneResource: of several labels for a resource, a label of the series wins, else the first of the file.
func TestSeveralLabelsOfOneResource(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ series, namespaceLabel, objectLabel string }{
		"first":  {`up{ns="a",k8s_pod="b"}`, "ns", "k8s_pod"},
		"second": {`up{ns="a",pod="b"}`, "ns", "pod"},
		"both":   {`up{ns="a",pod="b",k8s_pod="c"}`, "ns", "k8s_pod"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, err := startCatalog(t, loadConfig(t, `
rules:
- seriesQuery: '{__name__=~"up|down",ns!=""}'
  resources: {overrides: {namespace: {resource: namespaces}, ns: {resource: namespaces}, k8s_pod: {resource: pods}, pod: {resource: pods}}}
  metricsQuery: <<.Series>>
`), newSeriesList(t, tc.series), &fakeCluster{}).Rules().Lookup("pods", "up")
				if err != nil {
					t.Fatal(err)
				}
				if r.NamespaceLabel != tc.namespaceLabel || r.ObjectLabel != tc.objectLabel {
					t.Errorf("labels %s and %s", r.NamespaceLabel, r.ObjectLabel)
				}
			})
		})
	}
}
