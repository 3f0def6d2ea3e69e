// The fallback of external metrics and of metrics of objects, served after a longer absence of values.

package provider

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxFallbacks bounds the metrics in memory, because their selectors come from requests.
	maxFallbacks = 10_000
	// fallbackMemory is how long a metric stays in memory after its last request.
	fallbackMemory = 10 * time.Minute
)

// fallbacks remembers when metrics had their last values. Its zero value is empty and ready.
type fallbacks struct {
	mu      sync.Mutex // guards metrics
	metrics map[fallbackKey]*fallbackState
}

// fallbackKey identifies the metric that an autoscaler requests. Resource and object of an external metric are empty.
type fallbackKey struct{ metric, resource, namespace, object, selector string }

// fallbackState is what the requests for a metric found.
type fallbackState struct {
	last   time.Time // time of the last request
	since  time.Time // time of the last value, or else of the first request without one; zero while there is a value
	served bool      // the last response was the fallback
}

// recordProviderFallbackAbsence records a request at now without a value. It returns the start of the absence and whether to serve
// the fallback; began reports that the fallback starts with this request.
func (f *fallbacks) recordProviderFallbackAbsence(key fallbackKey, after time.Duration, now time.Time) (since time.Time, serve, began bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.keepProviderFallbackState(key, now)
	if s.since.IsZero() {
		s.since = s.last
	}
	s.last = now
	serve = now.Sub(s.since) >= after
	began = serve && !s.served
	s.served = serve
	return s.since, serve, began
}

// recordProviderFallbackEnd records a request at now with a value and reports whether the response before it was the fallback.
func (f *fallbacks) recordProviderFallbackEnd(key fallbackKey, now time.Time) (ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.keepProviderFallbackState(key, now)
	ended = s.served
	*s = fallbackState{last: now}
	return ended
}

// keepProviderFallbackState returns the state of a metric, a new one if it is unknown or forgotten. It stores a new state unless
// maxFallbacks is reached; the caller holds f.mu.
func (f *fallbacks) keepProviderFallbackState(key fallbackKey, now time.Time) *fallbackState {
	if s := f.metrics[key]; s != nil && now.Sub(s.last) <= fallbackMemory {
		return s
	}
	if f.metrics == nil {
		f.metrics = map[fallbackKey]*fallbackState{}
	}
	if len(f.metrics) >= maxFallbacks {
		maps.DeleteFunc(f.metrics, func(_ fallbackKey, s *fallbackState) bool { return now.Sub(s.last) > fallbackMemory })
	}
	s := &fallbackState{last: now}
	if len(f.metrics) < maxFallbacks {
		f.metrics[key] = s
	}
	return s
}

// countProviderFallbacks returns the number of metrics served with their fallback at now.
func (f *fallbacks) countProviderFallbacks(now time.Time) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.metrics {
		if s.served && now.Sub(s.last) <= fallbackMemory {
			n++
		}
	}
	return float64(n)
}

// findProviderFallback returns the rule's fallback, if there is one and requests have failed for long enough. An invalid request and an
// unknown metric stay errors.
func (p *Provider) findProviderFallback(ctx context.Context, req request, err error) (n resource.Quantity, isServed bool) {
	if req.rule.Fallback == nil {
		return n, false
	}
	key := newProviderFallbackKey(req)
	log := klog.FromContext(ctx).WithValues("metric", key.metric, "namespace", key.namespace, "object", key.object, "selector", key.selector)
	if err == nil {
		if p.fallbacks.recordProviderFallbackEnd(key, req.now) {
			log.Info("Fallback ended")
		}
		return n, false
	}
	if kind := apistatus.KindOf(err); kind != metric.KindUnavailable && kind != metric.KindInternal {
		return n, false
	}
	since, serve, began := p.fallbacks.recordProviderFallbackAbsence(key, req.rule.Fallback.After, req.now)
	n, reason := toProvidedQuantity(req.rule.Fallback.Value)
	if !serve || reason != "" {
		return n, false
	}
	if began {
		log.Error(err, "Serving fallback", "since", since, "value", req.rule.Fallback.Value)
	}
	p.metrics.fallbacks.Inc()
	return n, true
}

// newProviderFallbackKey returns the key of the metric that a request reads.
func newProviderFallbackKey(req request) fallbackKey {
	var selector []string
	for _, m := range req.matchers {
		selector = append(selector, m.String())
	}
	return fallbackKey{req.demand.Metric, req.demand.Resource, req.demand.Namespace, req.demand.Object, strings.Join(selector, ",")}
}
