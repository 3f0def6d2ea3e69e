package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/external_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// GetExternalMetric values every series of an external rule that the selector matches. It implements
// metricsprovider.ExternalMetricsProvider; errors are API statuses.
func (p *Provider) GetExternalMetric(ctx context.Context, namespace string, selector k8slabels.Selector,
	info metricsprovider.ExternalMetricInfo,
) (*external_metrics.ExternalMetricValueList, error) {
	began := p.Now()
	list, err := p.externalValues(ctx, namespace, selector, info.Metric)
	p.metrics.countRead(externalAPI, p.Now().Sub(began), err)
	return list, toAPIStatus(ctx, readSubject{
		resource: schema.GroupResource{Group: external_metrics.GroupName, Resource: info.Metric}, namespace: namespace, metric: info.Metric,
	}, err)
}

func (p *Provider) externalValues(ctx context.Context, namespace string, selector k8slabels.Selector, name string,
) (*external_metrics.ExternalMetricValueList, error) {
	q, err := p.newExternalRequest(namespace, selector, name)
	if err != nil {
		return nil, err
	}
	list, err := p.evaluateExternal(ctx, q, namespace)
	p.rememberDemand(q, err)
	if q.rule.Fallback == nil {
		return list, err
	}
	return p.applyFallback(ctx, q, list, err)
}

// evaluateExternal evaluates an external rule and answers with all that it finds, or not at all.
func (p *Provider) evaluateExternal(ctx context.Context, q request, namespace string) (*external_metrics.ExternalMetricValueList, error) {
	found, err := p.evaluateBackend(ctx, q, namespace, nil)
	if err != nil {
		return nil, err
	}
	if isEmbedded(q.rule) {
		if err := p.checkComplete(q, p.Pods.Pods(q.demand.Namespace, k8slabels.Everything())); err != nil {
			return nil, err
		}
	}
	if err := sortSeries(q.rule.Name, found); err != nil {
		return nil, err
	}
	g, err := p.validateValues(q, found)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return p.respondWithoutSeries(q)
	}
	// The autoscaler adds up what it gets, so that a series left out makes a wrong number, unless it has none: NaN.
	if len(g.values) == 0 || slices.ContainsFunc(g.omitted, func(o metric.Omission) bool { return o.Reason != metric.ReasonNotANumber }) {
		return nil, newMissingError(fmt.Sprintf("%d series", len(found)), g.omitted)
	}
	return p.newExternalValueList(q, g)
}

func (p *Provider) newExternalRequest(namespace string, selector k8slabels.Selector, name string) (request, error) {
	r, err := p.Rules().External(name)
	if err != nil {
		return request{}, err
	}
	d := discovery.Demand{Metric: name, Namespace: namespace, Selector: selector, External: true}
	if !r.Namespaced {
		d.Namespace = r.Namespace
	}
	q := request{rule: r, demand: d, now: p.Now(), first: sync.OnceValue(func() bool { return !p.isDemanded(d) })}
	q.matchers, err = toLabelMatchers(selector)
	return q, err
}

// respondWithoutSeries answers where nothing was found: by the rule's onMissing, as one series without labels.
func (p *Provider) respondWithoutSeries(q request) (*external_metrics.ExternalMetricValueList, error) {
	o := metric.Omission{Reason: metric.ReasonAbsent}
	v, n, reason := p.substituteMissing(q, o)
	if reason == "" {
		var g podValues
		g.values, g.quantities = append(g.values, v), append(g.quantities, n)
		return p.newExternalValueList(q, g)
	}
	p.metrics.countOmissions([]metric.Omission{o})
	text := "rule %q has no series now"
	args := []any{q.rule.Name}
	if q.demand.Namespace != "" {
		text, args = text+" in namespace %q", append(args, q.demand.Namespace)
	}
	if s := formatSelector(q.demand.Selector); s != "" {
		text, args = text+" that matches selector %q", append(args, s)
	}
	return nil, metric.Errorf(metric.KindUnavailable, text, args...)
}

func (p *Provider) newExternalValueList(q request, g podValues) (*external_metrics.ExternalMetricValueList, error) {
	if err := checkSum(g.quantities); err != nil {
		return nil, err
	}
	list := &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, len(g.values))}
	for i, v := range g.values {
		list.Items[i] = external_metrics.ExternalMetricValue{
			MetricName:    q.demand.Metric,
			MetricLabels:  v.Labels,
			Timestamp:     p.valueTimestamp(q, v),
			WindowSeconds: windowSeconds(v.Window),
			Value:         g.quantities[i],
		}
	}
	return list, nil
}

// sortSeries orders values by their labels, so that equal reads have equal answers. Two values of the same labels are an
// error: the autoscaler would add them up.
func sortSeries(ruleName string, values []metric.Value) error {
	type series struct {
		text  string
		value metric.Value
	}
	all := make([]series, len(values))
	for i, v := range values {
		all[i] = series{labels.FromMap(v.Labels).String(), v}
	}
	slices.SortFunc(all, func(a, b series) int { return strings.Compare(a.text, b.text) })
	for i, s := range all {
		if i > 0 && s.text == all[i-1].text {
			return metric.Errorf(metric.KindInternal, "rule %q: two series with the labels %s", ruleName, s.text)
		}
		values[i] = s.value
	}
	return nil
}
