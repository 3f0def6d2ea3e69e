// This file has demands, their keys and order, and the budget of autoscalers' demands.

package discovery

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

const (
	// maxNamespaceStandingBytes bounds the demands of the autoscalers of a namespace: some thousands.
	maxNamespaceStandingBytes = maxStandingBytes / 4
	// maxStandingBytes bounds the demands of all autoscalers.
	maxStandingBytes = memorybounds.AutoscalerDemands
)

// demandBudget is the memory that the autoscalers of each namespace may have, and have spent.
type demandBudget struct {
	share       int // of a namespace
	byNamespace map[string]int
}

// newDemandBudget returns a budget in which all namespaces have the same share. A namespace that wants less leaves the rest to the others.
func newDemandBudget(autoscalers []*storedAutoscaler) demandBudget {
	wanted := map[string]int{}
	for _, a := range autoscalers {
		for _, n := range a.metrics {
			wanted[a.namespace] += n.demandedMetricBytes()
		}
	}
	b := demandBudget{share: maxNamespaceStandingBytes, byNamespace: map[string]int{}}
	left := maxStandingBytes
	for i, bytes := range slices.Sorted(maps.Values(wanted)) {
		if fair := left / (len(wanted) - i); bytes > fair {
			b.share = min(b.share, fair)
			break
		}
		left -= min(bytes, maxNamespaceStandingBytes)
	}
	return b
}

// spendDemandBudget spends bytes for a namespace, and returns false beyond its share.
func (b *demandBudget) spendDemandBudget(namespace string, bytes int) bool {
	if b.byNamespace[namespace]+bytes > b.share {
		return false
	}
	b.byNamespace[namespace] += bytes
	return true
}

// Demand is a metric that an autoscaler or a reader currently asks for.
type Demand struct {
	// Resource is the resource that the metric describes, as plural or plural.group: "pods", "deployments.apps". It
	// is empty for an External demand.
	Resource string
	Metric   string
	// Namespace is empty for cluster-scoped objects and for external rules over all namespaces.
	Namespace string
	// Object is the name of a single object; empty for all objects that the Selector matches.
	Object string
	// Selector selects objects by their labels or, for an External demand, series. Nil selects all.
	Selector labels.Selector
	// External is true for a metric of external.metrics.k8s.io.
	External bool
	// MetricSelector is the metric selector of an autoscaler's demand for objects; nil if it has no metric selector.
	MetricSelector labels.Selector
	// Standing is true if an autoscaler, which reads periodically, has the demand. It is not part of the demand's key.
	Standing bool
}

// demandKey identifies a demand.
type demandKey struct {
	resource, metric, namespace, object, selector, metricSelector string
	external                                                      bool
}

func (d Demand) newDemandKey() demandKey {
	return demandKey{d.Resource, d.Metric, d.Namespace, d.Object, canonicalDemandSelector(d.Selector), canonicalDemandSelector(d.MetricSelector), d.External}
}

// canonicalDemandSelector returns equal texts for equal selectors, and an empty text for a selector that selects all.
func canonicalDemandSelector(s labels.Selector) string {
	if s == nil || s.Empty() {
		return ""
	}
	if _, selectable := s.Requirements(); !selectable {
		return "!" // labels.Nothing() has the text of Everything; no selector has the text "!"
	}
	return s.String()
}

func (k demandKey) compareDemandKey(o demandKey) int {
	if k.external != o.external {
		if o.external {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(k.resource, o.resource), cmp.Compare(k.metric, o.metric), cmp.Compare(k.namespace, o.namespace),
		cmp.Compare(k.object, o.object), cmp.Compare(k.selector, o.selector), cmp.Compare(k.metricSelector, o.metricSelector),
	)
}

// sortDemands returns the demands sorted by key, without duplicates: object demands first, then external demands.
func sortDemands(demands map[demandKey]Demand) []Demand {
	sorted := make([]Demand, 0, len(demands))
	for _, key := range slices.SortedFunc(maps.Keys(demands), demandKey.compareDemandKey) {
		sorted = append(sorted, demands[key])
	}
	return sorted
}
