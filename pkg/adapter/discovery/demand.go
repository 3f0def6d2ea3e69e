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
	// maxReaderDemands bounds the demands remembered for readers: who may read metrics must not be able to fill
	// the memory with ever new selectors. It is ten times the autoscalers of a large cluster.
	maxReaderDemands = 10_000
)

// Demand is what an autoscaler or a reader asks for now.
type Demand struct {
	// Resource is what the metric belongs to, as plural or plural.group: "pods", "deployments.apps". It is
	// empty where External.
	Resource string
	Metric   string
	// Namespace is empty for objects of the cluster and for external rules over all namespaces.
	Namespace string
	// Object is the one object asked for; empty for all objects, or those of the Selector.
	Object string
	// Selector selects the objects by their labels, or, where External, the series. Nil selects all.
	Selector labels.Selector
	// External tells a metric of external.metrics.k8s.io.
	External bool
	// MetricSelector is the metric selector of an autoscaler's demand for objects; nil for none.
	MetricSelector labels.Selector
	// Standing tells that an autoscaler asks, again and again, and not only a reader. It does not tell demands apart.
	Standing bool
}

// demandKey tells demands apart.
type demandKey struct {
	resource, metric, namespace, object, selector, metricSelector string
	external                                                      bool
}

func (d Demand) comparableKey() demandKey {
	return demandKey{d.Resource, d.Metric, d.Namespace, d.Object, canonicalSelector(d.Selector), canonicalSelector(d.MetricSelector), d.External}
}

// canonicalSelector is equal for equal selectors, and empty for those that select all.
func canonicalSelector(s labels.Selector) string {
	if s == nil || s.Empty() {
		return ""
	}
	if _, selectable := s.Requirements(); !selectable {
		return "!" // labels.Nothing() has the text of Everything; no selector has this one
	}
	return s.String()
}

func (k demandKey) compareTo(o demandKey) int {
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

// compareObjects orders by namespace, then name.
func compareObjects(a, b metric.Object) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// sortDemands returns the demands without duplicates, by their keys: those for objects first, then the
// external ones.
func sortDemands(demands map[demandKey]Demand) []Demand {
	sorted := make([]Demand, 0, len(demands))
	for _, key := range slices.SortedFunc(maps.Keys(demands), demandKey.compareTo) {
		sorted = append(sorted, demands[key])
	}
	return sorted
}

// readerDemands remembers what was read lately. It is safe for concurrent use.
type readerDemands struct {
	mu   sync.Mutex
	last map[demandKey]demandRead // guarded by mu
}

type demandRead struct {
	demand Demand
	at     time.Time
}

func newReaderDemands() *readerDemands { return &readerDemands{last: map[demandKey]demandRead{}} }

// recordDemand remembers a read at now and reports whether it is a new demand. One too many is not remembered.
func (r *readerDemands) recordDemand(d Demand, now time.Time) (fresh, full bool) {
	key := d.comparableKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.last[key]
	if !known && len(r.last) >= maxReaderDemands {
		return false, true
	}
	r.last[key] = demandRead{d, now}
	return !known, false
}

// expireDemands forgets what was not read for the time of memory and reports whether there was any.
func (r *readerDemands) expireDemands(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.last)
	maps.DeleteFunc(r.last, func(_ demandKey, last demandRead) bool { return now.Sub(last.at) >= readerDemandTTL })
	return len(r.last) != before
}

// listDemands returns the demands of readers, in no order; the caller owns the slice.
func (r *readerDemands) listDemands() []Demand {
	r.mu.Lock()
	defer r.mu.Unlock()
	demands := make([]Demand, 0, len(r.last))
	for _, last := range r.last {
		demands = append(demands, last.demand)
	}
	return demands
}
