package promadapter

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// injectedName is a name that a pod of namespace evil exposes to read the series of namespace victim.
const injectedName = `http_x) by (pod) or label_replace(sum(payroll_total{namespace="victim"}), "pod", "evil-1", "", "") or sum(http_x`

const injectableRule = `
rules:
- seriesQuery: '{__name__=~"^http_.*",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`

func newPodSeries(names ...string) *seriesList {
	s := &seriesList{}
	for _, name := range names {
		s.series = append(s.series, labels.FromStrings("__name__", name, "namespace", "evil", "pod", "evil-1"))
	}
	return s
}

// TestSeriesNameIsNoQuery: a series' name of other characters than a metric name's is left out, counted and noted.
func TestSeriesNameIsNoQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startCatalog(t, loadConfig(t, injectableRule), newPodSeries("http_requests", injectedName, "http_x\x1b[2J", "http_dotted.name", "http_a-http_b"), &fakeCluster{})
		s := c.Rules()
		for _, i := range s.Metrics() {
			if i.Metric != "http_requests" {
				t.Errorf("serves %q", i.Metric)
			}
		}
		if _, err := s.Lookup("pods", injectedName); err == nil {
			t.Error("the name is served")
		}
		notes := strings.Join(s.Notes(), "\n")
		if !strings.Contains(notes, "leaves out 4 series whose names are no metric names") || strings.ContainsRune(notes, '\x1b') {
			t.Errorf("notes %q", notes)
		}
		if n := testutil.ToFloat64(c.opts.Metrics.rejected); n != 4 {
			t.Errorf("counted %v", n)
		}
	})
}

// TestNameOfTheAuthor: a name that the configuration spells out is served, whatever its characters.
func TestNameOfTheAuthor(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"one":     `{__name__="http.server.active",namespace!="",pod!=""}`,
		"several": `{__name__=~"http\\.server\\.active|http_requests",namespace!="",pod!=""}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				text := strings.ReplaceAll(injectableRule, `{__name__=~"^http_.*",namespace!="",pod!=""}`, query)
				text = strings.ReplaceAll(text, "<<.Series>>{<<.LabelMatchers>>}", `{"<<.Series>>",<<.LabelMatchers>>}`)
				s := startCatalog(t, loadConfig(t, text), newPodSeries("http.server.active"), &fakeCluster{}).Rules()
				r, err := s.Lookup("pods", "http.server.active")
				if err != nil {
					t.Fatal(err)
				}
				ruleQueryText(t, r, "evil", []string{"evil-1"}, nil)
			})
		})
	}
}

// TestQueryLeavesNoNamespace: were the name served all the same, the query is rejected, because its template reads one namespace.
func TestQueryLeavesNoNamespace(t *testing.T) {
	t.Parallel()
	cfg := loadConfig(t, injectableRule)
	for name, tc := range map[string]struct {
		series string
		works  bool
	}{
		"a name":          {"http_requests", true},
		"a keyword":       {"sum", true},
		"another query":   {injectedName, false},
		"another's total": {`http_x{namespace="evil"}) by (pod) or sum(payroll_total{namespace="victim"}) by (pod) or sum(http_x`, false},
		"MetricsQL":       {`http_x) by (pod) or sum(payroll_total) by (pod) keep_metric_names or sum(http_x`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rule.Rule{Metric: "m", Name: "m", Resource: "pods", Namespaced: true, NamespaceLabel: "namespace", ObjectLabel: "pod"}.
				WithTemplate(cfg.Rules[0].newSeriesTemplate(tc.series, []string{"pod"}))
			q, err := rule.Query{Rule: r, Namespace: "evil", Objects: []string{"evil-1"}}.BuildRemoteQuery(nil)
			if (err == nil) != tc.works {
				t.Errorf("query %s, error %v", q.Expr, err)
			}
		})
	}
}

// TestTemplateWithoutMatchers: a template that reads several namespaces by its author's will is served as before.
func TestTemplateWithoutMatchers(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(injectableRule, "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", "sum(<<.Series>>) by (namespace, pod)")
	r := rule.Rule{Metric: "m", Name: "m", Resource: "pods", Namespaced: true, NamespaceLabel: "namespace", ObjectLabel: "pod"}.
		WithTemplate(loadConfig(t, text).Rules[0].newSeriesTemplate("http_requests", []string{"pod"}))
	if q, err := (rule.Query{Rule: r, Namespace: "evil", Objects: []string{"evil-1"}}).BuildRemoteQuery(nil); err != nil || q.OfNamespace {
		t.Errorf("%+v, error %v", q, err)
	}
}

// FuzzSeriesName: whatever a series is called, its query is left out, is rejected, or reads the request's namespace alone.
func FuzzSeriesName(f *testing.F) {
	f.Add("http_requests")
	f.Add(injectedName)
	f.Add(`a{namespace="victim"} or a`)
	f.Add("sum by")
	cfg, err := Load([]byte(injectableRule))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, series string) {
		r := rule.Rule{Metric: "m", Name: "m", Resource: "pods", Namespaced: true, NamespaceLabel: "namespace", ObjectLabel: "pod"}.
			WithTemplate(cfg.Rules[0].newSeriesTemplate(series, []string{"pod"}))
		q, err := rule.Query{Rule: r, Namespace: "evil", Objects: []string{"evil-1"}}.BuildRemoteQuery(nil)
		if err != nil {
			return
		}
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.Expr)
		if err != nil {
			if cfg.Rules[0].compiled.mayHoldSeriesName(series) {
				t.Errorf("%s is no PromQL: %v", q.Expr, err)
			}
			return
		}
		selectors, others := 0, 0
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if v, ok := node.(*parser.VectorSelector); ok {
				selectors++
				if !slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "namespace" && m.Value == "evil" }) {
					others++
				}
			}
			return nil
		})
		if cfg.Rules[0].compiled.mayHoldSeriesName(series) && (selectors != 1 || others != 0) {
			t.Errorf("%s has %d selectors, %d of other namespaces", q.Expr, selectors, others)
		}
	})
}
