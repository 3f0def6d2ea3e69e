package promadapter

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// TestNotesOfOneRule: series of a rule with the same query do not conflict; other series of the rule do.
func TestNotesOfOneRule(t *testing.T) {
	t.Parallel()
	const head = `
rules:
- seriesQuery: '{__name__=~"^gateway_ms_(sum|count)$",ns!="",svc!=""}'
  resources: {overrides: {ns: {resource: namespace}, svc: {resource: service}}}
  name: {as: gateway_ms_average}
`
	const average = "  metricsQuery: 'sum by (<<.GroupBy>>) (rate(gateway_ms_sum{<<.LabelMatchers>>}[1m])) / sum by (<<.GroupBy>>) (rate(gateway_ms_count{<<.LabelMatchers>>}[1m]))'\n"
	const single = "  metricsQuery: 'sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[1m]))'\n"
	for name, tc := range map[string]struct {
		config string
		want   []string
	}{
		"the same query": {head + average, nil},
		"a query of each series": {head + single, []string{
			"metric gateway_ms_average of namespaces: rules[0] gives the series gateway_ms_sum and gateway_ms_count this name, and serves gateway_ms_sum; tell them apart in name.as",
			"metric gateway_ms_average of services: rules[0] gives the series gateway_ms_sum and gateway_ms_count this name, and serves gateway_ms_sum; tell them apart in name.as",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := startCatalog(t, loadConfig(t, tc.config), newSeriesList(t, `gateway_ms_sum{ns="a",svc="b"}`, `gateway_ms_count{ns="a",svc="b"}`), &fakeCluster{}).Rules()
				if diff := cmp.Diff(tc.want, s.Notes()); diff != "" {
					t.Errorf("notes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestSeriesWithoutObjects: a rule that finds series but no label for objects says so, in the notes and to the reader.
func TestSeriesWithoutObjects(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ seriesQuery, resources, series, want string }{
		"one name": {
			`queue_visible{queue="a"}`, `overrides: {queuedepth: {group: apps, resource: deployment}, namespace: {resource: namespace}}`, `queue_visible{queue="a"}`,
			"serves no metric: its series (queue_visible) have no label queuedepth, or namespace",
		},
		"several names": {
			`{__name__=~"^queue_.*"}`, `overrides: {depth: {resource: pod}}`, `queue_visible{queue="a"}`,
			"serves no metric: its series (queue_visible) have no label depth",
		},
		"template": {
			`{__name__=~"^queue_.*"}`, `template: "kube_<<.Resource>>"`, `queue_visible{kube_brand="a"}`,
			"serves no metric: its series (queue_visible) have no label of resources.template that names a resource of the cluster",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := startCatalog(t, loadConfig(t, `
rules:
- seriesQuery: '`+tc.seriesQuery+`'
  resources: {`+tc.resources+`}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`), newSeriesList(t, tc.series), &fakeCluster{}).Rules()
				rule := "rules[0] " + tc.seriesQuery
				if name == "one name" {
					rule = "rules[0] queue_visible"
				}
				if notes := s.Notes(); len(notes) == 0 || notes[len(notes)-1] != rule+": "+tc.want {
					t.Errorf("notes %q", notes)
				}
				_, err := s.Lookup("deployments.apps", "queue_visible")
				want := `metric "queue_visible" on deployments.apps has no object: ` + rule + ": " + tc.want
				if metric.KindOf(err) != metric.KindNotFound || err.Error() != want {
					t.Errorf("Lookup: %v, want %s", err, want)
				}
			})
		})
	}
}

// TestRuleThatNeverWorksFailsAlone: the adapter starts with it, serves the other rules, and names the failing rule.
func TestRuleThatNeverWorksFailsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		c := NewCatalog(loadConfig(t, `
rules:
- seriesQuery: 'a{node!=""}'
  resources: {overrides: {node: {resource: node}}}
  metricsQuery: sum(<<.Serie>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'b{node!=""}'
  resources: {overrides: {node: {resource: node}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`), newSeriesList(t), &fakeCluster{}, Options{Metrics: NewMetrics(reg)})
		c.Relist(t.Context(), time.Now())
		want := []string{`rules[0] a: metricsQuery: .Serie does not exist; known: .Series, .LabelMatchers, .GroupBy, .LabelValuesByName, .GroupBySlice`}
		if diff := cmp.Diff(want, c.Rules().Notes()); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
		for metric, works := range map[string]bool{"a": false, "b": true} {
			r, err := c.Rules().Lookup("nodes", metric)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := (rule.Query{Rule: r, Objects: []string{"n"}}).BuildRemoteQuery(nil); (err == nil) != works {
				t.Errorf("%s: %v", metric, err)
			}
		}
		failing := `
# HELP tachometer_promadapter_rule_failing Whether a rule of prometheus-adapter fails (1) or works (0).
# TYPE tachometer_promadapter_rule_failing gauge
tachometer_promadapter_rule_failing{rule="rules[0]"} 1
tachometer_promadapter_rule_failing{rule="rules[1]"} 0
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(failing), "tachometer_promadapter_rule_failing"); err != nil {
			t.Error(err)
		}
	})
}

// TestSecondDocument: the first document of a file serves, whatever follows, as in prometheus-adapter; a warning names the line.
func TestSecondDocument(t *testing.T) {
	t.Parallel()
	const first = `rules:
- seriesQuery: 'queue{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`
	for name, tc := range map[string]struct{ rest, want string }{
		"the end":      {"...\n---\n# end\n", ""},
		"rules":        {"---\nexternalRules: []\n", "line 6: " + ignoredDocumentMessage},
		"invalid YAML": {"---\na: [\n", "line 6: " + ignoredDocumentMessage + "; it is not valid YAML: did not find expected node content; close each [ and {"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := loadConfig(t, first+tc.rest)
				var want, checked []string
				if tc.want != "" {
					want = []string{tc.want}
				}
				for _, w := range cfg.CheckRules().Warnings {
					checked = append(checked, w.String())
				}
				s := startCatalog(t, cfg, newSeriesList(t, `queue{namespace="mq",pod="a"}`), &fakeCluster{}).Rules()
				if diff := cmp.Diff([][]string{want, want}, [][]string{checked, s.Notes()}); diff != "" {
					t.Errorf("warnings of the check, notes of the catalog (-want +got):\n%s", diff)
				}
				if _, err := s.Lookup("pods", "queue"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestInvalidSelector: a rule whose seriesQuery is no selector fails alone, in its list and beside the other list.
func TestInvalidSelector(t *testing.T) {
	t.Parallel()
	const text = `
rules:
- {seriesQuery: sum(a), resources: {template: <<.Resource>>}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}
- {seriesQuery: 'b{pod!=""}', resources: {template: <<.Resource>>}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}
externalRules:
- {seriesQuery: c, resources: {namespaced: false}, metricsQuery: sum(c)}
`
	synctest.Test(t, func(t *testing.T) {
		cfg := loadConfig(t, text)
		s := startCatalog(t, cfg, newSeriesList(t, `b{namespace="shop",pod="web"}`, `c{queue="mail"}`), &fakeCluster{}).Rules()
		if _, err := s.Lookup("pods", "b"); err != nil {
			t.Error(err)
		}
		if _, err := s.External("c"); err != nil {
			t.Error(err)
		}
		const reason = `rules[0] sum(a): seriesQuery: is not a series selector: unexpected "("`
		if diff := cmp.Diff([]string{reason}, s.Notes()); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
		if _, err := s.Lookup("pods", "a"); err == nil || metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), reason) {
			t.Errorf("an unknown metric: %v", err)
		}
		if _, notes, err := Import(cfg, ""); err != nil || !strings.Contains(strings.Join(notes, "\n"), "is not a series selector") {
			t.Errorf("Import: %v, %q", err, notes)
		}
	})
}
