// The fallback of external metrics and of metrics of objects, served after a longer absence of values.

package provider

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxFallbacks bounds the metrics in memory, because their selectors come from requests, and maxNamespaceFallbacks those of a namespace.
	maxFallbacks          = 10_000
	maxNamespaceFallbacks = 1000
	// fallbackMemory is how long a metric stays in memory after its last request.
	fallbackMemory = 10 * time.Minute
	// fallbackSample is how many metrics of a namespace are compared to find one that gives way.
	fallbackSample = 16
)

// fallbacks remembers when metrics had their last values. At a bound a metric gives way that was not read for long: one of the same
// namespace, or of the namespace with the most. Its zero value is empty and ready.
type fallbacks struct {
	mu          sync.Mutex // guards the rest
	byNamespace map[string]map[fallbackKey]*fallbackState
	count       int // of all metrics
}

// fallbackKey identifies the metric that an autoscaler requests. Resource and object of an external metric are empty. The selector is a
// hash of its text, which may have 16 KiB.
type fallbackKey struct {
	metric, resource, namespace, object string
	selector                            uint64
}

// fallbackSeed is a constant of the process.
var fallbackSeed = maphash.MakeSeed()

// fallbackState is the state that the requests for a metric found.
type fallbackState struct {
	last   time.Time // time of the last request
	since  time.Time // time of the last value, or else of the first request without one; zero while there is a value
	served bool      // the last response was the fallback
}

// recordValueAbsence records a request at now without a value. It returns the start of the absence and whether to serve
// the fallback; began reports that the fallback starts with this request.
func (f *fallbacks) recordValueAbsence(key fallbackKey, after time.Duration, now time.Time) (since time.Time, serve, began bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.ensureFallbackState(key, now)
	if s.since.IsZero() {
		s.since = s.last
	}
	s.last = now
	serve = now.Sub(s.since) >= after
	began = serve && !s.served
	s.served = serve
	return s.since, serve, began
}

// recordValueReturn records a request at now with a value and reports whether the response before it was the fallback.
func (f *fallbacks) recordValueReturn(key fallbackKey, now time.Time) (ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.ensureFallbackState(key, now)
	ended = s.served
	*s = fallbackState{last: now}
	return ended
}

// ensureFallbackState returns the state of a metric, a new one if it is unknown or too old. A new one takes the place of another at a
// bound. The caller holds f.mu.
func (f *fallbacks) ensureFallbackState(key fallbackKey, now time.Time) *fallbackState {
	if s := f.byNamespace[key.namespace][key]; s != nil && now.Sub(s.last) <= fallbackMemory {
		return s
	}
	f.removeFallbackState(key)
	if own := f.byNamespace[key.namespace]; len(own) >= maxNamespaceFallbacks {
		f.removeFallbackState(findLeastReadFallback(own))
	} else if f.count >= maxFallbacks {
		greediest := own
		for _, other := range f.byNamespace {
			if len(other) > len(greediest) {
				greediest = other
			}
		}
		f.removeFallbackState(findLeastReadFallback(greediest))
	}
	if f.byNamespace == nil {
		f.byNamespace = map[string]map[fallbackKey]*fallbackState{}
	}
	if f.byNamespace[key.namespace] == nil {
		f.byNamespace[key.namespace] = map[fallbackKey]*fallbackState{}
	}
	s := &fallbackState{last: now}
	f.byNamespace[key.namespace][key] = s
	f.count++
	return s
}

// removeFallbackState forgets a metric, if it is known. The caller holds f.mu.
func (f *fallbacks) removeFallbackState(key fallbackKey) {
	own := f.byNamespace[key.namespace]
	if own[key] == nil {
		return
	}
	delete(own, key)
	if f.count--; len(own) == 0 {
		delete(f.byNamespace, key.namespace)
	}
}

// findLeastReadFallback returns the metric that was read least lately, of a random few. There is at least one.
func findLeastReadFallback(metrics map[fallbackKey]*fallbackState) (oldest fallbackKey) {
	seen := 0
	for key, s := range metrics {
		if seen == 0 || s.last.Before(metrics[oldest].last) {
			oldest = key
		}
		if seen++; seen == fallbackSample {
			break
		}
	}
	return oldest
}

// countActiveFallbacks returns the number of metrics served with their fallback at now.
func (f *fallbacks) countActiveFallbacks(now time.Time) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, own := range f.byNamespace {
		for _, s := range own {
			if s.served && now.Sub(s.last) <= fallbackMemory {
				n++
			}
		}
	}
	return float64(n)
}

// findDueFallback returns the rule's fallback, if there is one and requests have failed for long enough. An invalid request and an
// unknown metric stay errors.
func (p *Provider) findDueFallback(ctx context.Context, req metricRequest, err error) (n resource.Quantity, isServed bool) {
	if req.rule.Fallback == nil {
		return n, false
	}
	selector := formatFallbackSelector(req)
	key := newFallbackKey(req, selector)
	log := klog.FromContext(ctx).WithValues("metric", key.metric, "namespace", key.namespace, "object", key.object, "selector", selector)
	if err == nil {
		if p.fallbacks.recordValueReturn(key, req.now) {
			log.Info("Fallback ended")
		}
		return n, false
	}
	if kind := apistatus.KindOf(err); kind != metric.KindUnavailable && kind != metric.KindInternal {
		return n, false
	}
	since, serve, began := p.fallbacks.recordValueAbsence(key, req.rule.Fallback.After, req.now)
	n, reason := convertToMilliQuantity(req.rule.Fallback.Value)
	if !serve || reason != "" {
		return n, false
	}
	if began {
		log.Error(err, "Serving fallback", "since", since, "value", req.rule.Fallback.Value)
	}
	p.metrics.fallbacks.Inc()
	return n, true
}

// newFallbackKey returns the key of the metric that a request reads.
func newFallbackKey(req metricRequest, selector string) fallbackKey {
	return fallbackKey{req.demand.Metric, req.demand.Resource, req.demand.Namespace, req.demand.Object, maphash.String(fallbackSeed, selector)}
}

func formatFallbackSelector(req metricRequest) string {
	var selector []string
	for _, m := range req.matchers {
		selector = append(selector, m.String())
	}
	return strings.Join(selector, ",")
}
