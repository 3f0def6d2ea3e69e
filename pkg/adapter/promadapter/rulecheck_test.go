package promadapter

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const allNamespacesNote = `line 3: externalRules[0].resources.namespaced: false: series of every namespace feed this metric, ` +
	`so that whoever runs a pod that the server scrapes can move it; name the namespaces in metricsQuery if they are known, such as {namespace="mail"}`

// TestCheckRules: a rule that can never work is a fault with its line; a rule that works on some servers only is a warning.
func TestCheckRules(t *testing.T) {
	t.Parallel()
	const pods = `resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}`
	const usual = `metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'`
	rules := func(lines ...string) string { return "rules:\n- " + strings.Join(lines, "\n  ") + "\n" }
	external := func(lines ...string) string { return "externalRules:\n- " + strings.Join(lines, "\n  ") + "\n" }
	for name, tc := range map[string]struct{ text, faults, warnings, notes string }{
		"usual": {text: rules(`seriesQuery: 'a_total{pod!=""}'`, pods, usual)},
		"a field that does not exist": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(<<.Serie>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'`),
			faults: `line 4: rules[0].metricsQuery: .Serie does not exist; known: .Series, .LabelMatchers, .GroupBy, .LabelValuesByName, .GroupBySlice`,
		},
		"a bracket too many": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}}[2m])) by (<<.GroupBy>>)'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 52: unexpected character: '}', in sum(rate(a_total{namespace="example",pod="example"}}[2m])) by (pod)`,
		},
		"selectors": {
			text: `rules:
- metricsQuery: up
- seriesQuery: 'sum(up)'
- seriesQuery: '{__name__=~"("}'
- seriesQuery: 'up{pod!=""'
- seriesQuery: '{pod=~".*"}'
- seriesQuery: 'up offset 5m'
`,
			faults: `line 2: rules[0].seriesQuery: required: a series selector
line 3: rules[1].seriesQuery: is not a series selector: unexpected "("
line 4: rules[2].seriesQuery: is not a series selector: error parsing regexp: missing closing ): ` + "`(`" + `
line 5: rules[3].seriesQuery: is not a series selector: unexpected end of input inside braces
line 6: rules[4].seriesQuery: is not a series selector: selects every series; add a matcher that does not match an empty value
line 7: rules[5].seriesQuery: is not a series selector: unexpected <offset>`,
		},
		"no query": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods),
			faults: `line 2: rules[0].metricsQuery: missing: no query computes the metric`,
		},
		"a group that does not exist, alone": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `name: {matches: "^(.*)_total$", as: "$1_per_second"}`, usual),
			faults: `line 4: rules[0].name.as: gives every metric an empty name: name.matches has no group $1_per_second; write ${1} for the first group`,
		},
		"a group that does not exist, beside text": {
			text:     rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `name: {matches: "^(.*)_total$", as: "x-$1_per_second"}`, usual),
			warnings: `line 4: rules[0].name.as: name.matches has no group $1_per_second, which expands to empty text; write ${1} for the first group`,
		},
		"name.matches excludes the only series": {
			text:   rules(`seriesQuery: 'd_seconds_sum{pod!=""}'`, pods, `name: {matches: "^(.*)_total$"}`, usual),
			faults: `line 4: rules[0].name.matches: serves no metric: excludes d_seconds_sum, the only series of seriesQuery`,
		},
		"filters exclude all series": {
			text:   rules(`seriesQuery: '{__name__=~"a|b",pod!=""}'`, pods, `seriesFilters: [{isNot: "^[ab]$"}]`, usual),
			faults: `line 4: rules[0].seriesFilters: serves no metric: excludes a, b, the only series of seriesQuery`,
		},
		"absence of the requested objects' series": {
			text: rules(`seriesQuery: 'a_total{pod!=""}'`, pods,
				`metricsQuery: 'sum(rate(a_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>) and on() absent_over_time(b{<<.LabelMatchers>>}[1m])'`),
			warnings: `line 4: rules[0].metricsQuery: absent_over_time(…) with <<.LabelMatchers>> reads only the series of the requested objects, and has a value ` +
				"although others have the series; write `unless on (<<.GroupBy>>)` in place of it",
		},
		"absence on the whole server": {
			text: rules(`seriesQuery: 'a_total{pod!=""}'`, pods,
				`metricsQuery: 'sum(rate(a_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>) and on() absent(paused{job="x"})'`),
		},
		"matchers as a value": {
			text:   rules(`seriesQuery: 'a'`, `resources: {template: <<.Resource>>}`, `metricsQuery: 'rate(a{pod=<<.LabelMatchers>>}[2m])'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 12: unexpected identifier "namespace" in label matching, expected string, in rate(a{pod=namespace="example",pod="example"}[2m])`,
		},
		"no label for the namespace": {
			text:   rules(`seriesQuery: 'a{pod!=""}'`, `resources: {overrides: {pod: {resource: pod}}, namespaced: false}`, usual),
			faults: `line 3: rules[0].resources: no label names the namespace; set overrides or template`,
		},
		"no label for objects": {
			text:   rules(`seriesQuery: 'a{pod!=""}'`, usual),
			faults: `line 2: rules[0].resources: serves no metric: neither overrides nor template names a label of objects`,
		},
		"a resource of this cluster": {text: rules(`seriesQuery: 'a'`, `resources: {overrides: {brand: {group: cheese.io, resource: brand}}}`, usual)},
		"by pod over all namespaces": {
			text:   rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum(rate(a[1m])) by (pod)'`),
			faults: `line 4: rules[0].metricsQuery: adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)`,
		},
		"by namespace and pod over all namespaces": {text: rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum(rate(a[1m])) by (namespace, pod)'`)},
		"the namespace only as a label": {
			text: rules(`seriesQuery: 'a'`, `resources: {overrides: {exported_namespace: {resource: namespace}, exported_service: {resource: service}}}`,
				`metricsQuery: 'sum by (exported_service) (rate(a{<<.LabelMatchers>>}[1m])) / sum by (exported_service) (rate(b{<<.LabelMatchers>>}[1m]))'`),
		},
		"of two resources one works": {
			text: rules(`seriesQuery: 'a'`, `resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, svc: {resource: service}}}`,
				`metricsQuery: 'sum by (svc) (a{<<.LabelMatchers>>})'`),
			warnings: `line 4: rules[0].metricsQuery: pods: the result has no label pod to name its object; aggregate by (namespace, pod)`,
		},
		"labels that the query makes": {
			text: rules(`seriesQuery: 'a{kube_deployment!=""}'`, `resources: {template: "kube_<<.Resource>>"}`,
				`metricsQuery: 'label_replace(label_replace(sum(a{x="y"}), "kube_deployment", "web", "", ""), "kube_namespace", "shop", "", "")'`),
			warnings: `line 4: rules[0].metricsQuery: writes the label kube_namespace on values that series of all namespaces may feed; ` +
				`write <<.LabelMatchers>> in every selector`,
		},
		"a range": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: '<<.Series>>{<<.LabelMatchers>>}[5m]'`),
			faults: `line 4: rules[0].metricsQuery: the result is a range vector; an instant vector is needed: put it into a function of ranges, such as rate(…)`,
		},
		"a variable of the native format": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'rate(<<.Series>>{<<.LabelMatchers>>}[$window])'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: $window belongs to Tachometer's own format; write a duration, in rate(a{node="example"}[$window])`,
		},
		"a group index beyond the labels": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'sum(a{<<.LabelMatchers>>}) by (<<index .GroupBySlice 1>>)'`),
			faults: `line 4: rules[0].metricsQuery: <<index .GroupBySlice 1>> is behind the last element; a rule groups by one label, <<index .GroupBySlice 0>>`,
		},
		"a template function that does not exist": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'a{<<.LabelMatchers>>} <<slice .Series 9>>'`),
			faults: `line 4: rules[0].metricsQuery: <<slice .Series 9>>: error calling slice: index out of range: 9`,
		},
		"spaces for a query": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: ' '`),
			faults: `line 4: rules[0].metricsQuery: the template gives empty text`,
		},
		"a value that no request has": {
			text:     rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum by (<<.GroupBy>>) (a{pod="<<index .LabelValuesByName "pdo">>"})'`),
			warnings: `line 4: rules[0].metricsQuery: with made-up names: pods: pod="" matches no series, because all have the label pod; remove it`,
		},
		"all namespaces where a value is missing": {
			text:     rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum by (<<.GroupBy>>) (a{<<index .LabelValuesByName "pdo">>})'`),
			warnings: `line 4: rules[0].metricsQuery: with made-up names: pods: adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)`,
		},
		"an object's label excluded": {
			text:     rules(`seriesQuery: 'a{svc=""}'`, `resources: {overrides: {namespace: {resource: namespace}, svc: {resource: service}}}`, usual),
			warnings: `line 2: rules[0].seriesQuery: services: excludes series with the label svc, which names the objects`,
		},
		"the namespace's label excluded": {
			text:   rules(`seriesQuery: 'a{namespace=~""}'`, pods, usual),
			faults: `line 2: rules[0].seriesQuery: excludes series with the label namespace, which names the namespace`,
		},
		"one of several labels excluded": {
			text:     rules(`seriesQuery: 'a{pod=""}'`, `resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, svc: {resource: service}}}`, usual),
			warnings: `line 2: rules[0].seriesQuery: pods: excludes series with the label pod, which names the objects`,
		},
		"an object's label excluded by the query": {
			text:     rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum(a{<<.LabelMatchers>>,pod=""}) by (<<.GroupBy>>)'`),
			warnings: `line 4: rules[0].metricsQuery: pods: pod="" matches no series, because all have the label pod; remove it`,
		},
		"a namespace written on": {
			text: rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'label_replace(sum by (pod) (a), "namespace", "<<.LabelValuesByName.namespace>>", "", "")'`),
			warnings: `line 4: rules[0].metricsQuery: writes the label namespace on values that series of all namespaces may feed; ` +
				`write <<.LabelMatchers>> in every selector`,
		},
		"another namespace written over": {
			text:     rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum by (namespace, pod) (label_replace(a, "namespace", "shop", "", ""))'`),
			warnings: `line 4: rules[0].metricsQuery: writes the label namespace on values that series of all namespaces may feed; write <<.LabelMatchers>> in every selector`,
		},
		"the namespace of an exported label": {
			text: rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum by (namespace, pod) (label_replace(a, "namespace", "$1", "exported_namespace", "(.+)"))'`),
		},
		"a fault far behind the beginning": {
			text:   rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum by (<<.GroupBy>>) (rate(some_long_name_of_a_counter_total{<<.LabelMatchers>>,code!="500"}[2m])) by (x)'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 107: unexpected <by>, in …total{namespace="example",pod="example",code!="500"}[2m])) by (x)`,
		},
		"only for one object": {
			text:     rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'a{node="<<index .LabelValuesByName "node">>"}'`),
			warnings: `line 4: rules[0].metricsQuery: fails for several objects: node="example|example-2" takes several names for one; write =~`,
		},
		"only for one object, by another label": {
			text:     rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(a{namespace="<<.LabelValuesByName.namespace>>",exported_pod!="<<.LabelValuesByName.pod>>"}) by (pod)'`),
			warnings: `line 4: rules[0].metricsQuery: fails for several objects: exported_pod!="example|example-2" takes several names for one; write !~`,
		},
		"for several objects, by a pattern": {
			text: rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(a{namespace="<<.LabelValuesByName.namespace>>",pod=~"<<.LabelValuesByName.pod>>",code="a|b"}) by (pod)'`),
		},
		"one namespace joined": {
			text: rules(`seriesQuery: 'a'`, `resources: {overrides: {namespace: {resource: namespace}, deployment: {group: apps, resource: deployment}}}`,
				`metricsQuery: 'sum by (<<.GroupBy>>) (a{<<.LabelMatchers>>} * on (namespace, deployment) group_left () b{namespace="<<index .LabelValuesByName "namespace">>"})'`),
		},
		"one namespace, and no other resource": {
			text: rules(`seriesQuery: 'a'`, `resources: {overrides: {namespace: {resource: namespace}}}`,
				`metricsQuery: 'sum by (<<.GroupBy>>) (a{namespace="<<index .LabelValuesByName "namespace">>"})'`),
			warnings: `line 4: rules[0].metricsQuery: fails for several objects: namespace="example|example-2" takes several names for one; write =~`,
		},
		"a variable of Grafana": {
			text: rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[$__rate_interval])) by (<<.GroupBy>>)'`),
			warnings: `line 4: rules[0].metricsQuery: is MetricsQL and not PromQL (column 39: unexpected character in duration expression: '$'): of all servers only VictoriaMetrics evaluates it, ` +
				`and the age of its values is unknown; $__rate_interval is a variable of Grafana: write a duration, such as [5m]`,
		},
		"a variable of Grafana that no server has": {
			text: rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[${__range}])) by (<<.GroupBy>>)'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 53: unexpected character in duration expression: '$', in sum(rate(a_total{namespace="example",pod="example"}[${__range}])) by (pod); ` +
				`$__range is a variable of Grafana: write a duration, such as [5m]`,
		},
		"a variable of Grafana as a step": {
			text: rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'max_over_time(a{<<.LabelMatchers>>}[5m:$__interval])'`),
			warnings: `line 4: rules[0].metricsQuery: is MetricsQL and not PromQL (column 41: unexpected character: '$'): of all servers only VictoriaMetrics evaluates it, ` +
				`and the age of its values is unknown; $__interval is a variable of Grafana: write a duration, such as [5m]`,
		},
		"a form that depends on the series": {
			text: rules(`seriesQuery: '{__name__=~"^app_.*",node!=""}'`, `resources: {overrides: {node: {resource: node}}}`,
				`metricsQuery: '<<if eq .Series "app_a">>sum(app_a{<<.LabelMatchers>>}) by (<<.GroupBy>>)<<end>>'`),
			warnings: `line 4: rules[0].metricsQuery: with made-up names: the template gives empty text`,
		},
		"MetricsQL": {
			text:     rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>})) by (<<.GroupBy>>) limit 3'`),
			warnings: `line 4: rules[0].metricsQuery: is MetricsQL and not PromQL (column 50: unexpected identifier "limit"): of all servers only VictoriaMetrics evaluates it, and the age of its values is unknown`,
		},
		"MetricsQL, without the label of the object": {
			text:   rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}))'`),
			faults: `line 4: rules[0].metricsQuery: the result has no label pod to name its object; aggregate by (namespace, pod)`,
		},
		"MetricsQL, without the label of the object by its grouping": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'Sum(rate(<<.Series>>{<<.LabelMatchers>>})) WITHOUT (node, job)'`),
			faults: `line 4: rules[0].metricsQuery: the result has no label node to name its object; aggregate by (node)`,
		},
		"MetricsQL, of all namespaces": {
			text: rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(rate(<<.Series>>)) by (<<.GroupBy>>)'`),
			warnings: `line 4: rules[0].metricsQuery: is MetricsQL and not PromQL (column 10: expected type range vector in call to function "rate", got instant vector): ` +
				"of all servers only VictoriaMetrics evaluates it, and the age of its values is unknown\n" +
				`line 4: rules[0].metricsQuery: pods: adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)`,
		},
		"MetricsQL that keeps all labels": {
			text:     rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'topk_max(3, rate(<<.Series>>{<<.LabelMatchers>>}))'`),
			warnings: `line 4: rules[0].metricsQuery: is MetricsQL and not PromQL (column 1: unknown function with name "topk_max"): of all servers only VictoriaMetrics evaluates it, and the age of its values is unknown`,
		},
		"a function that no server has": {
			text:   rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'summ(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 1: unknown function with name "summ", in summ(rate(a{namespace="example",pod="example"}[2m])) by (pod); write sum`,
		},
		"experimental PromQL": {text: rules(`seriesQuery: 'a{node!=""}'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'mad_over_time(a{<<.LabelMatchers>>}[5m])'`)},
		"or a number": {
			text:     rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) or vector(0)'`),
			warnings: `line 4: rules[0].metricsQuery: the alternative vector(0) names no object, and gives none a value`,
		},
		"a percentage as a quantile": {
			text:   rules(`seriesQuery: 'd_bucket{pod!=""}'`, pods, `metricsQuery: 'histogram_quantile(95, sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m])) by (le, <<.GroupBy>>))'`),
			faults: `line 4: rules[0].metricsQuery: the quantile 95 is greater than 1, so that every result is infinite; write 0.95`,
		},
		"a quantile without le": {
			text:   rules(`seriesQuery: 'd_bucket{pod!=""}'`, pods, `metricsQuery: 'histogram_quantile(0.9, sum(rate(d_bucket{<<.LabelMatchers>>}[5m])) by (<<.GroupBy>>))'`),
			faults: `line 4: rules[0].metricsQuery: histogram_quantile: its buckets have no label le; aggregate by (le, …)`,
		},
		"a ratio whose sides never match": {
			text:   rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(a{<<.LabelMatchers>>}) by (<<.GroupBy>>) / sum(b{<<.LabelMatchers>>})'`),
			faults: `line 4: rules[0].metricsQuery: the sides of / never match, because the right side has no label pod; write on (…) with the labels that both have, and group_left () or group_right ()`,
		},
		"a share of a namespace": {
			text: rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'sum(a{<<.LabelMatchers>>}) by (<<.GroupBy>>) / scalar(sum(b{<<.LabelMatchers>>}))'`),
		},
		"a namespace in the query": {
			text:     rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum(a{namespace="shop"}) by (pod)'`),
			warnings: `line 4: rules[0].metricsQuery: serves objects of the namespace shop only, because the query names it; write <<.LabelMatchers>> to serve all`,
		},
		"any namespace by a pattern": {
			text:   rules(`seriesQuery: 'a'`, pods, `metricsQuery: 'sum(a{namespace=~".*"}) by (pod)'`),
			faults: `line 4: rules[0].metricsQuery: adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)`,
		},
		"labels of OpenTelemetry": {
			text: rules(`seriesQuery: '{__name__="a"}'`, `resources: {overrides: {k8s.namespace.name: {resource: namespace}, k8s.pod.name: {resource: pod}}}`, usual),
		},
		"templates of Helm": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(rate({{.Series}}{ {{.LabelMatchers}} }[2m])) by ({{.GroupBy}})'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 11: unexpected left brace '{', in sum(rate({{.Series}}{ {{.LabelMatchers}} }[2m])) by ({{.GroupBy}}); a template begins with <<, not with {{`,
		},
		"templates of HTML": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(&lt;&lt;.Series&gt;&gt;) by (pod)'`),
			faults: `line 4: rules[0].metricsQuery: does not give PromQL: column 5: unexpected character: '&', in sum(&lt;&lt;.Series&gt;&gt;) by (pod); a template begins with <<, not with &lt;`,
		},
		"a seriesQuery that excludes itself": {
			text:   rules(`seriesQuery: 'a_total{zone=~"a.*",zone!~"a.*"}'`, pods, usual),
			faults: `line 2: rules[0].seriesQuery: zone=~"a.*" and zone!~"a.*" exclude each other, so that no series matches; remove one`,
		},
		"a seriesQuery of two names": {
			text:   rules(`seriesQuery: '{__name__=~"^a_.*",__name__="b"}'`, pods, usual),
			faults: `line 2: rules[0].seriesQuery: __name__=~"^a_.*" and __name__="b" exclude each other, so that no series matches; remove one`,
		},
		"a seriesQuery of series without the label, as a pattern": {
			text:     rules(`seriesQuery: 'a_total{pod!~".+"}'`, `resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, svc: {resource: service}}}`, usual),
			warnings: `line 2: rules[0].seriesQuery: pods: excludes series with the label pod, which names the objects`,
		},
		"a filter that excludes all names of a pattern": {
			text:   rules(`seriesQuery: '{__name__=~"^container_.*",pod!=""}'`, pods, `seriesFilters: [{isNot: "^container_"}]`, usual),
			faults: `line 4: rules[0].seriesFilters: serves no metric: excludes every name that seriesQuery selects`,
		},
		"filters that exclude each other": {
			text:   rules(`seriesQuery: '{pod!=""}'`, pods, `seriesFilters: [{is: "_total$"}, {isNot: "total"}]`, usual),
			faults: `line 4: rules[0].seriesFilters: serves no metric: excludes every name that seriesQuery selects`,
		},
		"filters that leave some names": {
			text: rules(`seriesQuery: '{__name__=~"^container_.*",pod!=""}'`, pods, `seriesFilters: [{isNot: "_total$"}, {is: "^container_memory"}]`, `name: {matches: "^container_(.*)_bytes"}`, usual),
		},
		"names that the filters and name.matches exclude together": {
			text:   rules(`seriesQuery: '{__name__=~"^container_.*",pod!=""}'`, pods, `seriesFilters: [{isNot: "_total$"}]`, `name: {matches: "^(.*)_total$"}`, usual),
			faults: `line 5: rules[0].name.matches: serves no metric: excludes every name that seriesQuery selects`,
		},
		"a group that is always empty": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `name: {matches: "^()a_total$"}`, usual),
			faults: `line 4: rules[0].name.as: gives the metric of a_total an empty name; write another name`,
		},
		"a name that no path can have": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `name: {as: ".."}`, usual),
			faults: `line 4: rules[0].name.as: gives the metric of a_total the name .., which no HPA can ask for; write another name`,
		},
		"a template in name.as": {
			text:     rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `name: {as: "<<.Series>>_rate"}`, usual),
			warnings: `line 4: rules[0].name.as: <<…>> is text here; templates are for metricsQuery and resources.template`,
		},
		"resources in capitals, over all namespaces": {
			text:   rules(`seriesQuery: 'a'`, `resources: {overrides: {namespace: {resource: Namespace}, pod: {resource: Pod}}}`, `metricsQuery: 'sum(rate(a[1m])) by (pod)'`),
			faults: `line 4: rules[0].metricsQuery: adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod)`,
		},
		"the core group by a name": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, `resources: {overrides: {namespace: {resource: namespace}, pod: {group: core, resource: pod}}}`, usual),
			faults: `line 3: rules[0].resources.overrides.pod.group: no cluster has the group core; remove it, because the group of pods has no name`,
		},
		"a resource in another's group": {
			text: rules(`seriesQuery: 'a_total{pod!=""}'`, `resources: {overrides: {namespace: {group: apps, resource: namespace}, job: {group: apps, resource: jobs}}}`, usual),
			faults: `line 3: rules[0].resources.overrides.namespace.group: the group apps has no namespace; remove it, because the group of namespaces has no name
line 3: rules[0].resources.overrides.job.group: the group apps has no jobs; write batch`,
		},
		"a group that is gone": {
			text:     rules(`seriesQuery: 'a_total{pod!=""}'`, `resources: {overrides: {namespace: {resource: namespace}, ing: {group: extensions, resource: ingress}}}`, usual),
			warnings: `line 3: rules[0].resources.overrides.ing.group: extensions has no resources since Kubernetes 1.22; write networking.k8s.io`,
		},
		"a short name of kubectl": {
			text:     rules(`seriesQuery: 'a_total{pod!=""}'`, `resources: {overrides: {namespace: {resource: namespace}, web: {resource: deploy}}}`, usual),
			warnings: `line 3: rules[0].resources.overrides.web.resource: deploy is a short name, which only kubectl knows; write deployments`,
		},
		"sides with different values": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: '<<.Series>>{<<.LabelMatchers>>,code="500"} / <<.Series>>{<<.LabelMatchers>>,code="200"}'`),
			faults: `line 4: rules[0].metricsQuery: the sides of / never match, because the left has code="500" and the right code="200"; aggregate both without code, or write ignoring (code)`,
		},
		"a variable that nothing replaces": {
			text:     rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'sum(a_total{<<.LabelMatchers>>,pod="$pod"}) by (<<.GroupBy>>)'`),
			warnings: `line 4: rules[0].metricsQuery: pods: pod="$pod" matches no series, because $pod is no name of an object; remove it`,
		},
		"a label that is always removed": {
			text:   rules(`seriesQuery: 'a{node!=""}'`, `resources: {overrides: {node: {resource: node}}}`, `metricsQuery: 'label_replace(sum(a{<<.LabelMatchers>>}) by (<<.GroupBy>>), "node", "$1_x", "node", "(.*)")'`),
			faults: `line 4: rules[0].metricsQuery: label_replace: the replacement "$1_x" is always empty, which removes the label node from the result; refer to a group of "(.*)", such as ${1} for the first`,
		},
		"an expression of label_replace that is none": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `metricsQuery: 'label_replace(sum(a_total{<<.LabelMatchers>>}) by (<<.GroupBy>>), "zone", "$1", "pod", "web-[")'`),
			faults: `line 4: rules[0].metricsQuery: label_replace: "web-[" is not a regular expression: missing closing ]: ` + "`[`",
		},
		"a slash in a name": {
			text:   rules(`seriesQuery: 'a_total{pod!=""}'`, pods, `name: {matches: "^(.*)_total$", as: "web/${1}"}`, usual),
			faults: `line 4: rules[0].name.as: gives names with '/', which no HPA can ask for; write another character`,
		},
		"a group as other programs write it": {
			text:     rules(`seriesQuery: '{__name__=~".*_total",pod!=""}'`, pods, `name: {matches: "^(.*)_total$", as: '\1_per_second'}`, usual),
			warnings: `line 4: rules[0].name.as: \1 is text here, and no group of name.matches; write ${1}`,
		},
		"groups by number and by name": {
			text: rules(`seriesQuery: '{__name__=~"^app_.+",pod!=""}'`, pods, `name: {matches: "^app_(?P<what>.*)_(total|count)$", as: "${what}_per_${2}"}`, usual),
		},
		"several lines and a comma": {
			text: rules(`seriesQuery: 'a_total{pod!=""}'`, `seriesFilters: []`, pods, `metricsQuery: |`, `  sum(`, `    rate(<<.Series>>{<<.LabelMatchers>>,code=~"5.."}[2m])`, `  ) by (<<.GroupBy>>)`),
		},
		"a subquery, an offset and an old function": {
			text: rules(`seriesQuery: 'a{pod!=""}'`, pods, `metricsQuery: 'max_over_time(deriv(a{<<.LabelMatchers>>}[5m] offset 1m)[10m:])'`),
		},
		"a template of labels with its group": {
			text: rules(`seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'`, `seriesFilters: [{isNot: '^container_.*_total$'}]`,
				`resources: {template: 'kube_<<.Group>>_<<.Resource>>'}`, `name: {matches: '^container_(.*)$', as: ''}`, usual),
		},
		"external without resources": {
			text:   external(`seriesQuery: 'depth{job="worker"}'`, `metricsQuery: 'avg(depth)'`),
			faults: `line 2: externalRules[0].resources: no label names the namespace; set overrides or template, or resources.namespaced: false`,
		},
		"external, a query that is a group": {
			text:   external(`metricsQuery: '${1}'`, `seriesQuery: 'lag'`, `resources: {namespaced: false}`),
			faults: `line 2: externalRules[0].metricsQuery: does not give PromQL: column 1: unexpected character: '$', in ${1}`,
		},
		"external without resources and a query": {
			text: external(`metricsQuery: '${1}'`, `seriesQuery: 'lag'`),
			faults: `line 2: externalRules[0].resources: no label names the namespace; set overrides or template, or resources.namespaced: false
line 2: externalRules[0].metricsQuery: does not give PromQL: column 1: unexpected character: '$', in ${1}`,
		},
		"external over all namespaces": {
			text:     external(`seriesQuery: 'depth'`, `resources: {overrides: {namespace: {resource: namespace}}}`, `metricsQuery: 'sum(depth)'`),
			warnings: `line 4: externalRules[0].metricsQuery: reads all namespaces, because a selector has no <<.LabelMatchers>>; if it is meant so, say resources.namespaced: false`,
		},
		"external, a comma behind the matchers": {
			text:     external(`seriesQuery: 'depth'`, `resources: {namespaced: false}`, `metricsQuery: 'sum(depth{<<.LabelMatchers>>,queue="a"})'`),
			warnings: `line 4: externalRules[0].metricsQuery: fails for requests without a metric selector: does not give PromQL: column 11: unexpected "," in label matching, expected identifier or "}", in sum(depth{,queue="a"})`,
			notes:    allNamespacesNote,
		},
		"external of no namespace": {
			text:  external(`seriesQuery: 'depth'`, `resources: {namespaced: false}`, `metricsQuery: 'scalar(sum(depth))'`),
			notes: allNamespacesNote,
		},
		"external, sides with different values": {
			text: external(`seriesQuery: 'depth'`, `resources: {overrides: {namespace: {resource: namespace}}}`,
				`metricsQuery: 'depth{<<.LabelMatchers>>,queue="a"} - depth{<<.LabelMatchers>>,queue="b"}'`),
			faults: `line 4: externalRules[0].metricsQuery: the sides of - never match, because the left has queue="a" and the right queue="b"; aggregate both without queue, or write ignoring (queue)`,
		},
		"usage in a group of no cluster": {
			text: `
resourceRules:
  cpu:
    containerLabel: container
    containerQuery: sum by (<<.GroupBy>>) (rate(cpu{<<.LabelMatchers>>}[3m]))
    nodeQuery: sum by (<<.GroupBy>>) (rate(cpu{<<.LabelMatchers>>, id='/'}[3m]))
    resources: {overrides: {node: {group: v1, resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
`,
			faults: `line 6: resourceRules.cpu.resources.overrides.node.group: no cluster has the group v1; remove it, because the group of nodes has no name
line 6: resourceRules.cpu.resources: no label names the objects of nodeQuery; set overrides or template`,
			warnings: `line 1: resourceRules.memory.containerQuery: missing: its part of metrics.k8s.io is not served
line 1: resourceRules.memory.nodeQuery: missing: its part of metrics.k8s.io is not served`,
		},
		"usage": {
			text: `
resourceRules:
  cpu:
    containerLabel: container
    containerQuery: sum by (pod) (rate(cpu{<<.LabelMatchers>>}[3m]))
    nodeQuery: sum(rate(cpu{<<.LabelMatchers>>, id='/'}[3m]) by (<<.GroupBy>>)
    resources: {overrides: {node: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
  memory:
    containerLabel: container
    containerQuery: sum by (pod, container) (memory)
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
`,
			faults: `line 4: resourceRules.cpu.containerQuery: the result has no label container to name its object; aggregate by (namespace, pod, container)
line 5: resourceRules.cpu.nodeQuery: does not give PromQL: column 54: unexpected <by> in aggregation, in sum(rate(cpu{node=~"example|example-2", id='/'}[3m]) by (node)
line 9: resourceRules.memory.containerQuery: adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (namespace, pod, container)`,
			warnings: `line 7: resourceRules.memory.nodeQuery: missing: its part of metrics.k8s.io is not served`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := loadConfig(t, strings.TrimPrefix(tc.text, "\n")).CheckRules()
			if diff := cmp.Diff(tc.faults, report.Faults.Error()); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.warnings, report.Warnings.Error()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.notes, report.Notes.Error()); tc.faults == "" && diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}
