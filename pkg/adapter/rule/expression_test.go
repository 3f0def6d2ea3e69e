// Queries as text: golden files, and the syntax tree as the peer.

package rule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// goldenQueries are the queries of every expression in the golden file.
var goldenQueries = []struct {
	name   string
	query  Query
	window time.Duration
}{
	{name: "pods", window: 10 * time.Second, query: Query{Namespace: "shop", Objects: []string{"cart-2", "cart-1"}}},
	{name: "one pod, selector", window: 1500 * time.Millisecond, query: Query{
		Namespace: "shop", Objects: []string{"cart.v1"}, Selector: []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, "route", `/a "quoted" \path`),
			labels.MustNewMatcher(labels.MatchNotRegexp, "code", "4..|5.."),
			labels.MustNewMatcher(labels.MatchNotEqual, "app.kubernetes.io/name", ""),
		},
	}},
	{name: "any", window: time.Minute, query: Query{}},
}

// TestGolden shows the expressions of rules and queries, for people to read.
func TestGolden(t *testing.T) {
	t.Parallel()
	queries := []string{
		`sum by (namespace, pod) (rate(http_requests_total[$window]))`,
		`sum by (namespace, pod) (rate({__name__="http_requests_total"}[$window]))`,
		`sum by (namespace, pod) (rate(http_requests_total{namespace="other", code!~"5.."}[$window]))`,
		"sum by (namespace, pod) (rate(http_request_duration_seconds_sum[$window])) # \"mean\" over $window\n" +
			"  / sum by (namespace, pod) (rate(http_request_duration_seconds_count[$window]))",
		`histogram_quantile(0.95, sum by (namespace, pod, le) (rate(http_request_duration_seconds_bucket[$window])))`,
		`max_over_time(sum by (namespace, pod) (rate(http_requests_total{path="$window"}[20s]))[30s:2s])`,
		`sum by (namespace, pod) ({"http.requests", "http.route"="/"})`,
		`http_requests_in_flight > bool 3 or -on_the_way ^ 2 unless on (pod) blocked`,
		`label_replace(queue, "pod", "$1-0", "owner", "(.*)")`,
	}
	var b strings.Builder
	for _, query := range queries {
		fmt.Fprintf(&b, "%s\n", query)
		r := compileQuery(t, query)
		fmt.Fprintf(&b, "  families: %s\n", strings.Join(r.Families(), ", "))
		for _, q := range goldenQueries {
			q.query.Rule = r
			fmt.Fprintf(&b, "  %s: %s\n", q.name, q.query.Expr(q.window, q.query.Objects))
		}
		b.WriteString("\n")
	}
	golden.Compare(t, "testdata/expressions.golden", b.String())
}

// compileQuery compiles a rule on pods from its query, with the default configuration.
func compileQuery(t testing.TB, query string) *Rule {
	t.Helper()
	cfg := config.Default()
	cfg.HasRules = true
	cfg.Rules = []config.Rule{{
		Metric: "m", Resource: "pods", Query: query, Backend: config.ScrapeBackend, Window: config.Window{Auto: true}, Labels: config.DefaultLabels(),
		Aggregate: config.AggregateSum, HasAggregate: true,
	}}
	s, err := Compile(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s.rules[0].rule
}

func TestExprObjects(t *testing.T) {
	t.Parallel()
	r := compileQuery(t, `up{job="a"}`)
	for name, tc := range map[string]struct {
		objects []string
		want    string
	}{
		"any":            {nil, `up{job="a"}`},
		"none":           {[]string{}, `up{job="a",pod="",pod!=""}`},
		"one":            {[]string{"a.b"}, `up{job="a",pod="a.b"}`},
		"several sorted": {[]string{"c", "a.b", "b"}, `up{job="a",pod=~"a\\.b|b|c"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(tc.objects)
			if got := (Query{Rule: r}).Expr(time.Second, tc.objects); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if diff := cmp.Diff(before, tc.objects); diff != "" {
				t.Errorf("the caller's objects were changed: %s", diff)
			}
		})
	}
}

func TestExprWindow(t *testing.T) {
	t.Parallel()
	r := compileQuery(t, `rate(a[$window])`)
	for window, want := range map[time.Duration]string{
		30 * time.Second:        `rate(a[30s])`,
		1500 * time.Millisecond: `rate(a[1s500ms])`,
		90 * time.Second:        `rate(a[1m30s])`,
		time.Microsecond:        `rate(a[1ms])`,
		0:                       `rate(a[1ms])`,
	} {
		if got := (Query{Rule: r}).Expr(window, nil); got != want {
			t.Errorf("window %v: got %s, want %s", window, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]time.Duration{
		`a`:                    0,
		`rate(a[$window])`:     7 * time.Second,
		`rate(a[30s])`:         30 * time.Second,
		`rate(a[$window]) + b`: 7 * time.Second,
		`max_over_time(rate(a[$window])[20s:2s]) + rate(b[12s])`:       27 * time.Second,
		`max_over_time(rate(a[$window])[$window:2s])`:                  14 * time.Second,
		`max_over_time(max_over_time(rate(a[4s])[5s:2s])[$window:2s])`: 16 * time.Second,
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			tr, err := parseRuleExpr(query)
			if err != nil {
				t.Fatal(err)
			}
			e, _, err := newRuleExpressions(tr, &Rule{External: true})
			if err != nil {
				t.Fatal(err)
			}
			r := Rule{expr: e}
			if got := r.Span(7 * time.Second); got != want {
				t.Errorf("Span = %v, want %v", got, want)
			}
			if got := r.HasWindow(); got != strings.Contains(query, "$window") {
				t.Errorf("HasWindow = %v", got)
			}
		})
	}
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][]string{
		`rate(a_total[10s])`: {"a_total"},
		`b + a + b`:          {"a", "b"},
		`sum by (namespace, pod) (rate(a_bucket{le="0.5"}[10s])) / ignoring (le) rate(a_count[10s])`: {"a", "a_count"},
		`rate(a_sum[10s])`: {"a", "a_sum"},
		`_bucket + _sum`:   {"_bucket", "_sum"},
	} {
		if diff := cmp.Diff(want, compileQuery(t, query).Families()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

// FuzzExpr: whatever the names and values, the expression parses, and its selectors have exactly the requested
// matchers beside their own.
func FuzzExpr(f *testing.F) {
	f.Add("shop", "cart-1", "cart.v2", "route", "/a", 0)
	f.Add(`a"b`, `c\d`, "`", "app.kubernetes.io/name", "\n\x00\xff", 1)
	f.Add("größe", "|", ".*", "le", `$window ${1} "1w"`, 2)
	f.Add("", "", "", "zzzz_tachometer_matchers", `11d10h20m54s`, 3)
	r := compileQuery(f, `sum by (namespace, pod) (rate(a{x="1"}[$window])) / sum by (namespace, pod) ({__name__="b_total"})`)
	f.Fuzz(func(t *testing.T, namespace, pod1, pod2, label, value string, kind int) {
		if label == "" || label == model.MetricNameLabel {
			t.Skip("not a selector's label")
		}
		typ := labels.MatchType(uint(kind) % 4)
		selector, err := labels.NewMatcher(typ, label, value)
		if err != nil {
			t.Skip("not a regular expression")
		}
		q := Query{Rule: r, Namespace: namespace, Selector: []*labels.Matcher{selector}}
		expr := q.Expr(time.Second, []string{pod1, pod2})
		root, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		if err != nil {
			if !strings.Contains(err.Error(), "invalid UTF-8") && !strings.Contains(err.Error(), "invalid label name") {
				t.Fatalf("%s: %v", expr, err)
			}
			t.Skip("not text")
		}
		names := []string{pod1, pod2}
		slices.Sort(names)
		selectors := parser.ExtractSelectors(root)
		if len(selectors) != 2 {
			t.Fatalf("%d selectors in %s", len(selectors), expr)
		}
		for _, got := range selectors {
			requireMatcher(t, expr, got, selector)
			if namespace != "" {
				requireMatcher(t, expr, got, labels.MustNewMatcher(labels.MatchEqual, "namespace", namespace))
			}
			requirePodsMatcher(t, expr, got, names)
			if want := 4; namespace != "" && len(got) > want+1 {
				t.Errorf("%d matchers in %s", len(got), expr)
			}
		}
	})
}

func requireMatcher(t *testing.T, expr string, got []*labels.Matcher, want *labels.Matcher) {
	t.Helper()
	if !slices.ContainsFunc(got, func(m *labels.Matcher) bool {
		return m.Type == want.Type && m.Name == want.Name && m.Value == want.Value
	}) {
		t.Errorf("no matcher %s in %s", want, expr)
	}
}

// requirePodsMatcher: the pods' matcher matches exactly the pods, also if names look like regular expressions.
func requirePodsMatcher(t *testing.T, expr string, got []*labels.Matcher, pods []string) {
	t.Helper()
	for _, m := range got {
		if m.Name != "pod" || m.Type != labels.MatchRegexp || m.Value == "" {
			continue
		}
		for _, pod := range pods {
			if !m.Matches(pod) {
				t.Errorf("%q is not matched by %s", pod, expr)
			}
			if other := pod + "x"; !slices.Contains(pods, other) && m.Matches(other) {
				t.Errorf("%q is matched by %s", other, expr)
			}
		}
		return
	}
	t.Errorf("no matcher of pods in %s", expr)
}

func BenchmarkExpr(b *testing.B) {
	r := compileQuery(b, `sum by (namespace, pod) (rate(http_requests_total[$window]))`)
	var pods []string
	for i := range 20 {
		pods = append(pods, fmt.Sprintf("cart-7d9c5b6f4-%05d", i))
	}
	q := Query{Rule: r, Namespace: "shop"}
	b.ReportAllocs()
	for b.Loop() {
		q.Expr(10*time.Second, pods)
	}
}

// BenchmarkExprTree is the peer: the same through the syntax tree for every query.
func BenchmarkExprTree(b *testing.B) {
	var pods []string
	for i := range 20 {
		pods = append(pods, fmt.Sprintf("cart-7d9c5b6f4-%05d", i))
	}
	namespace := labels.MustNewMatcher(labels.MatchEqual, "namespace", "shop")
	b.ReportAllocs()
	for b.Loop() {
		t, err := parseRuleExpr(`sum by (namespace, pod) (rate(http_requests_total[$window]))`)
		if err != nil {
			b.Fatal(err)
		}
		for _, v := range t.selectors {
			v.LabelMatchers = append(v.LabelMatchers, namespace,
				labels.MustNewMatcher(labels.MatchRegexp, "pod", strings.Join(pods, "|")))
		}
		_ = t.root.String()
	}
}
