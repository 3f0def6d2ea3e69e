// Proof of absence: pods whose page has the families of a rule, and whose store has no series that the rule selects.

package provider

import (
	"context"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// proveProvidedAbsence makes the omissions of pods that warm up absences, where the store proves it. The scraper itself is sure only
// after the retention, because it knows families and not selectors: a family with errors by code needs no code 500.
func (p *Provider) proveProvidedAbsence(ctx context.Context, req request, results []*podResult) error {
	probe := req
	if probe.rule = req.rule.Presence(); probe.rule == nil {
		return nil
	}
	var asked []discovery.Pod
	for _, r := range results {
		if r.omission.Reason == metric.ReasonWarmingUp && r.omission.Detail != firstAsked && !p.mayHideProvidedSeries(req.rule, r.pod, req.now) {
			asked = append(asked, *r.pod)
		}
	}
	probe.now = p.Now() // the pages that gave the reasons may be newer than the request
	present, err := p.evaluateProviderRuleByNamespace(ctx, probe, asked)
	if err != nil {
		return err
	}
	proven := make(map[metric.Object]bool, len(asked))
	for _, pod := range asked {
		proven[pod.Object()] = present[pod.Object()] == nil
	}
	for _, r := range results {
		if proven[r.pod.Object()] {
			r.omission.Reason, r.omission.Detail = metric.ReasonAbsent, "no series of it matches"
			r.done = false
		}
	}
	return nil
}
