package remote

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// TestJoin joins the results of a rule to objects.
func TestJoin(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	const share = "\n- metric: m\n  backend: prometheus\n  query: sum by (namespace, pod) (a) / on () group_left () sum (a)\n  aggregate: sum\n"
	const info = "\n- metric: m\n  backend: prometheus\n  query: sum by (namespace, pod) (rate(a[5m])) * on (namespace, pod) group_left () kube_pod_info\n"
	const either = "\n- metric: m\n  backend: prometheus\n  query: sum by (namespace, pod) (a) or sum by (namespace, pod) (b)\n"
	for name, tc := range map[string]struct {
		backend, rules string
		template       string // instead of the query
		namespace      string
		answer         fakeResponse
		want           string // object=value@time, or the error
	}{
		"labels by other names": {
			"  labels: {namespace: k8s_ns, pod: k8s_pod}\n", "\n- metric: m\n  backend: prometheus\n  query: sum by (k8s_ns, k8s_pod) (a)\n", "", "shop",
			newVectorResponse(fakeSeries{"k8s_ns=shop,k8s_pod=a", 1, at(90)}), "shop/a=1@90",
		},
		"name of a metric": {
			"", "\n- metric: m\n  backend: prometheus\n  query: a\n", "", "shop",
			newVectorResponse(fakeSeries{"__name__=a,namespace=shop,pod=a", 1, at(90)}), "shop/a=1@90",
		},
		"no sample that the server still sees": {
			"", sharedRules, "", "shop",
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, fakeSeries{"namespace=shop,pod=b", 2, at(80)}), "shop/a=1@never shop/b=2@80",
		},
		"sample without a result": {
			"", sharedRules, "", "shop", newVectorResponse(fakeSeries{"namespace=shop,pod=a,tachometer_sample_time=1", 90, time.Time{}}), "",
		},
		"one time for all": {
			"", "\n- metric: m\n  backend: prometheus\n  query: label_replace(a, \"pod\", \"$1\", \"x\", \"(.+)\")\n", "", "shop",
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, fakeSeries{"namespace=shop,pod=b", 2, time.Time{}}, fakeSeries{"tachometer_sample_time=1", 90, time.Time{}}),
			"shop/a=1@90 shop/b=2@90",
		},
		"time that is none": {
			"", sharedRules, "", "shop",
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, fakeSeries{"namespace=shop,pod=a,tachometer_sample_time=1", newNaN(), time.Time{}}), "shop/a=1@never",
		},
		"not shared, of the namespace asked": {
			"", share, "", "shop",
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, newSampleTime("namespace=shop,pod=a", 0, 90), newSampleTime("", 1, 95)),
			"shop/a=1@90",
		},
		"as old as the oldest of its samples": {
			"", info, "", "shop", newVectorResponse(
				fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, fakeSeries{"namespace=shop,pod=b", 2, time.Time{}},
				newSampleTime("namespace=shop,pod=a", 0, 50), newSampleTime("namespace=shop,pod=a", 1, 99),
				newSampleTime("namespace=shop,pod=b", 0, 98), newSampleTime("namespace=shop,pod=b", 1, 60),
			), "shop/a=1@50 shop/b=2@60",
		},
		"a join without a sample of one side": {
			"", info, "", "shop", newVectorResponse(
				fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, newSampleTime("namespace=shop,pod=a", 1, 99), newSampleTime("namespace=shop,pod=b", 0, 98),
			), "shop/a=1@never",
		},
		"either of two": {
			"", either, "", "shop", newVectorResponse(
				fakeSeries{"namespace=shop,pod=a", 1, time.Time{}}, fakeSeries{"namespace=shop,pod=b", 2, time.Time{}}, fakeSeries{"namespace=shop,pod=c", 3, time.Time{}},
				newSampleTime("namespace=shop,pod=a", 1, 99), newSampleTime("namespace=shop,pod=b", 0, 98), newSampleTime("namespace=shop,pod=b", 1, 60),
			), "shop/a=1@99 shop/b=2@60 shop/c=3@never",
		},
		"not shared, of another namespace": {
			"", share, "", "shop", newVectorResponse(fakeSeries{"namespace=bank,pod=a", 1, at(90)}),
			`error: rule "m": backend prometheus: the result {namespace="bank", pod="a"} is of another namespace than shop`,
		},
		"template of the namespace, without its label": {
			"", sharedRules, `sum(a{namespace="shop"}) by (pod)`, "shop", newVectorResponse(fakeSeries{"pod=a", 1, at(90)}), "shop/a=1@90",
		},
		"template of all namespaces, without their label": {
			"", sharedRules, "sum(a) by (pod)", "shop", newVectorResponse(fakeSeries{"pod=a", 12, at(90)}),
			`error: rule "template": backend prometheus: the result {pod="a"} has no label namespace, and the query reads all namespaces; ` +
				"write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)",
		},
		"template of all namespaces, with their label": {
			"", sharedRules, "sum(a) by (namespace, pod)", "shop",
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", 2, at(90)}, fakeSeries{"namespace=bank,pod=a", 10, at(90)}), "shop/a=2@90",
		},
		"template in another dialect": {
			"", sharedRules, `sum(rate(a{namespace="shop"})) by (pod) limit 3`, "shop", newVectorResponse(fakeSeries{"pod=a", 1, time.Time{}}), "shop/a=1@100",
		},
		"template in another dialect, of all namespaces": {
			"", sharedRules, `sum(rate(a{namespace="shop" or job="x"})) by (pod)`, "shop", newVectorResponse(fakeSeries{"pod=a", 1, time.Time{}}),
			`error: rule "template": backend prometheus: the result {pod="a"} has no label namespace, and the query reads all namespaces; ` +
				"write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)",
		},
		"objects of the cluster": {
			"", "\n- metric: m\n  resource: nodes\n  backend: prometheus\n  query: sum by (node) (a)\n", "", "",
			newVectorResponse(fakeSeries{"node=n1", 1, at(90)}, fakeSeries{"node=n2", 2, at(91)}), "n1=1@90 n2=2@91",
		},
		"namespaces": {
			"", "\n- metric: m\n  resource: namespaces\n  backend: prometheus\n  query: sum by (namespace) (a)\n", "", "",
			newVectorResponse(fakeSeries{"namespace=shop", 1, at(90)}), "shop=1@90",
		},
		"external": {
			"", queueRules, "", "", newVectorResponse(fakeSeries{"queue=a", 1, at(90)}, fakeSeries{"queue=b", 2, at(91)}), `{queue="a"}=1@90 {queue="b"}=2@91`,
		},
		"external, of a namespace": {
			"", "\n- metric: m\n  external: true\n  backend: prometheus\n  query: sum by (namespace, queue) (a)\n", "", "shop",
			newVectorResponse(fakeSeries{"namespace=shop,queue=a", 1, at(90)}, fakeSeries{"namespace=bank,queue=b", 2, at(91)}), `{namespace="shop", queue="a"}=1@90`,
		},
		"external, each series with its own time": {
			"", "\n- metric: m\n  external: true\n  from: all\n  backend: prometheus\n  query: a\n", "", "",
			newVectorResponse(fakeSeries{"x=1", 1, at(90)}, fakeSeries{"x=1,y=2", 2, at(80)}), `{x="1"}=1@90 {x="1", y="2"}=2@80`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newNetworkBackend(t, tc.backend, tc.rules)
			w.server.alwaysRespond(tc.answer)
			info := w.rules.Metrics()[0]
			r, err := w.rules.External(info.Metric)
			if !info.External {
				r, err = w.rules.Lookup(info.Resource, info.Metric)
			}
			if err != nil {
				t.Fatal(err)
			}
			if tc.template != "" {
				r = newTemplateRule(tc.template, nil)
			}
			values, err := w.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: tc.namespace}, at(100))
			got := formatValues(values, err)
			if err == nil {
				var parts []string
				for _, v := range values {
					when := "never"
					if !v.Time.IsZero() {
						when = fmt.Sprint(v.Time.Unix())
					}
					name := v.Object.String()
					if r.External {
						name = formatServerResultLabels(v.Labels)
					}
					parts = append(parts, fmt.Sprintf("%s=%g@%s", name, v.Value, when))
				}
				got = strings.Join(parts, " ")
			}
			if got != tc.want {
				t.Errorf("%s\nwant %s\nasked %s", got, tc.want, w.server.receivedQueries())
			}
		})
	}
}

// newSampleTime returns the time of a selector's newest sample with the labels.
func newSampleTime(labels string, selector int, seconds float64) fakeSeries {
	return fakeSeries{strings.TrimPrefix(labels+",tachometer_sample_time=1,tachometer_selector="+strconv.Itoa(selector), ","), seconds, time.Time{}}
}

// newTemplateRule returns a rule of pods with this text as its expression.
func newTemplateRule(text string, err error) *rule.Rule {
	r := rule.Rule{
		Name: "template", Resource: "pods", Namespaced: true, NamespaceLabel: "namespace", ObjectLabel: "pod", MaxAge: time.Minute,
	}
	return r.WithTemplate(rule.Template{Render: func(rule.Query) (string, error) { return text, err }})
}

// TestObjectsOfExternalTemplate queries objects by name, as resourceRules do, and gets a result for each container, without the
// name of an object.
func TestObjectsOfExternalTemplate(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	w.server.alwaysRespond(newVectorResponse(fakeSeries{"pod=a,container=x", 1, time.Now()}, fakeSeries{"pod=a,container=y", 2, time.Now()}))
	r := rule.Rule{Name: "usage", External: true, Namespaced: true, NamespaceLabel: "namespace", MaxAge: time.Minute}
	q := rule.Query{Namespace: "shop", Objects: []string{"a", "b"}, Rule: r.WithTemplate(rule.Template{Render: func(q rule.Query) (string, error) {
		return `sum by (pod, container) (usage{namespace="shop",pod=~"` + strings.Join(q.Objects, "|") + `"})`, nil
	}})}
	const want = `{container="x", pod="a"}=1 {container="y", pod="a"}=2`
	if got := formatValues(w.Evaluate(t.Context(), q, time.Now())); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestKeys shows the reads that share a query.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules+`
- metric: share
  backend: prometheus
  query: sum by (namespace, pod) (rate(http_requests_total[1m])) / on () group_left () sum(rate(http_requests_total[1m]))
  aggregate: sum
`+queueRules, Options{})
	selector := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "route", "/")}
	key := func(name, namespace string, selector []*labels.Matcher, objects ...string) string {
		q := w.newRuleQuery(name, namespace, objects...)
		q.Selector = selector
		k, err := buildStandingQueryKey(q)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	all := map[string]string{
		"requests":           key("requests", "shop", nil),
		"requests, selected": key("requests", "shop", selector),
		"share of shop":      key("share", "shop", nil),
		"share of bank":      key("share", "bank", nil),
		"share of shop's a":  key("share", "shop", nil, "a"),
		"share of shop's b":  key("share", "shop", nil, "b"),
		"queue":              key("queue", "", nil),
	}
	for _, namespace := range []string{"shop", "bank"} { // the text does not name them
		k, err := buildStandingQueryKey(rule.Query{Rule: newTemplateRule("a", nil), Namespace: namespace})
		if err != nil {
			t.Fatal(err)
		}
		all["template for "+namespace] = k
	}
	seen := map[string]string{}
	for name, k := range all {
		if other := seen[k]; other != "" {
			t.Errorf("%s and %s are one query", name, other)
		}
		seen[k] = name
	}
	if key("requests", "bank", nil, "x") != all["requests"] || key("requests", "shop", nil, "b", "a") != all["requests"] {
		t.Error("a shared rule has a query for each namespace or object")
	}
}

func TestTemplateThatFails(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	q := rule.Query{Rule: newTemplateRule("", errors.New("no such field")), Namespace: "shop"}
	const want = `error: render the query of rule "template": no such field`
	if got := formatValues(w.Evaluate(t.Context(), q, time.Now())); got != want {
		t.Error(got)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	w := newNetworkBackend(t, "", sharedRules)
	var all []fakeSeries
	for _, l := range []string{"namespace=b,pod=y", "namespace=a,pod=z", "namespace=b,pod=x", "namespace=a,pod=x"} {
		all = append(all, fakeSeries{l, 1, time.Now()})
	}
	w.server.alwaysRespond(newVectorResponse(all...))
	for _, tc := range []struct {
		namespace string
		objects   []string
		want      []string
	}{
		{"a", nil, []string{"a/x", "a/z"}},
		{"a", []string{}, nil},
		{"a", []string{"z", "none"}, []string{"a/z"}},
		{"b", []string{"y", "x"}, []string{"b/x", "b/y"}},
		{"c", nil, nil},
		{"", []string{"x"}, []string{"a/x", "b/x"}},
		{"", nil, []string{"a/x", "a/z", "b/x", "b/y"}},
	} {
		q := w.newRuleQuery("requests", tc.namespace)
		q.Objects = tc.objects
		values, err := w.Evaluate(t.Context(), q, time.Now())
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, v := range values {
			got = append(got, v.Object.String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q %q (-want +got):\n%s", tc.namespace, tc.objects, diff)
		}
	}
}

// TestValuesThatDoNotAddUp: two series of a pod are an error in its namespace alone, with the author's sum left out of the query.
func TestValuesThatDoNotAddUp(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", `
- match: ^(.+)$
  backend: prometheus
  query: sum by (namespace, pod) ({__name__="${1}"})
`, Options{})
	now := time.Now()
	w.server.alwaysRespond(newVectorResponse(
		fakeSeries{"__name__=cpu_ratio,namespace=shop,pod=a,cpu=0", 0.25, now}, fakeSeries{"__name__=cpu_ratio,namespace=shop,pod=a,cpu=1", 0.5, now},
		fakeSeries{"__name__=cpu_ratio,namespace=bank,pod=b,cpu=0", 0.75, now},
	))
	for _, both := range []string{"shop", "bank", "shop"} { // the second read has the namespace of the first in its query
		got := formatValues(w.Evaluate(t.Context(), w.newRuleQuery("cpu_ratio", both), now))
		want := map[string]string{"bank": "bank/b=0.75", "shop": "error: values of cpu_ratio do not add up over the series of a pod, such as " +
			`{cpu="1", namespace="shop", pod="a"}: choose one series by the metric's selector, or write a rule with max or avg by (namespace, pod)`}[both]
		if got != want {
			t.Errorf("%s: %s, want %s", both, got, want)
		}
	}

	r, err := w.rules.Lookup("pods", "cpu_ratio")
	if err != nil {
		t.Fatal(err)
	}
	result, failure := serverResultJoin{query: rule.Query{Rule: r}, scope: namespaceScope{allNamespaces: true}}.joinQueryResultSamples([]resultSample{
		{Metric: map[string]string{"namespace": "bank", "pod": "b"}}, {Metric: map[string]string{"namespace": "shop", "pod": "a", "cpu": "0"}},
		{Metric: map[string]string{"namespace": "shop", "pod": "a", "cpu": "1"}},
	})
	if failure != nil || result.findNamespaceFault("bank") != nil || result.findNamespaceFault("shop") == nil {
		t.Errorf("%+v, %v; want a fault of shop alone", result, failure)
	}
}
