// Values of an object computed from its pods: sum, average or maximum.

package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

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

// aggregateObjectFromPods computes the value of an object from its pods.
func (p *Provider) aggregateObjectFromPods(ctx context.Context, req metricRequest, object metric.Object) (*custom_metrics.MetricValue, error) {
	pods, err := p.Pods.PodsOf(ctx, req.kind.resource, object)
	if err != nil {
		return nil, err
	}
	if req.rule.WhenNoPods != nil && areAllPodsEnding(pods) {
		return p.substituteWhenNoPods(req, object)
	}
	if len(pods) == 0 {
		return nil, metric.Errorf(metric.KindNotFound, "%s %q has no pods", req.kind.resource.String(), object)
	}
	req.group = req.rule.Aggregate != config.AggregateMax
	result, err := p.evaluatePods(ctx, req, pods)
	if err != nil {
		return nil, err
	}
	counted := formatCountedPods(pods)
	if len(result.values) == 0 {
		return nil, result.newMissingPodValuesError(counted)
	}
	req.rule = result.rule
	if err := req.checkAggregateComplete(result, counted); err != nil {
		return nil, err
	}
	v := aggregatePodValues(req.rule.Aggregate, result.values)
	v.Object = object
	if v.Time.IsZero() { // every pod value is a substitute
		v.Time = req.now
	}
	return p.respondWithSingleValue(req, &v)
}

// respondWithSingleValue validates the value of a single object and returns it as a response.
func (p *Provider) respondWithSingleValue(req metricRequest, v *metric.Value) (*custom_metrics.MetricValue, error) {
	n, reason := validateComputedValue(req.rule, v, req.now)
	if reason == "" {
		return new(p.newCustomMetricValue(&req, v, n)), nil
	}
	if reason == metric.ReasonNegative {
		return nil, p.rejectNegativeValue(req.rule, v)
	}
	o := newObjectOmission(req.rule, v.Object, reason, v.Detail)
	return p.substituteOrRejectOmission(req, o, req.kind.resource.String()+" "+o.Object.String(), []metric.Omission{o})
}

// aggregatePodValues returns the sum, average or maximum of at least one value. The result has the newest of the times and
// the longest of the windows. It panics for an aggregate without a case, a bug of this repository.
func aggregatePodValues(how config.Aggregate, values []*metric.Value) metric.Value {
	out := *values[0]
	for _, v := range values[1:] {
		newest := laterSampleTime(out.NewestSample(), v.NewestSample())
		out.Time = laterSampleTime(out.Time, v.Time)
		out.Lag = newest.Sub(out.Time)
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

func laterSampleTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sumPodValues adds up at least one value in the given order, from the first: -0 alone stays -0.
func sumPodValues(values []*metric.Value) float64 {
	sum := values[0].Value
	for _, v := range values[1:] {
		sum += v.Value
	}
	return sum
}

// checkAggregateComplete returns an error if the values of the pods give no right value of their object.
func (req metricRequest) checkAggregateComplete(result podValues, counted string) error {
	how := req.rule.Aggregate
	if how == config.AggregateSum && req.rule.NonAdditive != "" {
		return metric.Errorf(metric.KindInvalid, "values of %s do not add up over pods: write a rule with aggregate: max or avg", req.rule.NonAdditive)
	}
	if result.mixed {
		return metric.Errorf(metric.KindUnavailable, "some of %s give %s by another rule, with another aggregate; wait for the end of a rollout, or write a rule with metric", counted, req.rule.Metric)
	}
	lacking := req.listPodsMissingFromExtreme(result)
	article := "an average"
	switch how {
	case config.AggregateSum:
		article, lacking = "a sum", req.listPodsMissingFromSum(result)
	case config.AggregateMax:
		article = "a maximum"
	case config.AggregateAvg:
	}
	if len(lacking) > 0 {
		return newMissingObjectsError(article+" over "+counted+" needs them all", lacking)
	}
	return nil
}

// listPodsMissingFromExtreme returns the omitted live pods without which a maximum or an average may be too low: ready pods that
// do not answer, which may be the slowest.
func (req metricRequest) listPodsMissingFromExtreme(result podValues) []metric.Omission {
	return slices.DeleteFunc(slices.Clone(result.omitted), func(o metric.Omission) bool {
		return !isEmbeddedRule(req.rule) || o.Reason != metric.ReasonScrapeFailed && o.Reason != metric.ReasonStale
	})
}

// listPodsMissingFromSum returns the omitted live pods without which a sum is too low. It skips pods known to add zero:
//   - a scraped pod without the series (a counter with labels is not exposed before its first event);
//   - in a sum of rates, a pod that is not ready, with failing scrapes: Services send it no traffic;
//   - in a namespace or on a node, a pod that is not a target.
func (req metricRequest) listPodsMissingFromSum(result podValues) []metric.Omission {
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

// formatCountedPods counts the pods for a message: without departed pods, unless there are no others.
func formatCountedPods(pods []discovery.Pod) string {
	n := 0
	for _, pod := range pods {
		if !pod.Departed {
			n++
		}
	}
	return formatObjectCount(cmp.Or(n, len(pods)), "pod")
}
