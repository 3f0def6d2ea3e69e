// The fallback of external metrics, served after a longer absence of values.

package provider

import (
	"context"
	"maps"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/external_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxFallbacks bounds the metrics in memory, because their selectors come from requests.
	maxFallbacks = 10_000
	// fallbackMemory is how long a metric stays in memory after its last request.
	fallbackMemory = 10 * time.Minute
)

// fallbacks remembers when external metrics had their last values. Its zero value is empty and ready.
type fallbacks struct {
	mu      sync.Mutex // guards metrics
	metrics map[fallbackKey]*fallbackState
}

// fallbackKey identifies the external metric that an autoscaler requests.
type fallbackKey struct{ metric, namespace, selector string }

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

// applyProviderFallback returns list and err, or the rule's fallback once requests have failed for long enough. An invalid request
// and an unknown metric stay errors.
func (p *Provider) applyProviderFallback(ctx context.Context, req request, list *external_metrics.ExternalMetricValueList, err error,
) (*external_metrics.ExternalMetricValueList, error) {
	key := fallbackKey{req.demand.Metric, req.demand.Namespace, formatProviderRequestSelector(req.demand.Selector)}
	log := klog.FromContext(ctx).WithValues("metric", key.metric, "namespace", key.namespace, "selector", key.selector)
	if err == nil {
		if p.fallbacks.recordProviderFallbackEnd(key, req.now) {
			log.Info("Fallback ended")
		}
		return list, nil
	}
	if kind := apistatus.KindOf(err); kind != metric.KindUnavailable && kind != metric.KindInternal {
		return nil, err
	}
	since, serve, began := p.fallbacks.recordProviderFallbackAbsence(key, req.rule.Fallback.After, req.now)
	if !serve {
		return nil, err
	}
	n, reason := toProvidedQuantity(req.rule.Fallback.Value)
	if reason != "" {
		return nil, err
	}
	if began {
		log.Error(err, "Serving fallback", "since", since, "value", req.rule.Fallback.Value)
	}
	p.metrics.fallbacks.Inc()
	var result podValues
	result.values, result.quantities = append(result.values, &metric.Value{Value: req.rule.Fallback.Value}), append(result.quantities, n)
	return p.newProvidedExternalValueList(req, result)
}
