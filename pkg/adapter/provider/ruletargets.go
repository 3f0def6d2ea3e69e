// Rules with targets of their own, and objects without pods.

package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// checkRuleTargetsAnswer returns an error unless every target that the rule itself names answers. The author of the rule has said that
// they feed it, so that a missing page is a missing number, and never a zero.
func (p *Provider) checkRuleTargetsAnswer(req metricRequest, pods []discovery.Pod) error {
	if !req.rule.HasTargets {
		return nil
	}
	var missing []metric.Omission
	live := 0
	for i := range pods {
		pod := &pods[i]
		if !pod.Live {
			continue
		}
		live++
		if o := p.findRuleTargetOmission(req, pod); o.Reason != "" {
			o.Object = pod.Object()
			missing = append(missing, o)
		}
	}
	switch {
	case live == 0:
		return metric.Errorf(metric.KindUnavailable, "rule %q: no pod runs behind %s", req.rule.Name, strings.Join(req.rule.Namespaces, ", "))
	case len(missing) > 0:
		p.metrics.countOmissionReasons(missing)
		return newMissingObjectsError(formatObjectCount(live, "target"), missing)
	}
	return nil
}

// findRuleTargetOmission returns why a target gives no number; the zero Omission means that its page is young enough.
func (p *Provider) findRuleTargetOmission(req metricRequest, pod *discovery.Pod) metric.Omission {
	if o := p.Targets.Explain(pod.Namespace, pod.Name); o.Reason != "" {
		return o
	}
	o := p.Scrapes.Diagnose(pod.Namespace, pod.Name, req.rule.ReadFamilies())
	page, ended := p.Scrapes.SilentSince(pod.Namespace, pod.Name)
	switch {
	case o.Reason == metric.ReasonNotScraped:
		return o
	case o.Reason == metric.ReasonScrapeFailed && (page.IsZero() || ended || req.now.Sub(page) > req.rule.MaxAge):
		return o
	}
	return metric.Omission{}
}

// evaluateObjectFromRuleTargets returns the value of an object with its series on the pages of the rule's targets.
func (p *Provider) evaluateObjectFromRuleTargets(ctx context.Context, req metricRequest, object metric.Object) (*custom_metrics.MetricValue, error) {
	series, of := req, req.rule.TargetLabels
	series.rule = req.rule.Series
	series.matchers = append(slices.Clone(req.matchers), &labels.Matcher{Type: labels.MatchEqual, Name: of.Namespace, Value: object.Namespace},
		&labels.Matcher{Type: labels.MatchEqual, Name: of.Object, Value: object.Name})
	values, err := p.evaluateSumOverPods(ctx, series, "")
	if err != nil {
		return nil, err
	}
	excluded, none := findValueExclusion(values)
	switch noun := req.kind.resource.String() + " " + object.String(); {
	case len(values) > 1:
		return nil, metric.Errorf(metric.KindInternal, "rule %q: %d values for %s; aggregate them in the query", req.rule.Name, len(values), noun)
	case none:
		missing := fmt.Sprintf("no series has %s=%q and %s=%q", of.Namespace, object.Namespace, of.Object, object.Name)
		o := metric.Omission{Object: object, Reason: metric.ReasonAbsent, Detail: cmp.Or(excluded, missing)}
		return p.substituteOrRejectOmission(req, o, noun, []metric.Omission{o})
	}
	values[0].Object = object
	return p.respondWithSingleValue(req, &values[0])
}

// areAllPodsEnding reports whether all pods of an object are gone or going. A pod that has not started yet is a pod.
func areAllPodsEnding(pods []discovery.Pod) bool {
	return !slices.ContainsFunc(pods, func(pod discovery.Pod) bool { return !pod.Departed })
}

// substituteWhenNoPods returns the rule's value of an object that has no pods.
func (p *Provider) substituteWhenNoPods(req metricRequest, object metric.Object) (*custom_metrics.MetricValue, error) {
	v := &metric.Value{Object: object, Value: *req.rule.WhenNoPods, Time: req.now}
	p.metrics.substituted.Inc()
	return p.respondWithSingleValue(req, v)
}
