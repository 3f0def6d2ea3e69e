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
	// readerMemory is how long a reader's demand outlives its last read. Autoscalers read every 15 s; a
	// person with kubectl should find the metric warm a few minutes later.
	readerMemory = 10 * time.Minute
	// maxReaders bounds the demands remembered for readers: who may read metrics must not be able to fill
	// the memory with ever new selectors. It is ten times the autoscalers of a large cluster.
	maxReaders = 10_000
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
	// Series is the metric selector of an autoscaler's demand for objects; nil for none.
	Series labels.Selector
	// Standing tells that an autoscaler asks, again and again, and not only a reader. It does not tell demands apart.
	Standing bool
}

// demandKey tells demands apart.
type demandKey struct {
	resource, metric, namespace, object, selector, series string
	external                                              bool
}

func (d Demand) key() demandKey {
	return demandKey{d.Resource, d.Metric, d.Namespace, d.Object, selectorText(d.Selector), selectorText(d.Series), d.External}
}

// selectorText is equal for equal selectors, and empty for those that select all.
func selectorText(s labels.Selector) string {
	if s == nil || s.Empty() {
		return ""
	}
	if _, selectable := s.Requirements(); !selectable {
		return "!" // labels.Nothing() has the text of Everything; no selector has this one
	}
	return s.String()
}

func (k demandKey) compare(o demandKey) int {
	if k.external != o.external {
		if o.external {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(k.resource, o.resource), cmp.Compare(k.metric, o.metric), cmp.Compare(k.namespace, o.namespace),
		cmp.Compare(k.object, o.object), cmp.Compare(k.selector, o.selector), cmp.Compare(k.series, o.series),
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
	for _, key := range slices.SortedFunc(maps.Keys(demands), demandKey.compare) {
		sorted = append(sorted, demands[key])
	}
	return sorted
}

// readers remembers what was read lately. It is safe for concurrent use.
type readers struct {
	mu   sync.Mutex
	last map[demandKey]reading // guarded by mu
}

type reading struct {
	demand Demand
	at     time.Time
}

func newReaders() *readers { return &readers{last: map[demandKey]reading{}} }

// note remembers a read at now and reports whether it is a new demand. One too many is not remembered.
func (r *readers) note(d Demand, now time.Time) (fresh, full bool) {
	key := d.key()
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.last[key]
	if !known && len(r.last) >= maxReaders {
		return false, true
	}
	r.last[key] = reading{d, now}
	return !known, false
}

// expire forgets what was not read for the time of memory and reports whether there was any.
func (r *readers) expire(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.last)
	maps.DeleteFunc(r.last, func(_ demandKey, last reading) bool { return now.Sub(last.at) >= readerMemory })
	return len(r.last) != before
}

// list returns the demands of readers, in no order; the caller owns the slice.
func (r *readers) list() []Demand {
	r.mu.Lock()
	defer r.mu.Unlock()
	demands := make([]Demand, 0, len(r.last))
	for _, last := range r.last {
		demands = append(demands, last.demand)
	}
	return demands
}
