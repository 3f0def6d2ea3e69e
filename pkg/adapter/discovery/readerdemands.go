// This file has the memory of readers' demands, with its bounds for each namespace and in all.

package discovery

import (
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// readerDemandTTL is how long a reader's demand outlives its last read. Autoscalers read every 15 s; a
	// person with kubectl should find the metric warm a few minutes later.
	readerDemandTTL = 10 * time.Minute
	// maxReaderDemands and maxReaderDemandBytes bound the remembered demands of all readers: a reader with ever new selectors
	// must not fill the memory. The number is ten times the autoscalers of a large cluster.
	maxReaderDemands     = 10_000
	maxReaderDemandBytes = memorybounds.ReaderDemands
	// maxNamespaceReaderDemands and maxNamespaceReaderBytes bound the demands in one namespace.
	maxNamespaceReaderDemands = 1000
	maxNamespaceReaderBytes   = maxReaderDemandBytes / 8
)

// readerDemands remembers the demands of recent reads. It is safe for concurrent use.
type readerDemands struct {
	mu          sync.Mutex
	byNamespace map[string]*namespaceReaderDemands // without empty ones; guarded by mu
	total       demandUsage                        // guarded by mu
}

type namespaceReaderDemands struct {
	last  map[demandKey]demandRead
	usage demandUsage
}

type demandRead struct {
	demand Demand
	at     time.Time
}

// demandUsage is the number of demands and about the bytes that they take.
type demandUsage struct{ demands, bytes int }

func (u *demandUsage) addDemandUsage(demands, bytes int) {
	u.demands += demands
	u.bytes += bytes
}

func newReaderDemands() *readerDemands {
	return &readerDemands{byNamespace: map[string]*namespaceReaderDemands{}}
}

// measureDemandBytes returns about the memory of a demand with this key. It counts as demandedMetricBytes.
func (k demandKey) measureDemandBytes() int {
	return demandOverheadBytes + len(k.resource) + 5*len(k.metric) + len(k.namespace) + len(k.object) + 4*(len(k.selector)+len(k.metricSelector))
}

// rememberReaderDemand remembers a read at now and reports whether the demand is new. The error says which bound rejects it.
// If the demands of all namespaces are at their bound, a namespace with fewer demands takes the place of the oldest demand of the
// namespace with the most.
func (r *readerDemands) rememberReaderDemand(key demandKey, d Demand, now time.Time) (fresh bool, err error) {
	size := key.measureDemandBytes()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.byNamespace[key.namespace]
	if n == nil {
		n = &namespaceReaderDemands{last: map[demandKey]demandRead{}}
	}
	if _, known := n.last[key]; known {
		n.last[key] = demandRead{d, now}
		return false, nil
	}
	if n.usage.demands >= maxNamespaceReaderDemands || n.usage.bytes+size > maxNamespaceReaderBytes {
		return false, metric.Errorf(metric.KindUnavailable,
			"too many different metrics, objects and selectors are read in namespace %q: the bound is %d and %d KiB within %s",
			key.namespace, maxNamespaceReaderDemands, maxNamespaceReaderBytes>>10, readerDemandTTL)
	}
	for r.total.demands >= maxReaderDemands || r.total.bytes+size > maxReaderDemandBytes {
		if !r.evictReaderDemand(n.usage.bytes + size) {
			return false, metric.Errorf(metric.KindUnavailable, "too many different metrics, objects and selectors are read: the bound is %d and %d MiB within %s",
				maxReaderDemands, maxReaderDemandBytes>>20, readerDemandTTL)
		}
	}
	r.byNamespace[key.namespace] = n
	n.last[key] = demandRead{d, now}
	n.usage.addDemandUsage(1, size)
	r.total.addDemandUsage(1, size)
	return true, nil
}

// evictReaderDemand removes the oldest demand of the namespace with the most bytes, if these are more than bytes. The caller holds mu.
func (r *readerDemands) evictReaderDemand(bytes int) bool {
	var most *namespaceReaderDemands
	for _, n := range r.byNamespace {
		if n.usage.bytes > bytes && (most == nil || n.usage.bytes > most.usage.bytes) {
			most = n
		}
	}
	if most == nil {
		return false
	}
	var oldest demandKey
	var at time.Time
	for key, read := range most.last {
		if at.IsZero() || read.at.Before(at) {
			oldest, at = key, read.at
		}
	}
	r.removeReaderDemand(oldest)
	return true
}

// removeReaderDemand removes a demand, if it is remembered. The caller holds mu.
func (r *readerDemands) removeReaderDemand(key demandKey) {
	n := r.byNamespace[key.namespace]
	if n == nil {
		return
	}
	if _, ok := n.last[key]; !ok {
		return
	}
	delete(n.last, key)
	n.usage.addDemandUsage(-1, -key.measureDemandBytes())
	r.total.addDemandUsage(-1, -key.measureDemandBytes())
	if len(n.last) == 0 {
		delete(r.byNamespace, key.namespace)
	}
}

// forgetStandingDemands removes the demands that autoscalers have: these end with the autoscaler, and not ten minutes later.
func (r *readerDemands) forgetStandingDemands(standing map[demandKey]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range standing {
		r.removeReaderDemand(key)
	}
}

// expireReaderDemands removes demands without a read for readerDemandTTL and reports whether it removed any.
func (r *readerDemands) expireReaderDemands(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.total.demands
	for _, n := range r.byNamespace {
		for key, last := range n.last {
			if now.Sub(last.at) >= readerDemandTTL {
				r.removeReaderDemand(key)
			}
		}
	}
	return r.total.demands != before
}

// listReaderDemands returns the demands of readers, unsorted; the caller owns the slice.
func (r *readerDemands) listReaderDemands() []Demand {
	r.mu.Lock()
	defer r.mu.Unlock()
	demands := make([]Demand, 0, r.total.demands)
	for _, n := range r.byNamespace {
		for _, last := range n.last {
			demands = append(demands, last.demand)
		}
	}
	return demands
}
