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
	// maxFallbacks bounds the external metrics without a value that are remembered; selectors come from requests.
	maxFallbacks = 10_000
	// fallbackMemory is how long one is remembered that nobody reads any more.
	fallbackMemory = 10 * time.Minute
)

// fallbacks remembers since when external metrics have no value. Its zero value is empty and ready.
type fallbacks struct {
	mu      sync.Mutex // guards missing
	missing map[fallbackKey]*absence
}

// fallbackKey is what an autoscaler asks for.
type fallbackKey struct{ metric, namespace, selector string }

// absence is the time without a value.
type absence struct {
	since, last time.Time // of the first read that had none, and of the last
	served      bool      // the last one was answered with the fallback
}

// recordAbsence notes a read at now that had no value, and returns since when there is none. began tells that the fallback
// is served from now on.
func (f *fallbacks) recordAbsence(key fallbackKey, after time.Duration, now time.Time) (since time.Time, serve, began bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.missing[key]
	if a == nil || now.Sub(a.last) > fallbackMemory {
		a = &absence{since: now}
		f.keepAbsence(key, a, now)
	}
	a.last = now
	serve = now.Sub(a.since) >= after
	began = serve && !a.served
	a.served = serve
	return a.since, serve, began
}

// keepAbsence is called with f.mu held.
func (f *fallbacks) keepAbsence(key fallbackKey, a *absence, now time.Time) {
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

// countServed counts the metrics that are answered with their fallback at now.
func (f *fallbacks) countServed(now time.Time) float64 {
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

// recordValue notes a read that had a value, and reports whether the one before was answered with the fallback.
func (f *fallbacks) recordValue(key fallbackKey) (ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.missing[key]
	delete(f.missing, key)
	return a != nil && a.served
}

// applyFallback answers an external read, of which list and err are the result, by the rule's fallback once it has failed for
// long enough. A request that is wrong in itself stays an error.
func (p *Provider) applyFallback(ctx context.Context, q request, list *external_metrics.ExternalMetricValueList, err error,
) (*external_metrics.ExternalMetricValueList, error) {
	key := fallbackKey{q.demand.Metric, q.demand.Namespace, formatSelector(q.demand.Selector)}
	log := klog.FromContext(ctx).WithValues("metric", key.metric, "namespace", key.namespace, "selector", key.selector)
	if err == nil {
		if p.fallbacks.recordValue(key) {
			log.Info("Fallback ended, the metric has values again")
		}
		return list, nil
	}
	if kind := apistatus.KindOf(err); kind != metric.KindUnavailable && kind != metric.KindInternal {
		return nil, err
	}
	since, serve, began := p.fallbacks.recordAbsence(key, q.rule.Fallback.After, q.now)
	if !serve {
		return nil, err
	}
	n, reason := toQuantity(q.rule.Fallback.Value)
	if reason != "" {
		return nil, err
	}
	if began {
		log.Error(err, "Fallback served, the metric has no value", "since", since, "value", q.rule.Fallback.Value)
	}
	p.metrics.fallbacks.Inc()
	var g podValues
	g.values, g.quantities = append(g.values, metric.Value{Value: q.rule.Fallback.Value}), append(g.quantities, n)
	return p.newExternalValueList(q, g)
}
