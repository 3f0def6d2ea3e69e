// Reasons of omissions, from discovery and from the last scrape.

package provider

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// firstAsked is the detail for a pod that becomes a target through this request.
const firstAsked = "asked for the first time now; first values in about 2 scrape intervals"

// youngIntervals is the age of a pod, in scrape intervals, below which its series may not be complete: one until its first
// scrape, one until the second page proves the beginning of its counters, and one of slack.
const youngIntervals = 3

// explainPodOmission returns the omission of a live pod for the reason, with the backend's detail. For an absent or stale value it adds the cause
// that discovery or the last scrape knows.
func (p *Provider) explainPodOmission(req metricRequest, pod *discovery.Pod, reason metric.Reason, detail string) metric.Omission {
	o := newObjectOmission(req.rule, pod.Object(), reason, detail)
	switch {
	case reason == metric.ReasonStale:
		if isEmbeddedRule(req.rule) {
			if d := p.Scrapes.Diagnose(pod.Namespace, pod.Name, req.rule.ReadFamilies()); d.Reason == metric.ReasonScrapeFailed || d.Reason == metric.ReasonStale {
				o.Reason, o.Detail = d.Reason, cmp.Or(d.Detail, detail)
			}
		}
	case reason != metric.ReasonAbsent:
	case !isEmbeddedRule(req.rule):
		o.Detail = describeServerAbsence(req.rule)
	default:
		o = p.diagnosePodOmission(req, pod)
	}
	return o
}

// describeServerAbsence explains a server's result without an object.
func describeServerAbsence(r *rule.Rule) string {
	text := "backend " + r.Backend + " has no series"
	if r.Filters() {
		text += ", or the rule excludes them"
	}
	return text
}

// newObjectOmission returns the omission of an object for the reason, with the backend's detail. A stale value without one gets the rule's maxAge.
func newObjectOmission(r *rule.Rule, object metric.Object, reason metric.Reason, detail string) metric.Omission {
	o := metric.Omission{Object: object, Reason: reason, Detail: detail}
	if reason == metric.ReasonStale && detail == "" {
		o.Detail = "over maxAge " + r.MaxAge.String()
	}
	return o
}

// diagnosePodOmission returns why the embedded backend has no value for a live pod.
func (p *Provider) diagnosePodOmission(req metricRequest, pod *discovery.Pod) metric.Omission {
	o := p.Targets.Explain(pod.Namespace, pod.Name)
	target := o.Reason == ""
	if target {
		o = p.Scrapes.Diagnose(pod.Namespace, pod.Name, req.rule.ReadFamilies())
	}
	if o.Reason == "" { // no proof of absence
		o.Reason, o.Detail = metric.ReasonStale, "no fresh sample"
	}
	o.Object = pod.Object()
	if (target && o.Reason != metric.ReasonScrapeFailed || o.Detail == discovery.NotDemanded) && req.first() {
		o.Reason, o.Detail = metric.ReasonWarmingUp, firstAsked
	}
	return o
}

// explainEvaluationError returns the error of a backend. If it is that a sum lacks pods, each gets the cause that discovery or the
// last scrape knows. The fallback of the rule may apply to such an error, its onMissing does not.
func (p *Provider) explainEvaluationError(req metricRequest, err error) error {
	var missing *metric.MissingError
	if !errors.As(err, &missing) {
		return err
	}
	omissions := make([]metric.Omission, len(missing.Omissions))
	for i, o := range missing.Omissions {
		omissions[i] = p.explainPodMissingFromSum(req, o)
	}
	p.metrics.countOmissionReasons(omissions)
	return newMissingObjectsError("the sum lacks "+formatObjectCount(len(omissions), "pod"), omissions)
}

// explainPodMissingFromSum returns the omission of a pod that a sum lacks, with the cause of the last scrape. The engine's reason
// remains if the scrape has none: the pod has series.
func (p *Provider) explainPodMissingFromSum(req metricRequest, o metric.Omission) metric.Omission {
	if o.Reason != metric.ReasonStale && o.Reason != metric.ReasonWarmingUp {
		return o
	}
	cause := p.Targets.Explain(o.Object.Namespace, o.Object.Name)
	if cause.Reason == "" {
		cause = p.Scrapes.Diagnose(o.Object.Namespace, o.Object.Name, req.rule.ReadFamilies())
	}
	switch cause.Reason {
	case metric.ReasonScrapeFailed, metric.ReasonNotScraped, metric.ReasonTerminating, metric.ReasonStale:
		o.Reason, o.Detail = cause.Reason, cmp.Or(cause.Detail, o.Detail)
	case metric.ReasonAbsent, metric.ReasonWarmingUp, metric.ReasonNotANumber, metric.ReasonOutOfRange, metric.ReasonNegative,
		metric.ReasonDecreasing:
	}
	return o
}

// isRequestDemanded reports whether an HPA or an earlier request has the same demand. It compares with every demand, so it serves
// only the rare case of a missing value.
func (p *Provider) isRequestDemanded(d discovery.Demand) bool {
	selector := formatRequestSelector(d.Selector)
	for _, o := range p.Demands.Demanded() {
		if o.Metric == d.Metric && o.Resource == d.Resource && o.Namespace == d.Namespace && o.Object == d.Object &&
			o.External == d.External && formatRequestSelector(o.Selector) == selector {
			return true
		}
	}
	return false
}

// maxFirstPageWait is how long after a start of the adapter a sum waits for the first page of any ready pod: for as long as a pod that goes
// silent counts within the longest window by default. Whether such a pod feeds the rule is unknown until then. A pod that never
// answers may be another service's, so that the wait ends; it begins at the adapter's start alone, so that new pods do not prolong it.
const maxFirstPageWait = time.Minute

// checkExpectedSeriesComplete returns an error while the embedded backend may soon have more series of these pods. An expression over a
// namespace shows no gap for a coming series, only a smaller sum. After a start of the adapter, or after a first demand,
// such a sum is a wrong number. A pod is missing if its last page had the family, if its page has the family and is rejected, if it
// has no page of late and another pod of its workload has the family, if it never answered and the adapter started lately, or if
// several processes share its counters. A pod without a fresh sample in its series is the backend's error. Any other pod with
// failing scrapes may be another service of the namespace.
func (p *Provider) checkExpectedSeriesComplete(req metricRequest, pods []discovery.Pod) error {
	if req.first() {
		return metric.Errorf(metric.KindUnavailable, "%s: %s", metric.ReasonWarmingUp.Text(), firstAsked)
	}
	var missing []metric.Omission
	exposes := sync.OnceValue(func() map[string]bool { return p.findWorkloadsExposingFamilies(req.rule, pods) })
	for i := range pods {
		pod := &pods[i]
		if !pod.Live || p.Targets.Explain(pod.Namespace, pod.Name).Reason != "" {
			continue
		}
		if p.isPodWarmingUp(req.rule, pod, req.now) || p.isExposingPodSilent(req, pod) || p.hasDecreasingPodCounters(req.rule, pod) ||
			p.isPodFamilyRejected(req, pod) || p.lacksFreshPodPage(req, pod) && p.mayPodFeedRule(pod, p.Now(), exposes) {
			missing = append(missing, p.Scrapes.Diagnose(pod.Namespace, pod.Name, req.rule.ReadFamilies()))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	p.metrics.countOmissionReasons(missing)
	return newMissingObjectsError(formatObjectCount(len(pods), "pod"), missing)
}

// isExposingPodSilent reports whether a pod had a family of the rule and does not answer scrapes any more, for longer than maxAge, or
// because it refuses connections. The backend does not know of it for ever. A pod that is not ready gets no traffic to count.
func (p *Provider) isExposingPodSilent(req metricRequest, pod *discovery.Pod) bool {
	page, ended := p.Scrapes.SilentSince(pod.Namespace, pod.Name)
	idle := !pod.Ready && req.rule.Conserves() && !p.Scrapes.CountsUnseen(pod.Namespace, pod.Name)
	if page.IsZero() || idle || !ended && req.now.Sub(page) <= req.rule.MaxAge {
		return false
	}
	return p.exposesRuleFamily(req.rule, pod)
}

// lacksFreshPodPage reports whether the page of a ready pod fails, and no page within maxAge proves that it lacks the families of the rule.
func (p *Provider) lacksFreshPodPage(req metricRequest, pod *discovery.Pod) bool {
	if page, _ := p.Scrapes.SilentSince(pod.Namespace, pod.Name); !pod.Ready || !page.IsZero() && req.now.Sub(page) <= req.rule.MaxAge {
		return false
	}
	return p.Scrapes.Diagnose(pod.Namespace, pod.Name, req.rule.ReadFamilies()).Reason == metric.ReasonScrapeFailed &&
		!p.exposesRuleFamily(req.rule, pod)
}

// mayPodFeedRule reports whether a pod without a page at a time may feed the rule: another pod of its workload does, or the adapter had started
// lately and the pod never answered.
func (p *Provider) mayPodFeedRule(pod *discovery.Pod, at time.Time, exposes func() map[string]bool) bool {
	if at.Sub(p.Started) < max(maxFirstPageWait, youngIntervals*p.getDemandScrapeInterval()) {
		if page, _ := p.Scrapes.SilentSince(pod.Namespace, pod.Name); page.IsZero() {
			return true
		}
	}
	return pod.Owner != "" && exposes()[pod.Namespace+"/"+pod.Owner]
}

// hasDecreasingPodCounters reports whether a rule reads counters of several processes behind the pod's port.
func (p *Provider) hasDecreasingPodCounters(r *rule.Rule, pod *discovery.Pod) bool {
	return isEmbeddedRule(r) && p.Scrapes.Decreases(pod.Namespace, pod.Name, r.ReadFamilies())
}

// hasPodEndedFamily reports whether the store has no room for a family that a rule reads, so that the pod's series of it have ended.
func (p *Provider) hasPodEndedFamily(r *rule.Rule, pod *discovery.Pod) bool {
	if !isEmbeddedRule(r) {
		return false
	}
	_, ended := p.Scrapes.RejectedSince(pod.Namespace, pod.Name, r.ReadFamilies())
	return ended
}

// isPodFamilyRejected reports whether the pages of a pod have a family of the rule that is rejected, for longer than maxAge or because
// the store has no room. The backend does not know of it for ever.
func (p *Provider) isPodFamilyRejected(req metricRequest, pod *discovery.Pod) bool {
	since, ended := p.Scrapes.RejectedSince(pod.Namespace, pod.Name, req.rule.ReadFamilies())
	return ended || !since.IsZero() && req.now.Sub(since) > req.rule.MaxAge
}

// findWorkloadsExposingFamilies returns the workloads with a family of the rule on a pod's page, each behind its namespace.
func (p *Provider) findWorkloadsExposingFamilies(r *rule.Rule, pods []discovery.Pod) map[string]bool {
	owners := map[string]bool{}
	for i := range pods {
		pod := &pods[i]
		if key := pod.Namespace + "/" + pod.Owner; !owners[key] && p.exposesRuleFamily(r, pod) {
			owners[key] = true
		}
	}
	return owners
}

// exposesRuleFamily reports whether the last accepted page of a pod has a family of the rule.
func (p *Provider) exposesRuleFamily(r *rule.Rule, pod *discovery.Pod) bool {
	return slices.ContainsFunc(r.ReadFamilies(), func(family string) bool {
		_, known := p.Scrapes.FamilyType(pod.Namespace, pod.Name, family)
		return known
	})
}

// isPodWarmingUp reports whether a pod may soon have series that the backend does not know of: a family was not asked for so
// far, or the pod is so young that the scraper may hold back the beginning of its counters. A pod that is not ready gets
// no traffic to count.
func (p *Provider) isPodWarmingUp(r *rule.Rule, pod *discovery.Pod, now time.Time) bool {
	if !pod.Ready && r.Conserves() || p.Scrapes.Diagnose(pod.Namespace, pod.Name, r.ReadFamilies()).Reason != metric.ReasonWarmingUp {
		return false
	}
	return p.mayStoreLackPodSeries(r, pod, now)
}

// mayStoreLackPodSeries reports whether the store may lack series that are on the page of a pod, or that no page was asked for.
func (p *Provider) mayStoreLackPodSeries(r *rule.Rule, pod *discovery.Pod, now time.Time) bool {
	if !pod.Started.IsZero() && now.Sub(pod.Started) < youngIntervals*p.getDemandScrapeInterval() {
		return true
	}
	return slices.ContainsFunc(r.ReadFamilies(), func(family string) bool {
		_, known := p.Scrapes.FamilyType(pod.Namespace, pod.Name, family)
		return !known && p.Scrapes.Diagnose(pod.Namespace, pod.Name, []string{family}).Reason == metric.ReasonWarmingUp
	})
}

// isEmbeddedRule reports whether the rule uses the embedded backend, where discovery and scrapes know why a value is missing.
func isEmbeddedRule(r *rule.Rule) bool { return r.Backend == config.ScrapeBackend }
