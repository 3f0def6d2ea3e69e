package provider

import (
	"cmp"
	"context"
	"slices"

	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// valueFromObjectLabel values an object whose name is a label of the rule's result.
func (p *Provider) valueFromObjectLabel(ctx context.Context, q request, object metric.Object) (*custom_metrics.MetricValue, error) {
	values, err := p.evaluateBackend(ctx, q, object.Namespace, []string{object.Name})
	if err != nil {
		return nil, err
	}
	values = slices.DeleteFunc(values, func(v metric.Value) bool { return v.Object.Name != object.Name })
	if len(values) > 1 {
		return nil, metric.Errorf(metric.KindInternal, "rule %q: two values for %s %q", q.rule.Name, q.kind.resource.String(), object)
	}
	if isEmbedded(q.rule) {
		pods, err := p.Pods.PodsOf(ctx, q.kind.resource, object)
		if err != nil {
			return nil, err
		}
		if err := p.checkComplete(q, pods); err != nil {
			return nil, err
		}
		if len(values) == 0 {
			return p.respondUnlabelled(q, object, pods)
		}
	}
	if len(values) == 0 {
		o := metric.Omission{Object: object, Reason: metric.ReasonAbsent, Detail: "backend " + q.rule.Backend + " has no series"}
		return p.substituteOrReject(q, o, q.kind.resource.String()+" "+object.Name, []metric.Omission{o})
	}
	values[0].Object = object
	return p.respondWithValue(q, values[0])
}

// respondUnlabelled answers for an object of which the embedded backend has no value, by its pods.
func (p *Provider) respondUnlabelled(q request, object metric.Object, pods []discovery.Pod) (*custom_metrics.MetricValue, error) {
	if len(pods) == 0 {
		return nil, metric.Errorf(metric.KindNotFound, "%s %q has no pods", q.kind.resource.String(), object)
	}
	var omitted []metric.Omission
	for _, pod := range pods {
		if pod.Live {
			omitted = append(omitted, p.diagnoseScrape(q, pod))
		} else {
			omitted = append(omitted, pod.Omission)
		}
	}
	o := metric.Omission{Object: object, Reason: metric.ReasonAbsent}
	return p.substituteOrReject(q, o, countedNoun(len(pods), "pod"), omitted)
}

// substituteOrReject answers with the rule's substitute for what was omitted, else with the reasons.
func (p *Provider) substituteOrReject(q request, o metric.Omission, what string, reasons []metric.Omission) (*custom_metrics.MetricValue, error) {
	v, n, reason := p.substituteMissing(q, o)
	if reason == "" {
		return new(p.newMetricValue(q, v, n)), nil
	}
	p.metrics.countOmissions(reasons)
	return nil, newMissingError(what, reasons)
}

// valuesFromObjectLabel values every object of a resource of which the rule has a value.
func (p *Provider) valuesFromObjectLabel(ctx context.Context, q request) (*custom_metrics.MetricValueList, error) {
	found, err := p.evaluateBackend(ctx, q, q.demand.Namespace, nil)
	if err != nil {
		return nil, err
	}
	if isEmbedded(q.rule) {
		if err := p.checkComplete(q, p.Pods.Pods(q.demand.Namespace, k8slabels.Everything())); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b metric.Value) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	g, err := p.validateValues(q, found)
	if err != nil {
		return nil, err
	}
	if len(g.values) > 0 {
		return p.newMetricValueList(q, g.values, g.quantities)
	}
	if len(g.omitted) > 0 {
		return nil, newMissingError(countedNoun(len(g.omitted), "object"), g.omitted)
	}
	return nil, metric.Errorf(metric.KindUnavailable, "rule %q has no series for any of %s", q.rule.Name, q.kind.resource.String())
}
