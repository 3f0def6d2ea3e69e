package provider

import (
	"context"

	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The resources that hold pods without choosing them.
const (
	namespaces = "namespaces"
	nodes      = "nodes"
)

// aggregateOverPods values an object by the pods that it stands for.
func (p *Provider) aggregateOverPods(ctx context.Context, q request, object metric.Object) (*custom_metrics.MetricValue, error) {
	pods, err := p.Pods.PodsOf(ctx, q.kind.resource, object)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, metric.Errorf(metric.KindNotFound, "%s %q has no pods", q.kind.resource.String(), object)
	}
	g, err := p.evaluatePodValues(ctx, q, pods)
	if err != nil {
		return nil, err
	}
	what := countedNoun(len(pods), "pod")
	if len(g.values) == 0 {
		return nil, g.missingValuesError(what)
	}
	if q.rule.Aggregate == config.AggregateSum {
		if lacking := q.missingFromSum(g.omitted); len(lacking) > 0 {
			return nil, newMissingError("a sum over "+what+" needs them all", lacking)
		}
	}
	v := aggregateValues(q.rule.Aggregate, g.values)
	v.Object = object
	if v.Time.IsZero() { // of substitutes alone
		v.Time = q.now
	}
	return p.respondWithValue(q, v)
}

// respondWithValue judges and answers the one value of an object.
func (p *Provider) respondWithValue(q request, v metric.Value) (*custom_metrics.MetricValue, error) {
	n, reason := validateValue(q.rule, v, q.now)
	if reason == "" {
		return new(p.newMetricValue(q, v, n)), nil
	}
	if reason == metric.ReasonNegative {
		return nil, p.rejectNegative(q.rule, v)
	}
	o := newOmission(q.rule, v.Object, reason)
	return p.substituteOrReject(q, o, q.kind.resource.String()+" "+o.Object.String(), []metric.Omission{o})
}

// aggregateValues is sum, average or maximum of at least one value. Its time is that of the newest sample behind any of them,
// its window the longest.
func aggregateValues(how config.Aggregate, values []metric.Value) metric.Value {
	out := values[0]
	for _, v := range values[1:] {
		if how == config.AggregateMax {
			out.Value = max(out.Value, v.Value)
		} else {
			out.Value += v.Value
		}
		if v.Time.After(out.Time) {
			out.Time = v.Time
		}
		out.Window = max(out.Window, v.Window)
	}
	if how == config.AggregateAvg {
		out.Value /= float64(len(values))
	}
	out.Labels = nil
	return out
}

// missingFromSum are those of the omitted live pods without which a sum is too low. Not among them are those that are known to
// add nothing: pods that were scraped and do not have the series (a counter with labels is not exposed before its
// first event), and, of a namespace or a node, pods that nobody wants scraped.
func (q request) missingFromSum(omitted []metric.Omission) []metric.Omission {
	holder := q.kind.resource.Resource == namespaces || q.kind.resource.Resource == nodes
	var out []metric.Omission
	for _, o := range omitted {
		switch o.Reason {
		case metric.ReasonAbsent:
			if !isEmbedded(q.rule) { // which cannot tell "adds nothing" from "not scraped"
				out = append(out, o)
			}
		case metric.ReasonNotScraped:
			if !holder {
				out = append(out, o)
			}
		default:
			out = append(out, o)
		}
	}
	return out
}
