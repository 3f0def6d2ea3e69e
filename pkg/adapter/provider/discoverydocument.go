package provider

import (
	"cmp"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
)

// What the discovery documents say where there is nothing to list. They are never empty, because clients (kubectl
// among them) take an API group version without resources for a broken one. The names say what they stand for;
// reading one is answered as any other metric that no rule has.
const (
	noCustomMetric   = "no_metric_is_demanded_yet"
	noExternalMetric = "no_external_rule_is_configured"
)

// discoveryDocument is a cached discovery document: made anew when the rules or the demand change.
type discoveryDocument[T any] struct {
	mu       sync.Mutex // guards the rest
	rules    Rules
	demanded []discovery.Demand
	items    []T
}

// cachedMetrics returns the document for rules and demand, which make computes if they are others than last time. The slice is
// shared and never changed.
func (l *discoveryDocument[T]) cachedMetrics(rules Rules, demanded []discovery.Demand, make func() []T) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.items == nil || l.rules != rules || !slices.EqualFunc(l.demanded, demanded, isSameMetric) {
		l.rules, l.demanded, l.items = rules, demanded, make()
	}
	return l.items
}

func isSameMetric(a, b discovery.Demand) bool {
	return a.Metric == b.Metric && a.Resource == b.Resource && a.External == b.External
}

// ListAllMetrics is every metric with a rule of its own name, and every one that is demanded and has a rule, sorted,
// without duplicates. It implements metricsprovider.CustomMetricsProvider; the caller must not change the slice.
func (p *Provider) ListAllMetrics() []metricsprovider.CustomMetricInfo {
	rules, demanded := p.Rules(), p.Demands.Demanded()
	return p.customMetrics.cachedMetrics(rules, demanded, func() []metricsprovider.CustomMetricInfo {
		var out []metricsprovider.CustomMetricInfo
		for _, i := range rules.Metrics() {
			if !i.External {
				out = append(out, p.metricInfo(i.Resource, i.Metric))
			}
		}
		for _, d := range demanded {
			if _, err := rules.Lookup(d.Resource, d.Metric); !d.External && err == nil {
				out = append(out, p.metricInfo(d.Resource, d.Metric))
			}
		}
		if len(out) == 0 {
			out = append(out, p.metricInfo(podKind.resource.Resource, noCustomMetric))
		}
		slices.SortFunc(out, func(a, b metricsprovider.CustomMetricInfo) int {
			return cmp.Or(cmp.Compare(a.GroupResource.Group, b.GroupResource.Group),
				cmp.Compare(a.GroupResource.Resource, b.GroupResource.Resource), cmp.Compare(a.Metric, b.Metric))
		})
		return slices.Compact(out)
	})
}

// metricInfo describes a metric of a resource. A resource that the cluster does not have (yet) is taken for a namespaced one,
// as nearly all are.
func (p *Provider) metricInfo(resource, name string) metricsprovider.CustomMetricInfo {
	k, err := p.kindFor(schema.ParseGroupResource(resource))
	if err != nil {
		k = resourceKind{resource: schema.ParseGroupResource(resource), namespaced: true}
	}
	return metricsprovider.CustomMetricInfo{GroupResource: k.resource, Namespaced: k.namespaced, Metric: name}
}

// ListAllExternalMetrics is as ListAllMetrics, for external metrics.
func (p *Provider) ListAllExternalMetrics() []metricsprovider.ExternalMetricInfo {
	rules, demanded := p.Rules(), p.Demands.Demanded()
	return p.externalMetrics.cachedMetrics(rules, demanded, func() []metricsprovider.ExternalMetricInfo {
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
