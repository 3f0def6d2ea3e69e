// Values of an object computed from its pods: sum, average or maximum.

package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The resources that hold pods without choosing them.
const (
	namespaces = "namespaces"
	nodes      = "nodes"
)

// aggregateOverPods computes the value of an object from its pods.
func (p *Provider) aggregateOverPods(ctx context.Context, req request, object metric.Object) (*custom_metrics.MetricValue, error) {
	pods, err := p.Pods.PodsOf(ctx, req.kind.resource, object)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, metric.Errorf(metric.KindNotFound, "%s %q has no pods", req.kind.resource.String(), object)
	}
	req.group = req.rule.Aggregate != config.AggregateMax
	result, err := p.evaluateRequestedPods(ctx, req, pods)
	if err != nil {
		return nil, err
	}
	counted := countPods(pods)
	if len(result.values) == 0 {
		return nil, result.missingValuesError(counted)
	}
	req.rule = result.rule
	if err := req.checkAggregate(result, counted); err != nil {
		return nil, err
	}
	v := aggregatePodValues(req.rule.Aggregate, result.values)
	v.Object = object
	if v.Time.IsZero() { // every pod value is a substitute
		v.Time = req.now
	}
	return p.respondWithValue(req, v)
}

// respondWithValue validates the value of a single object and returns it as a response.
func (p *Provider) respondWithValue(req request, v metric.Value) (*custom_metrics.MetricValue, error) {
	n, reason := validateServedValue(req.rule, v, req.now)
	if reason == "" {
		return new(p.newMetricValue(req, v, n)), nil
	}
	if reason == metric.ReasonNegative {
		return nil, p.rejectNegativeResponse(req.rule, v)
	}
	o := newOmission(req.rule, v.Object, reason)
	return p.substituteOrRejectResponse(req, o, req.kind.resource.String()+" "+o.Object.String(), []metric.Omission{o})
}

// aggregatePodValues returns the sum, average or maximum of at least one value. The result has the newest of the times and
// the longest of the windows. An aggregate without a case is a bug of this repository, so aggregateValues panics.
func aggregatePodValues(how config.Aggregate, values []metric.Value) metric.Value {
	out := values[0]
	for _, v := range values[1:] {
		if v.Time.After(out.Time) {
			out.Time = v.Time
		}
		out.Window = max(out.Window, v.Window)
	}
	out.Labels = nil
	switch how {
	case config.AggregateSum:
		out.Value = sumPodValues(values)
	case config.AggregateAvg:
		out.Value = sumPodValues(values) / float64(len(values))
	case config.AggregateMax:
		for _, v := range values {
			out.Value = max(out.Value, v.Value)
		}
	default:
		panic(fmt.Sprintf("provider: aggregate %q has no case", how))
	}
	return out
}

// sumPodValues adds up at least one value in the given order, from the first: -0 alone stays -0.
func sumPodValues(values []metric.Value) float64 {
	sum := values[0].Value
	for _, v := range values[1:] {
		sum += v.Value
	}
	return sum
}

// checkAggregate returns an error if the values of the pods give no right value of their object.
func (req request) checkAggregate(result podValues, counted string) error {
	how := req.rule.Aggregate
	if how == config.AggregateSum && req.rule.NonAdditive != "" {
		return metric.Errorf(metric.KindInvalid, "values of %s do not add up over pods: write a rule with aggregate: max or avg", req.rule.NonAdditive)
	}
	if result.mixed {
		return metric.Errorf(metric.KindUnavailable, "some of %s give %s by another rule, with another aggregate", counted, req.rule.Metric)
	}
	lacking := req.podsMissingFromExtreme(result)
	article := "an average"
	switch how {
	case config.AggregateSum:
		article, lacking = "a sum", req.podsMissingFromSum(result)
	case config.AggregateMax:
		article = "a maximum"
	case config.AggregateAvg:
	}
	if len(lacking) > 0 {
		return newMissingError(article+" over "+counted+" needs them all", lacking)
	}
	return nil
}

// podsMissingFromExtreme returns the omitted live pods without which a maximum or an average may be too low: ready pods that
// do not answer, which may be the slowest.
func (req request) podsMissingFromExtreme(result podValues) []metric.Omission {
	return slices.DeleteFunc(slices.Clone(result.omitted), func(o metric.Omission) bool {
		return !isEmbeddedRule(req.rule) || o.Reason != metric.ReasonScrapeFailed && o.Reason != metric.ReasonStale
	})
}

// podsMissingFromSum returns the omitted live pods without which a sum is too low. It skips pods known to add zero:
//   - a scraped pod without the series (a counter with labels is not exposed before its first event);
//   - in a sum of rates, a pod that is not ready and whose scrapes fail: Services send it no traffic;
//   - in a namespace or on a node, a pod that is not a target.
func (req request) podsMissingFromSum(result podValues) []metric.Omission {
	holder := req.kind.resource.Resource == namespaces || req.kind.resource.Resource == nodes
	var out []metric.Omission
	for _, o := range result.omitted {
		switch o.Reason {
		case metric.ReasonAbsent:
			if !isEmbeddedRule(req.rule) { // a remote backend cannot tell "adds zero" from "not scraped"
				out = append(out, o)
			}
		case metric.ReasonNotScraped:
			if !holder {
				out = append(out, o)
			}
		case metric.ReasonScrapeFailed, metric.ReasonWarmingUp, metric.ReasonStale, metric.ReasonTerminating,
			metric.ReasonNotANumber, metric.ReasonOutOfRange, metric.ReasonNegative, metric.ReasonDecreasing:
			out = append(out, o)
		default: // an unknown reason makes the sum an error, never too low
			out = append(out, o)
		}
	}
	if !req.rule.Conserves() {
		out = append(out, result.unready...)
	}
	return out
}

// countPods counts the pods for a message: without departed pods, unless there are no others.
func countPods(pods []discovery.Pod) string {
	n := 0
	for _, pod := range pods {
		if !pod.Departed {
			n++
		}
	}
	return countRespondedObjects(cmp.Or(n, len(pods)), "pod")
}
