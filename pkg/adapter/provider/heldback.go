// Counts that the scraper knows and holds back: a new series without a proof of its beginning.

package provider

import (
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

const (
	// heldBack is the detail of a value without the series that are held back.
	heldBack = "a new series waits for the next page"
	// unseenCounts is the detail of a pod that was ready just now, while its page fails.
	unseenCounts = "ready until now, without a page"
	// heldShare divides the counts of a value: if less is held back, the value is right within its promise.
	heldShare = 20
)

// countHeldBackEvents returns the events of a pod that are on its newest page and not stored so far.
func (p *Provider) countHeldBackEvents(r *rule.Rule, pod *discovery.Pod) float64 {
	if !isEmbeddedRule(r) {
		return 0
	}
	return p.Scrapes.HeldCounts(pod.Namespace, pod.Name, r.ReadFamilies())
}

// lacksHeldBackEvents reports whether values of so many events are a part only, since events within their window are held back. Of a ratio it is
// not known how many events it has: what is held back is much for its family.
func lacksHeldBackEvents(r *rule.Rule, held, counted float64) bool {
	return held != 0 && (!r.Conserves() || heldShare*held > counted)
}

// countEventsOfRate returns the events behind a rate.
func countEventsOfRate(v *metric.Value) float64 { return v.Value * v.Window.Seconds() }

// checkNoEventsHeldBack returns an error if values over all pods lack events that are held back.
func (p *Provider) checkNoEventsHeldBack(req metricRequest, pods []discovery.Pod, values []metric.Value) error {
	held := 0.0
	var missing []metric.Omission
	for i := range pods {
		if events := p.countHeldBackEvents(req.rule, &pods[i]); events > 0 && pods[i].Live {
			held += events
			missing = append(missing, metric.Omission{Object: pods[i].Object(), Reason: metric.ReasonWarmingUp, Detail: heldBack})
		}
	}
	counted := 0.0
	for i := range values {
		counted += countEventsOfRate(&values[i])
	}
	if !lacksHeldBackEvents(req.rule, held, counted) {
		return nil
	}
	p.metrics.countOmissionReasons(missing)
	return newMissingObjectsError(formatObjectCount(len(pods), "pod"), missing)
}
