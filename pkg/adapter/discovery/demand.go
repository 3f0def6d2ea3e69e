// This file has demands, their keys and order, and the memory of readers' demands.

package discovery

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// readerDemandTTL is how long a reader's demand outlives its last read. Autoscalers read every 15 s; a
	// person with kubectl should find the metric warm a few minutes later.
	readerDemandTTL = 10 * time.Minute
	// maxReaderDemands bounds the remembered demands of readers: a reader with ever new selectors must not fill the
	// memory. It is ten times the number of autoscalers in a large cluster.
	maxReaderDemands = 10_000
)

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

func (d Demand) newDiscoveryDemandKey() demandKey {
	return demandKey{d.Resource, d.Metric, d.Namespace, d.Object, canonicalDiscoveryDemandSelector(d.Selector), canonicalDiscoveryDemandSelector(d.MetricSelector), d.External}
}

// canonicalDiscoveryDemandSelector returns equal texts for equal selectors, and an empty text for a selector that selects all.
func canonicalDiscoveryDemandSelector(s labels.Selector) string {
	if s == nil || s.Empty() {
		return ""
	}
	if _, selectable := s.Requirements(); !selectable {
		return "!" // labels.Nothing() has the text of Everything; no selector has the text "!"
	}
	return s.String()
}

func (k demandKey) compareDiscoveryDemandKey(o demandKey) int {
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

// compareDiscoveredObjects orders objects by namespace, then name.
func compareDiscoveredObjects(a, b metric.Object) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// sortDiscoveredDemands returns the demands sorted by key, without duplicates: object demands first, then external demands.
func sortDiscoveredDemands(demands map[demandKey]Demand) []Demand {
	sorted := make([]Demand, 0, len(demands))
	for _, key := range slices.SortedFunc(maps.Keys(demands), demandKey.compareDiscoveryDemandKey) {
		sorted = append(sorted, demands[key])
	}
	return sorted
}

// readerDemands remembers the demands of recent reads. It is safe for concurrent use.
type readerDemands struct {
	mu   sync.Mutex
	last map[demandKey]demandRead // guarded by mu
}

type demandRead struct {
	demand Demand
	at     time.Time
}

func newDiscoveryDemandMemory() *readerDemands {
	return &readerDemands{last: map[demandKey]demandRead{}}
}

// rememberDiscoveryReaderDemand remembers a read at now and reports whether the demand is new. If the limit is reached, it drops the
// demand and reports full.
func (r *readerDemands) rememberDiscoveryReaderDemand(d Demand, now time.Time) (fresh, full bool) {
	key := d.newDiscoveryDemandKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.last[key]
	if !known && len(r.last) >= maxReaderDemands {
		return false, true
	}
	r.last[key] = demandRead{d, now}
	return !known, false
}

// expireDiscoveryReaderDemands removes demands without a read for readerDemandTTL and reports whether it removed any.
func (r *readerDemands) expireDiscoveryReaderDemands(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.last)
	maps.DeleteFunc(r.last, func(_ demandKey, last demandRead) bool { return now.Sub(last.at) >= readerDemandTTL })
	return len(r.last) != before
}

// listDiscoveryReaderDemands returns the demands of readers, unsorted; the caller owns the slice.
func (r *readerDemands) listDiscoveryReaderDemands() []Demand {
	r.mu.Lock()
	defer r.mu.Unlock()
	demands := make([]Demand, 0, len(r.last))
	for _, last := range r.last {
		demands = append(demands, last.demand)
	}
	return demands
}
