package lint

import (
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

const quantileQuery = "histogram_quantile(0.95, sum by (namespace, pod, le) (rate(x_bucket[$window])))"

// externalMetric is an external metric with an average.
func externalMetric(name string) string {
	return "  - type: External\n    external: {metric: {name: " + name + "}, target: {type: AverageValue, averageValue: \"50\"}}\n"
}

// adapterConfig is a configuration of the adapter with rules.
func adapterConfig(rules string) string {
	return "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules: [" + rules + "]\n"
}

// besideConfig are replacements for an autoscaler on a metric beside a configuration with rules.
func besideConfig(metric, rules string) []string {
	return []string{soundMetric, metric, "\n---\napiVersion: policy", "\n---\n" + adapterConfig(rules) + "---\napiVersion: policy"}
}

// TestConfiguredMetrics: metrics of the autoscaler beside the adapter's rules; an empty want is no finding of the two rules.
func TestConfiguredMetrics(t *testing.T) {
	t.Parallel()
	seconds := objectMetric("seconds", `type: Value, value: "1"`)
	ratio := "'sum by (namespace, pod) (a) / sum by (namespace, pod) (b)'"
	mounted := strings.ReplaceAll(adapterConfig("{metric: orders_waiting, external: true, query: sum(orders)}"), "\n", "\n    ")
	for name, tc := range map[string]struct {
		replacements []string
		want         string // the end of the message
	}{
		"a quantile":                      {besideConfig(seconds, "{metric: seconds, query: '"+quantileQuery+"'}"), "its rule in standard input gives a quantile for each pod; add the line aggregate: max"},
		"a ratio":                         {besideConfig(seconds, "{metric: seconds, query: "+ratio+"}"), "its rule in standard input gives a ratio for each pod; add the line aggregate: avg"},
		"a ratio of pods":                 {besideConfig(strings.Replace(soundMetric, "request_per_second", "seconds", 1), "{metric: seconds, query: "+ratio+"}"), "add the line aggregate: avg"},
		"a pattern":                       {besideConfig(seconds, "{match: sec(.+), query: 'avg by (namespace, pod) (a)'}"), "gives a mean for each pod; add the line aggregate: avg"},
		"an excepted pattern":             {besideConfig(seconds, "{match: sec(.+), except: .*onds, query: 'avg by (namespace, pod) (a)'}"), ""},
		"a pattern of a part":             {besideConfig(seconds, "{match: second, query: 'avg by (namespace, pod) (a)'}"), ""},
		"a rate":                          {besideConfig(seconds, "{metric: seconds, query: 'sum by (namespace, pod) (rate(a[$window]))'}"), ""},
		"a ratio of another metric":       {besideConfig(seconds, "{metric: minutes, query: "+ratio+"}"), ""},
		"a ratio of nodes":                {besideConfig(seconds, "{metric: seconds, resource: nodes, query: "+ratio+"}"), ""},
		"a ratio of named objects":        {besideConfig(seconds, "{metric: seconds, resource: ingresses.networking.k8s.io, labels: {object: ingress}, query: "+ratio+"}"), ""},
		"a ratio of targets":              {besideConfig(seconds, "{metric: seconds, targets: {service: shop/web}, query: "+ratio+"}"), ""},
		"an external ratio":               {besideConfig(externalMetric("seconds"), "{metric: seconds, external: true, query: "+ratio+"}"), ""},
		"a query with a fault":            {besideConfig(seconds, "{metric: seconds, query: 'avg by ('}"), ""},
		"a distant name":                  {besideConfig(externalMetric("orders"), "{metric: orders_waiting, external: true, query: sum(orders)}"), "no rule of standard input defines it"},
		"a near name":                     {besideConfig(externalMetric("orders_wating"), "{metric: orders_waiting, external: true, query: sum(orders)}"), "no rule of standard input defines it; nearest: orders_waiting"},
		"a rule that is not external":     {besideConfig(externalMetric("orders"), "{metric: orders, query: orders}"), "; its rule lacks external: true"},
		"an external pattern":             {besideConfig(externalMetric("orders"), "{match: ord.*, external: true, query: orders}"), ""},
		"no configuration":                {[]string{soundMetric, externalMetric("orders")}, ""},
		"a configuration of the scaler":   {append(besideConfig(externalMetric("orders"), ""), "AdapterConfig", "ScalerConfig"), ""},
		"another version":                 {append(besideConfig(externalMetric("orders"), ""), "tachometer.dev/v1alpha1", "tachometer.dev/v2"), ""},
		"a configuration with a fault":    {besideConfig(externalMetric("orders"), "{match: '(', external: true}"), ""},
		"a wrong type of value":           {besideConfig(externalMetric("orders"), "{metric: seats, external: [true]}"), ""},
		"a faulty one beside another":     {append(besideConfig(externalMetric("orders"), "{metric: seats, external: 1}"), "---\napiVersion: policy", "---\n"+adapterConfig("")+"---\napiVersion: policy"), ""},
		"a template in a ConfigMap":       {append(besideConfig(externalMetric("orders"), ""), "---\napiVersion: policy", "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: rules}\ndata: {config.yaml: '{{ AdapterConfig'}\n---\napiVersion: policy"), ""},
		"an autoscaler of KEDA":           {append(besideConfig(externalMetric("orders"), ""), "metadata: {name: web,", "metadata: {labels: {scaledobject.keda.sh/name: web}, name: web,"), ""},
		"a ConfigMap that defines it not": {[]string{soundMetric, externalMetric("orders_waitin"), "\n---\napiVersion: policy", "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: rules}\ndata:\n  notes.txt: '{{'\n  config.yaml: |\n    " + mounted + "\n---\napiVersion: policy"}, "no rule of configmap/rules defines it; nearest: orders_waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found []string
			for _, f := range lintManifests(t, tc.replacements).Findings {
				if f.Rule == "aggregate-missing" || f.Rule == "external-metric-without-rule" {
					found = append(found, f.Message)
				}
			}
			if tc.want == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || tc.want == "" || !strings.HasSuffix(found[0], tc.want) {
				t.Errorf("found %q, want %q", found, tc.want)
			}
		})
	}
}

// TestAggregateAgreesWithAdapter: what lint calls missing, the adapter requires too.
func TestAggregateAgreesWithAdapter(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		quantileQuery:                                         "max",
		"1000 * (" + quantileQuery + ")":                      "max",
		"quantile_over_time(0.9, a[1m])":                      "max",
		"quantile by (pod) (0.9, a)":                          "max",
		"max by (namespace, pod) (a)":                         "max",
		"avg by (namespace, pod) (a) / 1024":                  "avg",
		"sum by (namespace, pod) (a) / scalar(sum(b))":        "avg",
		"rate(a_sum[$window]) / rate(a_count[$window])":       "avg",
		"100 * (a / on (namespace, pod) b)":                   "avg",
		"sum by (namespace, pod) (rate(a[$window]))":          "",
		"60 * sum by (namespace, pod) (rate(a[$window]))":     "",
		"sum by (namespace, pod) (max by (pod, queue) (a))":   "",
		"sum by (namespace, pod) (a) / 60":                    "",
		"a * on (pod) group_left avg by (pod) (b)":            "",
		"sum by (pod) (rate(a[$window])) > max by (pod) (b)":  "",
		"sum by (pod) (a) or sum by (pod) (rate(b[$window]))": "",
		"time()": "",
	} {
		_, aggregate := chooseAggregate(query)
		if aggregate != want {
			t.Errorf("%s: aggregate %q, want %q", query, aggregate, want)
		}
		if required := rule.NeedsAggregate(query); required != (want != "") {
			t.Errorf("%s: the adapter requires an aggregate: %t", query, required)
		}
	}
}
