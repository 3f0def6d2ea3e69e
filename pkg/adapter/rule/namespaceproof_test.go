package rule

import (
	"strings"
	"testing"
)

// TestNamespaceProof: a query is of a namespace if series of others can have no part in an object's result.
func TestNamespaceProof(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		`sum by (pod) (rate(a{namespace="shop"}[1m]))`:                                                                     true,
		`max_over_time(sum by (pod) (a{namespace=~"shop"})[5m:])`:                                                          true,
		`sum by (pod) (rate(a[1m]))`:                                                                                       false,
		`sum by (pod) (a{namespace="bank"})`:                                                                               false,
		`sum by (pod) (a{namespace!="shop"})`:                                                                              false,
		`sum by (pod) (a{namespace=~"shop|bank"})`:                                                                         false,
		`sum by (pod) (a{exported_namespace="shop"})`:                                                                      false,
		`sum by (pod) (a{namespace="shop"}) / sum by (pod) (b{namespace="shop"})`:                                          true,
		`sum by (pod) (a{namespace="shop"}) / sum by (pod) (b)`:                                                            false,
		`sum by (pod) (b) / sum by (pod) (a{namespace="shop"})`:                                                            false,
		`sum by (pod) (a{namespace="shop"}) * on (pod) group_left () kube_pod_info`:                                        false,
		`sum by (pod) (a{namespace="shop"}) / on () group_left () sum(b)`:                                                  true,
		`sum(b) * on () group_right () sum by (pod) (a{namespace="shop"})`:                                                 true,
		`sum by (pod) (a{namespace="shop"}) / scalar(sum(b))`:                                                              true,
		`sum by (pod) (a{namespace="shop"}) and on (pod) b`:                                                                true,
		`sum by (pod) (b) and on (pod) a{namespace="shop"}`:                                                                false,
		`sum by (pod) (a{namespace="shop"}) or sum by (pod) (b)`:                                                           false,
		`sum by (pod) (a{namespace="shop"}) or vector(0)`:                                                                  true,
		`sum by (pod) (rate(a[1m]) * on (namespace, pod) group_left (app) kube_pod_labels{namespace="shop"})`:              true,
		`sum by (pod) (rate(a[1m]) * on (pod) group_left (app) kube_pod_labels{namespace="shop"})`:                         false,
		`sum by (pod) (sum by (namespace, pod) (a) / kube_pod_info{namespace="shop"})`:                                     true,
		`sum by (pod) (sum by (pod) (a) / ignoring (namespace) kube_pod_info{namespace="shop"})`:                           false,
		`sum by (pod) (a and on (namespace, pod) b{namespace="shop"})`:                                                     true,
		`sum by (pod) (a unless on (namespace, pod) b{namespace="shop"})`:                                                  false,
		`sum by (pod) (a * on (namespace, pod) b{namespace="bank"})`:                                                       false,
		`sum by (pod) (label_replace(a, "namespace", "shop", "", "") * on (namespace, pod) b{namespace="shop"})`:           false,
		`sum by (pod) (a * on (namespace, pod) (b{namespace="shop"} * on (pod) group_left () c))`:                          false,
		`sum by (pod) (a * on (namespace, pod) group_left () (b * on (namespace, pod) group_left () c{namespace="shop"}))`: true,
		`label_replace(sum(a), "pod", "web-1", "", "")`:                                                                    false,
		`sum(rate(a{namespace="shop"})) by (pod) keep_last_value(b)`:                                                       false, // of no dialect
		`sum(rate(a{namespace="shop"})) by (pod) limit 3`:                                                                  true,
		`sum(rate(a{namespace="shop"})) by (pod) default sum(b) by (pod)`:                                                  false,
		`WITH (commonFilters = {namespace="shop"}) sum(rate(a{commonFilters})) by (pod) limit 3`:                           false, // not parsed
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			r := Rule{Resource: "pods", Namespaced: true, NamespaceLabel: "namespace", ObjectLabel: "pod"}
			q := Query{Rule: r.WithTemplate(Template{Render: func(Query) (string, error) { return query, nil }}), Namespace: "shop"}
			got, err := q.BuildRemoteQuery(nil)
			if err != nil || got.OfNamespace != want {
				t.Errorf("OfNamespace = %t, want %t (%v)", got.OfNamespace, want, err)
			}
		})
	}
}

// TestLargeMetricsQL: a text that would exhaust the parser's stack or memory is not parsed.
func TestLargeMetricsQL(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"(", "-", "a(", "a[", "sum(", "WITH (a=b+b) ", "ru(a, ", "{a=~\"b\"} or "} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		if isMetricsQLOfNamespace(text, "namespace", "shop") {
			t.Errorf("%.20s… is of the namespace", text)
		}
	}
	names := strings.Repeat("web-1|", 100_000)
	if !isMetricsQLOfNamespace(`sum(rate(a{namespace="shop",pod=~"`+names+`"})) by (pod) limit 3`, "namespace", "shop") {
		t.Error("a long list of names is too large")
	}
}
