package promadapter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

// TestPodsOfOneNameInTwoNamespaces: on real servers, a value of shop's pod has nothing of the pod of the same name in bank.
func TestPodsOfOneNameInTwoNamespaces(t *testing.T) {
	t.Parallel()
	now := time.Now()
	series := newCounterSeries(t, now, // each rises by 2 a second
		`requests_total{namespace="shop",pod="web-1"}`,
		`requests_total{namespace="bank",pod="web-1",path="/"}`, `requests_total{namespace="bank",pod="web-1",path="/a"}`,
	)
	const rejected = `has no label namespace, and the query reads all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)`
	for name, start := range map[string]func(testing.TB, servers.Options) *servers.Server{
		"Prometheus": servers.Prometheus, "VictoriaMetrics": servers.VictoriaMetrics,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t, start(t, series).URL)
			for query, want := range map[string]string{
				`sum(rate(requests_total[1m])) by (pod)`:                              rejected,
				`sum(rate(requests_total[1m])) by (namespace, pod)`:                   "",
				`sum(rate(requests_total{<<.LabelMatchers>>}[1m])) by (pod)`:          "",
				`sum(rate(requests_total{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)`: "",
				`sum(rate(requests_total{namespace=~"shop|bank"}[1m])) by (pod)`:      rejected,
			} {
				c := promadapter.NewCatalog(loadConfig(t, `
rules:
- seriesQuery: 'requests_total'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '`+query+`'
`), b, usualResources, promadapter.Options{MaxAge: time.Minute})
				relistCatalog(t, c)
				r, err := c.Rules().Lookup("pods", "requests_total")
				if err != nil {
					t.Errorf("%s: %v", query, err)
					continue
				}
				values, err := b.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop", Objects: []string{"web-1"}}, time.Now())
				switch {
				case want != "":
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %+v, %v", query, values, err)
					}
				case err != nil || len(values) != 1 || values[0].Value < 1 || values[0].Value > 3:
					t.Errorf("%s: %+v, %v", query, values, err)
				}
			}
		})
	}
}
