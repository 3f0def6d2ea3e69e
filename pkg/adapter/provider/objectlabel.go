// Values of objects that a label of the rule's result names.

package provider

import (
	"context"
	"slices"

	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// evaluateLabelledObject returns the value of an object that a label of the rule's result names.
func (p *Provider) evaluateLabelledObject(ctx context.Context, req metricRequest, object metric.Object) (*custom_metrics.MetricValue, error) {
	values, err := p.evaluateRuleOnBackend(ctx, req, object.Namespace, []string{object.Name})
	if err != nil {
		return nil, err
	}
	values = slices.DeleteFunc(values, func(v metric.Value) bool { return v.Object.Name != object.Name })
	if len(values) > 1 {
		return nil, metric.Errorf(metric.KindInternal, "rule %q: two values for %s %q", req.rule.Name, req.kind.resource.String(), object)
	}
	if isEmbeddedRule(req.rule) {
		pods, err := p.Pods.PodsOf(ctx, req.kind.resource, object)
		if err != nil {
			return nil, err
		}
		if err := p.checkExpectedSeriesComplete(req, pods); err != nil {
			return nil, err
		}
		if err := p.checkNoEventsHeldBack(req, pods, values); err != nil {
			return nil, err
		}
		if detail, none := findValueExclusion(values); none {
			return p.respondForUnlabelledObject(req, object, pods, detail)
		}
	}
	if len(values) == 0 {
		o := metric.Omission{Object: object, Reason: metric.ReasonAbsent, Detail: describeServerAbsence(req.rule)}
		return p.substituteOrRejectOmission(req, o, req.kind.resource.String()+" "+object.Name, []metric.Omission{o})
	}
	values[0].Object = object
	return p.respondWithSingleValue(req, &values[0])
}

// findValueExclusion reports whether there is no value, and why if operators of the rule exclude all of them; the detail is empty for
// another reason.
func findValueExclusion(values []metric.Value) (detail string, none bool) {
	for i := range values {
		if values[i].Reason != metric.ReasonAbsent {
			return "", false
		}
		detail = values[i].Detail
	}
	return detail, true
}

// respondForUnlabelledObject responds for an object without a value in the embedded backend; the reasons come from its pods, unless the rule
// excludes the object, as the detail says.
func (p *Provider) respondForUnlabelledObject(req metricRequest, object metric.Object, pods []discovery.Pod, excluded string) (*custom_metrics.MetricValue, error) {
	if len(pods) == 0 {
		return nil, metric.Errorf(metric.KindNotFound, "%s %q has no pods", req.kind.resource.String(), object)
	}
	if err := p.checkSeriesAbsenceProven(req, pods); err != nil {
		return nil, err
	}
	o := metric.Omission{Object: object, Reason: metric.ReasonAbsent, Detail: excluded}
	if excluded != "" {
		return p.substituteOrRejectOmission(req, o, req.kind.resource.String()+" "+object.String(), []metric.Omission{o})
	}
	var omitted []metric.Omission
	for i := range pods {
		if pod := &pods[i]; pod.Live {
			omitted = append(omitted, p.diagnosePodOmission(req, pod))
		} else {
			omitted = append(omitted, pod.Omission)
		}
	}
	return p.substituteOrRejectOmission(req, o, formatObjectCount(len(pods), "pod"), omitted)
}

// substituteOrRejectOmission returns the rule's substitute for an omission, else an error with the reasons. noun counts the objects.
func (p *Provider) substituteOrRejectOmission(req metricRequest, o metric.Omission, noun string, reasons []metric.Omission) (*custom_metrics.MetricValue, error) {
	v, n, reason := p.substituteOmittedValue(req, o)
	if reason == "" {
		return new(p.newCustomMetricValue(&req, v, n)), nil
	}
	p.metrics.countOmissionReasons(reasons)
	return nil, newMissingObjectsError(noun, reasons)
}

// evaluateLabelledObjects returns the values of every object that a label of the rule's result names.
func (p *Provider) evaluateLabelledObjects(ctx context.Context, req metricRequest) (*custom_metrics.MetricValueList, error) {
	found, err := p.evaluateSumOverPods(ctx, req, req.demand.Namespace)
	if err != nil {
		return nil, err
	}
	sortValuesByObject(found)
	result, err := p.validateComputedValues(req, found)
	if err != nil {
		return nil, err
	}
	if len(result.values) > 0 {
		return p.newCustomMetricValueList(req, result.values, result.quantities)
	}
	if len(result.omitted) > 0 {
		return nil, newMissingObjectsError(formatObjectCount(len(result.omitted), "object"), result.omitted)
	}
	return nil, metric.Errorf(metric.KindUnavailable, "rule %q has no series for any of %s", req.rule.Name, req.kind.resource.String())
}
