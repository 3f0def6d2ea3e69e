package provider

import (
	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// firstAsked is the detail for a pod whose scraping this very read sets in motion.
const firstAsked = "asked for the first time now; first values in about 2 scrape intervals"

// explainOmission is the omission of a live pod whose value is unfit for that reason. Of a value that is not there, or too old,
// discovery and the last scrape know the cause.
func (p *Provider) explainOmission(q request, pod discovery.Pod, reason metric.Reason) metric.Omission {
	o := newOmission(q.rule, pod.Object(), reason)
	switch {
	case reason == metric.ReasonStale:
		if isEmbedded(q.rule) {
			if d := p.Scrapes.Diagnose(pod.Namespace, pod.Name, q.rule.Families()); d.Reason == metric.ReasonScrapeFailed {
				o.Reason, o.Detail = d.Reason, d.Detail
			}
		}
	case reason != metric.ReasonAbsent:
	case !isEmbedded(q.rule):
		o.Detail = "backend " + q.rule.Backend + " has no series"
	default:
		o = p.diagnoseScrape(q, pod)
	}
	return o
}

// newOmission is of an object whose computed value is unfit for that reason.
func newOmission(r *rule.Rule, object metric.Object, reason metric.Reason) metric.Omission {
	o := metric.Omission{Object: object, Reason: reason}
	if reason == metric.ReasonStale {
		o.Detail = "over maxAge " + r.MaxAge.String()
	}
	return o
}

// diagnoseScrape says why the embedded backend computed nothing for a live pod.
func (p *Provider) diagnoseScrape(q request, pod discovery.Pod) metric.Omission {
	o := p.Targets.Explain(pod.Namespace, pod.Name)
	target := o.Reason == ""
	if target {
		o = p.Scrapes.Diagnose(pod.Namespace, pod.Name, q.rule.Families())
	}
	if o.Reason == "" {
		// Scraped well, yet without a value: the expression selects other series than the page has.
		o.Reason, o.Detail = metric.ReasonAbsent, "no series of the rule"
	}
	o.Object = pod.Object()
	if (target && o.Reason != metric.ReasonScrapeFailed || o.Detail == discovery.NotDemanded) && q.first() {
		o.Reason, o.Detail = metric.ReasonWarmingUp, firstAsked
	}
	return o
}

// isDemanded tells whether an HPA or an earlier read asked for the same. It is for the case of a missing value: it looks
// at every demand.
func (p *Provider) isDemanded(d discovery.Demand) bool {
	selector := formatSelector(d.Selector)
	for _, o := range p.Demands.Demanded() {
		if o.Metric == d.Metric && o.Resource == d.Resource && o.Namespace == d.Namespace && o.Object == d.Object &&
			o.External == d.External && formatSelector(o.Selector) == selector {
			return true
		}
	}
	return false
}

// checkComplete is an error while the embedded backend may lack series of these pods that it is about to have. An expression
// that sums over a namespace has no gap where such a series will be, only a smaller sum: after a start of the
// adapter, after a first demand, that sum is a wrong number. A pod whose scrapes fail does not count, as it may be
// any other service of the namespace.
func (p *Provider) checkComplete(q request, pods []discovery.Pod) error {
	if q.first() {
		return metric.Errorf(metric.KindUnavailable, "%s: %s", metric.ReasonWarmingUp.Text(), firstAsked)
	}
	var lacking []metric.Omission
	for _, pod := range pods {
		if !pod.Live || p.Targets.Explain(pod.Namespace, pod.Name).Reason != "" {
			continue
		}
		if o := p.Scrapes.Diagnose(pod.Namespace, pod.Name, q.rule.Families()); o.Reason == metric.ReasonWarmingUp {
			lacking = append(lacking, o)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	p.metrics.countOmissions(lacking)
	return newMissingError(countedNoun(len(pods), "pod"), lacking)
}

// isEmbedded tells a rule on the scraper's own backend, of which causes are known.
func isEmbedded(r *rule.Rule) bool { return r.Backend == config.ScrapeBackend }
