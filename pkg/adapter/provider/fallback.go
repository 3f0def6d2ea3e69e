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
	// maxFallbacks bounds the absences in memory, because their selectors come from requests.
	maxFallbacks = 10_000
	// fallbackMemory is how long an absence stays in memory after its last request.
	fallbackMemory = 10 * time.Minute
)

// fallbacks remembers since when external metrics have no value. Its zero value is empty and ready.
type fallbacks struct {
	mu      sync.Mutex // guards missing
	missing map[fallbackKey]*absence
}

// fallbackKey identifies the external metric that an autoscaler requests.
type fallbackKey struct{ metric, namespace, selector string }

// absence is the time without a value.
type absence struct {
	since, last time.Time // times of the first and the last request without a value
	served      bool      // the last response was the fallback
}

// recordFallbackAbsence records a request at now without a value. It returns the start of the absence and whether to serve the
// fallback; began reports that the fallback starts with this request.
func (f *fallbacks) recordFallbackAbsence(key fallbackKey, after time.Duration, now time.Time) (since time.Time, serve, began bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.missing[key]
	if a == nil || now.Sub(a.last) > fallbackMemory {
		a = &absence{since: now}
		f.keepFallbackAbsence(key, a, now)
	}
	a.last = now
	serve = now.Sub(a.since) >= after
	began = serve && !a.served
	a.served = serve
	return a.since, serve, began
}

// keepFallbackAbsence stores a unless maxFallbacks is reached; the caller holds f.mu.
func (f *fallbacks) keepFallbackAbsence(key fallbackKey, a *absence, now time.Time) {
	if f.missing == nil {
		f.missing = map[fallbackKey]*absence{}
	}
	if len(f.missing) >= maxFallbacks {
		maps.DeleteFunc(f.missing, func(_ fallbackKey, a *absence) bool { return now.Sub(a.last) > fallbackMemory })
	}
	if len(f.missing) < maxFallbacks {
		f.missing[key] = a
	}
}

// countServedFallbacks returns the number of metrics served with their fallback at now.
func (f *fallbacks) countServedFallbacks(now time.Time) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.missing {
		if a.served && now.Sub(a.last) <= fallbackMemory {
			n++
		}
	}
	return float64(n)
}

// recordFallbackEnd records a request with a value and reports whether the response before it was the fallback.
func (f *fallbacks) recordFallbackEnd(key fallbackKey) (ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.missing[key]
	delete(f.missing, key)
	return a != nil && a.served
}

// applyExternalFallback returns list and err, or the rule's fallback once requests have failed for long enough. An invalid request
// and an unknown metric stay errors.
func (p *Provider) applyExternalFallback(ctx context.Context, req request, list *external_metrics.ExternalMetricValueList, err error,
) (*external_metrics.ExternalMetricValueList, error) {
	key := fallbackKey{req.demand.Metric, req.demand.Namespace, formatRequestSelector(req.demand.Selector)}
	log := klog.FromContext(ctx).WithValues("metric", key.metric, "namespace", key.namespace, "selector", key.selector)
	if err == nil {
		if p.fallbacks.recordFallbackEnd(key) {
			log.Info("Fallback ended")
		}
		return list, nil
	}
	if kind := apistatus.KindOf(err); kind != metric.KindUnavailable && kind != metric.KindInternal {
		return nil, err
	}
	since, serve, began := p.fallbacks.recordFallbackAbsence(key, req.rule.Fallback.After, req.now)
	if !serve {
		return nil, err
	}
	n, reason := toQuantity(req.rule.Fallback.Value)
	if reason != "" {
		return nil, err
	}
	if began {
		log.Error(err, "Serving fallback", "since", since, "value", req.rule.Fallback.Value)
	}
	p.metrics.fallbacks.Inc()
	var result podValues
	result.values, result.quantities = append(result.values, metric.Value{Value: req.rule.Fallback.Value}), append(result.quantities, n)
	return p.newExternalValueList(req, result)
}
