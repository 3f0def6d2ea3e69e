// Queries for a remote backend.

package rule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// compileRemoteRule compiles a rule, given as lines of YAML, on a backend with these labels.
func compileRemoteRule(t testing.TB, lines ...string) *Rule {
	t.Helper()
	text := "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: prometheus\n  url: http://prometheus\nrules:\n" +
		"- metric: m\n  backend: prometheus\n"
	external := false
	for _, l := range lines {
		text += "  " + l + "\n"
		external = external || l == "external: true"
	}
	_, s, err := Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.rules[0].rule
}

// TestTextGolden shows the query for two namespaces, or for one Query if the rule is not shared.
func TestTextGolden(t *testing.T) {
	t.Parallel()
	rules := [][]string{
		{"query: sum by (namespace, pod) (rate(http_requests_total[$window]))", "window: 1m"},
		{"query: sum by (kubernetes_namespace, k8s_pod) (queue)", "labels: {namespace: kubernetes_namespace, pod: k8s_pod}"},
		{"query: sum by (namespace, pod) (a) / sum by (namespace, pod) (b offset 1m) > 0", "aggregate: avg"},
		{"query: sum by (namespace, pod) (a) / on (namespace) group_left () sum by (namespace) (a)", "aggregate: sum"},
		{"query: label_replace(a, \"pod\", \"$1\", \"exported_pod\", \"(.+)\")"},
		{"query: sum by (namespace, pod) (rate(a[5m])) * on (namespace, pod) group_left () kube_pod_info"},
		{"query: sum by (namespace, pod) (a) / on () group_left () sum(kube_deployment_spec_replicas)", "aggregate: sum"},
		{"query: a and on (namespace, pod) kube_pod_info unless on (namespace, pod) c"},
		{"query: sum by (namespace, pod) (a) or sum by (namespace, pod) (b)"},
		{"query: sum by (namespace, pod) (a / ignoring (x) group_left (y) b)", "aggregate: sum"},
		{"query: 'sum by (namespace, pod) (label_replace(a, \"pod\", \"$1\", \"pod\", \"(.+)-.*\"))'"},
		{"query: sum by (namespace, pod) (a) / scalar(sum(b))", "aggregate: sum"},
		{"query: sum by (namespace, pod) ({__name__=~\"a|b\"})"},
		{"query: 'sum by (namespace, service) (rate(a[5m]))'", "resource: services", "labels: {object: service}"},
		{"query: sum by (node) (a)", "resource: nodes"},
		{"query: sum by (namespace) (a)", "resource: namespaces"},
		{"external: true", "query: sum(a)"},
		{"external: true", "query: sum by (namespace, queue) (a)"},
		{"external: true", "query: 'histogram_quantile(0.9, sum by (le, queue) (rate(a_bucket[1m])))'"},
		{"external: true", "query: a", "from: all"},
		{"external: true", "query: 'max_over_time(rate(a[1m])[10m:])'", "from: [shop]"},
		{"external: true", "query: sum(a)", "from: [shop, bank]"},
		{"external: true", `query: sum(a{namespace=~"shop|bank"}) / sum(b{namespace="mail"})`, "namespaced: none"},
		{"external: true", "query: 2 * topk(3, sum by (queue) (a)) + 1", "from: all"},
	}
	var b strings.Builder
	for _, lines := range rules {
		r := compileRemoteRule(t, lines...)
		q := Query{Rule: r, Objects: []string{"p-1", "p-2"}, Selector: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "route", "/")}}
		if r.Namespaced {
			q.Namespace = "shop"
		}
		if r.External {
			q.Objects = nil
		}
		text, err := q.BuildRemoteQuery([]string{"shop", "bank"})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n  shared: %t\n  expr:   %s\n  times:  %s\n  needed: %v\n  window: %v\n\n",
			strings.Join(lines, "\n"), r.Shared(), text.Expr, text.Times, text.TimesNeeded, text.Window)
	}
	golden.Compare(t, "testdata/texts.golden", b.String())
}

// TestKey: the key is equal for queries with a common evaluation, and different otherwise.
func TestKey(t *testing.T) {
	t.Parallel()
	shared := compileRemoteRule(t, "query: sum by (namespace, pod) (a)")
	share := compileRemoteRule(t, "query: sum by (namespace, pod) (a) / on (namespace) group_left () sum by (namespace) (a)", "aggregate: sum")
	mapped := compileRemoteRule(t, "query: sum by (namespace, pod) (a)", "labels: {node: instance, namespace: pod, pod: namespace}")
	route := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "route", "/")}
	for name, tc := range map[string]struct {
		a, b Query
		same bool
	}{
		"other namespace and objects":     {Query{Rule: shared, Namespace: "a"}, Query{Rule: shared, Namespace: "b", Objects: []string{"p"}}, true},
		"other selector":                  {Query{Rule: shared}, Query{Rule: shared, Selector: route}, false},
		"other labels":                    {Query{Rule: shared}, Query{Rule: mapped}, false},
		"a share of a sum: namespace":     {Query{Rule: share, Namespace: "a"}, Query{Rule: share, Namespace: "b"}, false},
		"a share of a sum: objects":       {Query{Rule: share, Objects: []string{"p"}}, Query{Rule: share, Objects: []string{"p", "q"}}, false},
		"a share of a sum: order of pods": {Query{Rule: share, Objects: []string{"q", "p"}}, Query{Rule: share, Objects: []string{"p", "q"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := tc.a.SharingKey()
			if err != nil {
				t.Fatal(err)
			}
			b, err := tc.b.SharingKey()
			if err != nil {
				t.Fatal(err)
			}
			if (a == b) != tc.same {
				t.Errorf("keys %q and %q", a, b)
			}
		})
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		`a`:                               true,
		`a * 2 > bool 3`:                  true,
		`-(a)`:                            true,
		`rate(a[5m]) + time()`:            true,
		`clamp_max(a, 5)`:                 true,
		`max_over_time(rate(a[1m])[5m:])`: true,
		`sum without (route) (a)`:         true,
		`sum by (namespace, pod) (a) / ignoring (route) sum by (namespace, pod) (b)`: true,
		`a and on (namespace, pod) b`:                                               true,
		`topk by (namespace, pod) (1, a)`:                                           true,
		`histogram_quantile(0.9, sum by (namespace, pod, le) (rate(a_bucket[1m])))`: true,
		`topk(2, a)`:       false,
		`a and on (pod) b`: false,
		`a / on (namespace) group_left () sum by (namespace) (a)`: false,
		`a * scalar(sum(b))`:                          false,
		`a or vector(0)`:                              false,
		`a unless ignoring (pod) b`:                   false,
		`quantile by (namespace, pod) (scalar(b), a)`: false,
		`label_replace(a, "pod", "$1", "p", "(.*)")`:  false,
		`label_replace(a, "x", "$1", "p", "(.*)")`:    true,
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			tr, err := parseRuleExpr(query)
			if err != nil {
				t.Fatal(err)
			}
			if got := isShareableExpr(tr.root, []string{"namespace", "pod"}); got != want {
				t.Errorf("separable = %t, want %t", got, want)
			}
		})
	}
}

func TestTemplated(t *testing.T) {
	t.Parallel()
	rule := func(text string, err error) *Rule {
		r := Rule{Metric: "m", Resource: "services", Namespaced: true, NamespaceLabel: "namespace", ObjectLabel: "service"}
		return r.WithTemplate(Template{Render: func(q Query) (string, error) { return strings.ReplaceAll(text, "NS", q.Namespace), err }})
	}
	for name, tc := range map[string]struct {
		text string
		want RemoteQuery
	}{
		"PromQL": {
			`sum(rate(a{namespace="NS"}[2m])) by (service) # total`,
			RemoteQuery{`sum by (service) (rate(a{namespace="shop"}[2m]))`, `max by (service) (timestamp(a{namespace="shop"}))`, [][]int{{0}}, true, 2 * time.Minute},
		},
		"a scalar":        {`scalar(sum(a))`, RemoteQuery{Expr: `scalar(sum(a))`, OfNamespace: true}},
		"another dialect": {`sum(rate(a{namespace="NS"})) keep_metric_names`, RemoteQuery{Expr: `sum(rate(a{namespace="shop"})) keep_metric_names`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rule(tc.text, nil)
			if r.Shared() || r.PerPod() {
				t.Errorf("Shared %t, PerPod %t", r.Shared(), r.PerPod())
			}
			got, err := Query{Rule: r, Namespace: "shop"}.BuildRemoteQuery([]string{"bank"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	broken := errors.New("no such field")
	if _, err := (Query{Rule: rule("", broken)}).SharingKey(); !errors.Is(err, broken) {
		t.Errorf("Key of a template that fails: %v", err)
	}
}

// TestWindowOnServer: a rule on a remote backend needs a window of its own.
func TestWindowOnServer(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.HasRules, cfg.Backends = true, []config.Backend{{Name: "prometheus"}}
	cfg.Rules = []config.Rule{{
		Metric: "m", Resource: "pods", Backend: "prometheus", Labels: config.DefaultLabels(),
		Query: "sum by (namespace, pod) (rate(a[$window]))",
	}}
	if _, err := Compile(&cfg); err == nil || !strings.Contains(err.Error(), "rules[0].window: required") {
		t.Errorf("error %v", err)
	}
}
