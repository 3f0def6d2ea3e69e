// Proof of absence: a pod has the families of a rule on its page, and no series in the store that the rule selects.

package provider

import (
	"context"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// proveSeriesAbsence makes the omissions of pods that warm up absences, where the store proves it. The scraper itself is sure only
// after the retention, because it knows families and not selectors: a family with errors by code needs no code 500.
func (p *Provider) proveSeriesAbsence(ctx context.Context, req metricRequest, results []*podResult) error {
	probe := req
	if probe.rule = req.rule.Presence(); probe.rule == nil {
		return nil
	}
	var asked []discovery.Pod
	var unproven []*podResult // of asked
	for _, r := range results {
		if p.hasPodShownAllSeries(&req, r.pod, r.omission) {
			asked, unproven = append(asked, *r.pod), append(unproven, r)
		}
	}
	probe.now = p.Now() // the pages that gave the reasons may be newer than the request
	present, err := p.evaluateRuleByNamespace(ctx, probe, asked)
	if err != nil {
		return err
	}
	for _, r := range unproven {
		var value *metric.Value
		if value, present = takeNextPodValue(present, r.pod); value == nil {
			r.omission.Reason, r.omission.Detail = metric.ReasonAbsent, "no series of it matches"
			r.done = false
		}
	}
	return nil
}

// hasPodShownAllSeries reports whether a pod that warms up has shown all series of the rule that its pages have: the scraper says warming
// up until the retention is over.
func (p *Provider) hasPodShownAllSeries(req *metricRequest, pod *discovery.Pod, o *metric.Omission) bool {
	return o.Reason == metric.ReasonWarmingUp && o.Detail != firstAsked && !p.mayStoreLackPodSeries(req.rule, pod, req.now)
}

// checkSeriesAbsenceProven returns an error unless the page of every pod proves that the rule has no series, so that its onMissing
// applies. Of a pod that does not answer it is unknown. A pod that is not ready gets no traffic to count.
func (p *Provider) checkSeriesAbsenceProven(req metricRequest, pods []discovery.Pod) error {
	if req.rule.OnMissing == nil {
		return nil
	}
	var unproven []metric.Omission
	for i := range pods {
		pod := &pods[i]
		if !pod.Live || !pod.Ready && req.rule.Conserves() || p.Targets.Explain(pod.Namespace, pod.Name).Reason != "" {
			continue
		}
		o := p.Scrapes.Diagnose(pod.Namespace, pod.Name, req.rule.ReadFamilies())
		page, ended := p.Scrapes.SilentSince(pod.Namespace, pod.Name)
		silent := o.Reason == metric.ReasonScrapeFailed && (page.IsZero() || ended || req.now.Sub(page) > req.rule.MaxAge)
		if silent || o.Reason == metric.ReasonStale {
			unproven = append(unproven, o)
		}
	}
	if len(unproven) == 0 {
		return nil
	}
	p.metrics.countOmissionReasons(unproven)
	return newMissingObjectsError(formatObjectCount(len(pods), "pod"), unproven)
}
