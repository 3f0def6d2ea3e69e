// The lists of metrics that the APIs publish.

package provider

import (
	"cmp"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
)

// These names fill a discovery document that has no metric to list. An empty document would not do: clients (kubectl
// among them) take an API group version without resources for a broken version. Each name explains the empty list; a
// request for it gets the same response as any metric without a rule.
const (
	noCustomMetric   = "no_metric_is_demanded_yet"
	noExternalMetric = "no_external_rule_is_configured"
)

// The bounds for the metrics that a discovery document lists because autoscalers demand them: kube-apiserver and every kubectl fetch
// the document. The metrics that rules name are an administrator's choice, and listed all.
const (
	maxListedNamespaceMetrics = 200
	maxListedMetrics          = 2000
)

// selectListedDemands returns the demands of autoscalers for different metrics, within the bounds. Readers' demands stand in no
// document: it would show one client's requests to all.
func selectListedDemands(demanded []discovery.Demand) []discovery.Demand {
	type listed struct {
		resource, metric string
		external         bool
	}
	seen, perNamespace := map[listed]bool{}, map[string]int{}
	var selected []discovery.Demand
	for _, d := range demanded {
		key := listed{d.Resource, d.Metric, d.External}
		if !d.Standing || seen[key] || perNamespace[d.Namespace] >= maxListedNamespaceMetrics || len(selected) >= maxListedMetrics {
			continue
		}
		seen[key] = true
		perNamespace[d.Namespace]++
		selected = append(selected, d)
	}
	return selected
}

// discoveryDocument is a cached discovery document, rebuilt when the rules or the autoscalers' demands change.
type discoveryDocument[T any] struct {
	mu       sync.Mutex // guards the rest
	rules    Rules
	demanded []discovery.Demand
	items    []T
}

// getCachedDiscoveryMetrics returns the document for rules and demand. It calls build only if they differ from the last call. Callers
// share the slice and must not change it.
func (d *discoveryDocument[T]) getCachedDiscoveryMetrics(rules Rules, demanded []discovery.Demand, build func() []T) []T {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.items == nil || d.rules != rules || !slices.EqualFunc(d.demanded, demanded, isSameDemandedMetric) {
		d.rules, d.demanded, d.items = rules, demanded, build()
	}
	return d.items
}

func isSameDemandedMetric(a, b discovery.Demand) bool {
	return a.Metric == b.Metric && a.Resource == b.Resource && a.External == b.External
}

// ListAllMetrics returns every metric that a rule names, and the metrics of autoscalers that have a rule, sorted, without
// duplicates. It implements metricsprovider.CustomMetricsProvider; the caller must not change the slice.
func (p *Provider) ListAllMetrics() []metricsprovider.CustomMetricInfo {
	rules, demanded := p.Rules(), selectListedDemands(p.Demands.Demanded())
	return p.customMetrics.getCachedDiscoveryMetrics(rules, demanded, func() []metricsprovider.CustomMetricInfo {
		var out []metricsprovider.CustomMetricInfo
		for _, i := range rules.Metrics() {
			if !i.External {
				out = append(out, p.newCustomMetricInfo(i.Resource, i.Metric))
			}
		}
		for _, d := range demanded {
			if _, err := rules.Lookup(d.Resource, d.Metric); !d.External && err == nil {
				out = append(out, p.newCustomMetricInfo(d.Resource, d.Metric))
			}
		}
		if len(out) == 0 {
			out = append(out, p.newCustomMetricInfo(podKind.resource.Resource, noCustomMetric))
		}
		slices.SortFunc(out, func(a, b metricsprovider.CustomMetricInfo) int {
			return cmp.Or(cmp.Compare(a.GroupResource.Group, b.GroupResource.Group),
				cmp.Compare(a.GroupResource.Resource, b.GroupResource.Resource), cmp.Compare(a.Metric, b.Metric))
		})
		return slices.Compact(out)
	})
}

// newCustomMetricInfo describes a metric of a resource. It treats a resource that the cluster does not have (yet) as namespaced,
// as nearly all resources are.
func (p *Provider) newCustomMetricInfo(resource, name string) metricsprovider.CustomMetricInfo {
	k, err := p.resolveResourceKind(schema.ParseGroupResource(resource))
	if err != nil {
		k = resourceKind{resource: schema.ParseGroupResource(resource), namespaced: true}
	}
	return metricsprovider.CustomMetricInfo{GroupResource: k.resource, Namespaced: k.namespaced, Metric: name}
}

// ListAllExternalMetrics is ListAllMetrics for external metrics.
func (p *Provider) ListAllExternalMetrics() []metricsprovider.ExternalMetricInfo {
	rules, demanded := p.Rules(), selectListedDemands(p.Demands.Demanded())
	return p.externalMetrics.getCachedDiscoveryMetrics(rules, demanded, func() []metricsprovider.ExternalMetricInfo {
		var out []metricsprovider.ExternalMetricInfo
		for _, i := range rules.Metrics() {
			if i.External {
				out = append(out, metricsprovider.ExternalMetricInfo{Metric: i.Metric})
			}
		}
		for _, d := range demanded {
			if !d.External {
				continue
			}
			if _, err := rules.External(d.Metric); err == nil {
				out = append(out, metricsprovider.ExternalMetricInfo{Metric: d.Metric})
			}
		}
		if len(out) == 0 {
			out = append(out, metricsprovider.ExternalMetricInfo{Metric: noExternalMetric})
		}
		slices.SortFunc(out, func(a, b metricsprovider.ExternalMetricInfo) int { return cmp.Compare(a.Metric, b.Metric) })
		return slices.Compact(out)
	})
}
