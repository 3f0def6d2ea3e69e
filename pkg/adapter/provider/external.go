// The external metrics API.

package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/external_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// GetExternalMetric returns the value of every series of an external rule that the selector matches. It implements
// metricsprovider.ExternalMetricsProvider; errors are API statuses.
func (p *Provider) GetExternalMetric(ctx context.Context, namespace string, selector k8slabels.Selector,
	info metricsprovider.ExternalMetricInfo,
) (*external_metrics.ExternalMetricValueList, error) {
	var began time.Time
	list, err := waitForFirstRead(ctx, p, func() (*external_metrics.ExternalMetricValueList, error) {
		began = p.Now()
		return p.externalValues(ctx, namespace, selector, info.Metric)
	})
	p.metrics.countRequest(externalAPI, p.Now().Sub(began), err)
	return list, toMetricsAPIStatus(ctx, requestSubject{
		resource: schema.GroupResource{Group: external_metrics.GroupName, Resource: info.Metric}, namespace: namespace, metric: info.Metric,
	}, err)
}

func (p *Provider) externalValues(ctx context.Context, namespace string, selector k8slabels.Selector, name string,
) (*external_metrics.ExternalMetricValueList, error) {
	req, err := p.newExternalRequest(namespace, selector, name)
	if err != nil {
		return nil, err
	}
	list, err := p.respondExternalSeries(ctx, req, namespace)
	err = p.rememberRequestDemand(req, err)
	if req.rule.Fallback == nil {
		return list, err
	}
	return p.applyExternalFallback(ctx, req, list, err)
}

// respondExternalSeries evaluates an external rule and returns every series or an error, never a part.
func (p *Provider) respondExternalSeries(ctx context.Context, req request, namespace string) (*external_metrics.ExternalMetricValueList, error) {
	found, err := p.evaluateSumOverPods(ctx, req, namespace)
	if err != nil {
		return nil, err
	}
	if err := sortExternalSeries(req.rule.Name, found); err != nil {
		return nil, err
	}
	result, err := p.validateServedValues(req, found)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return p.respondWithoutSeries(req)
	}
	// The autoscaler adds up the series, so leaving one out gives a wrong number. NaN is the exception: it is not a number.
	if len(result.values) == 0 || slices.ContainsFunc(result.omitted, func(o metric.Omission) bool { return o.Reason != metric.ReasonNotANumber }) {
		return nil, newMissingError(fmt.Sprintf("%d series", len(found)), result.omitted)
	}
	return p.newExternalValueList(req, result)
}

// evaluateSumOverPods evaluates a rule that adds up pods of the namespace, or of all. It fails if the sum may lack a pod.
func (p *Provider) evaluateSumOverPods(ctx context.Context, req request, namespace string) ([]metric.Value, error) {
	if !isEmbeddedRule(req.rule) {
		return p.evaluateRequestOnBackend(ctx, req, namespace, nil)
	}
	pods := p.Pods.Pods(req.demand.Namespace, k8slabels.Everything())
	req.moving = slices.ContainsFunc(pods, func(pod discovery.Pod) bool { return p.movesLoad(pod, req.now) })
	values, err := p.evaluateRequestOnBackend(ctx, req, namespace, nil)
	if err != nil {
		return nil, err
	}
	return values, p.checkRequestComplete(req, pods)
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
	req := request{rule: r, demand: d, now: p.Now(), first: sync.OnceValue(func() bool { return !p.isRequestDemanded(d) })}
	req.matchers, err = metricSelectorToMatchers(selector)
	return req, err
}

// respondWithoutSeries returns the rule's onMissing as one series without labels, or an error if the rule has none.
func (p *Provider) respondWithoutSeries(req request) (*external_metrics.ExternalMetricValueList, error) {
	o := metric.Omission{Reason: metric.ReasonAbsent}
	v, n, reason := p.substituteMissingValue(req, o)
	if reason == "" {
		var result podValues
		result.values, result.quantities = append(result.values, v), append(result.quantities, n)
		return p.newExternalValueList(req, result)
	}
	p.metrics.countOmissions([]metric.Omission{o})
	text := "rule %q has no series now"
	args := []any{req.rule.Name}
	if req.demand.Namespace != "" {
		text, args = text+" in namespace %q", append(args, req.demand.Namespace)
	}
	if s := formatRequestSelector(req.demand.Selector); s != "" {
		text, args = text+" that matches selector %q", append(args, s)
	}
	return nil, metric.Errorf(metric.KindUnavailable, text, args...)
}

func (p *Provider) newExternalValueList(req request, result podValues) (*external_metrics.ExternalMetricValueList, error) {
	if err := checkQuantitySum(result.quantities); err != nil {
		return nil, err
	}
	list := &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, len(result.values))}
	for i, v := range result.values {
		list.Items[i] = external_metrics.ExternalMetricValue{
			MetricName:    req.demand.Metric,
			MetricLabels:  v.Labels,
			Timestamp:     p.valueTimestamp(req, v),
			WindowSeconds: responseWindowSeconds(v.Window),
			Value:         result.quantities[i],
		}
	}
	return list, nil
}

// sortExternalSeries orders values by their labels, so equal requests get equal responses. It rejects two values with the same
// labels, because the autoscaler would add them up.
func sortExternalSeries(ruleName string, values []metric.Value) error {
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
