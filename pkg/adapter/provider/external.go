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
	subject := requestSubject{
		resource: schema.GroupResource{Group: external_metrics.GroupName, Resource: info.Metric}, namespace: namespace, metric: info.Metric,
	}
	list, err := waitForFirstValue(ctx, p, subject, func() (*external_metrics.ExternalMetricValueList, error) {
		began = p.Now()
		if err := validateRequestBounds(subject, selector); err != nil {
			return nil, err
		}
		return p.getExternalValueList(ctx, namespace, selector, info.Metric)
	})
	p.metrics.countFinishedRequest(externalAPI, p.Now().Sub(began), err)
	return list, convertErrorToAPIStatus(ctx, subject, err)
}

func (p *Provider) getExternalValueList(ctx context.Context, namespace string, selector k8slabels.Selector, name string,
) (*external_metrics.ExternalMetricValueList, error) {
	req, err := p.newExternalMetricRequest(namespace, selector, name)
	if err != nil {
		return nil, err
	}
	list, err := p.evaluateExternalSeries(ctx, req, namespace)
	err = p.recordRequestDemand(req, err)
	if n, isServed := p.findDueFallback(ctx, req, err); isServed {
		var result podValues
		result.values, result.quantities = append(result.values, &metric.Value{Value: req.rule.Fallback.Value}), append(result.quantities, n)
		return p.newExternalValueList(req, result)
	}
	return list, err
}

// evaluateExternalSeries evaluates an external rule and returns every series or an error, never a part.
func (p *Provider) evaluateExternalSeries(ctx context.Context, req metricRequest, namespace string) (*external_metrics.ExternalMetricValueList, error) {
	found, err := p.evaluateSumOverPods(ctx, req, namespace)
	if err != nil {
		return nil, err
	}
	if err := sortExternalSeries(req.rule.Name, found); err != nil {
		return nil, err
	}
	if detail, none := findValueExclusion(found); none {
		return p.substituteMissingSeries(req, detail)
	}
	result, err := p.validateComputedValues(req, found)
	if err != nil {
		return nil, err
	}
	// The autoscaler adds up the series, so leaving one out gives a wrong number. NaN is the exception: it is not a number.
	if len(result.values) == 0 || slices.ContainsFunc(result.omitted, func(o metric.Omission) bool { return o.Reason != metric.ReasonNotANumber }) {
		return nil, newMissingObjectsError(fmt.Sprintf("%d series", len(found)), result.omitted)
	}
	if n := len(result.values); n > 1 && req.rule.SeriesKind != "" {
		return nil, metric.Errorf(metric.KindInvalid, "rule %q gives %d series, each %s, and an autoscaler adds them up: "+
			"choose one by the metric's selector, or aggregate them in the query, as max(…) does", req.rule.Name, n, req.rule.SeriesKind)
	}
	return p.newExternalValueList(req, result)
}

// evaluateSumOverPods evaluates a rule that adds up pods of the namespace, or of all. It fails if the sum may lack a pod. Values that
// the rule excludes have a reason.
func (p *Provider) evaluateSumOverPods(ctx context.Context, req metricRequest, namespace string) ([]metric.Value, error) {
	if !isEmbeddedRule(req.rule) {
		return p.evaluateRuleOnBackend(ctx, req, namespace, nil)
	}
	if err := p.checkPodsListed(); err != nil {
		return nil, err
	}
	sources := req.listRequestSourceNamespaces()
	pods := p.Pods.Pods(sources[0], k8slabels.Everything())
	for _, source := range sources[1:] {
		pods = append(pods, p.Pods.Pods(source, k8slabels.Everything())...)
	}
	req.moved, req.movedAt = findLatestLoadMove(pods, req.now)
	exposes := sync.OnceValue(func() map[string]bool { return p.findWorkloadsExposingFamilies(req.rule, pods) })
	req.unseen = p.findUnseenPodCounts(req.rule, pods, func(pod *discovery.Pod, span metric.TimeSpan) bool {
		return p.mayPodFeedRule(pod, span.To, exposes)
	})
	req.began = findLatestProcessStart(pods)
	req.readied, req.unreadied = collectReadinessTimes(pods, req.now)
	values, err := p.evaluateRuleOnBackend(ctx, req, namespace, nil)
	if err != nil {
		return nil, err
	}
	if err := p.checkExpectedSeriesComplete(req, pods); err != nil {
		return nil, err
	}
	if err := p.checkNoEventsHeldBack(req, pods, values); err != nil {
		return nil, err
	}
	if err := p.checkRuleTargetsAnswer(req, pods); err != nil {
		return nil, err
	}
	if _, none := findValueExclusion(values); !none {
		return values, nil
	}
	return values, p.checkSeriesAbsenceProven(req, pods)
}

func (p *Provider) newExternalMetricRequest(namespace string, selector k8slabels.Selector, name string) (metricRequest, error) {
	r, err := p.Rules().ExternalFor(namespace, name)
	if err != nil {
		return metricRequest{}, err
	}
	req := metricRequest{rule: r, demand: discovery.Demand{Metric: name, Selector: selector, External: true}, now: p.Now()}
	if sources := r.SourceNamespaces(namespace); len(sources) == 1 {
		req.demand.Namespace = sources[0]
	}
	req.first = p.newFirstDemandCheck(req)
	req.matchers, err = convertSelectorToMatchers(selector)
	return req, err
}

// listRequestSourceNamespaces returns the namespaces of the pods that feed the rule; a single empty name: all namespaces.
func (req metricRequest) listRequestSourceNamespaces() []string {
	if req.demand.External || req.rule.HasTargets {
		return req.rule.SourceNamespaces(req.demand.Namespace)
	}
	return []string{req.demand.Namespace}
}

// newFirstDemandCheck returns a function that reports whether a demand of the request is new.
func (p *Provider) newFirstDemandCheck(req metricRequest) func() bool {
	return sync.OnceValue(func() bool {
		return slices.ContainsFunc(req.listRequestDemands(), func(d discovery.Demand) bool { return !p.isRequestDemanded(d) })
	})
}

// listRequestDemands returns the demands of a request: one for each namespace with pods that feed the rule.
func (req metricRequest) listRequestDemands() []discovery.Demand {
	var all []discovery.Demand
	for _, source := range req.listRequestSourceNamespaces() {
		d := req.demand
		d.Namespace = source
		if req.rule.HasTargets { // they feed all objects
			d.Object = ""
		}
		all = append(all, d)
	}
	return all
}

// substituteMissingSeries returns the rule's onMissing as one series without labels, or an error if the rule has none. The detail says that
// the rule excludes all series; it is empty if there are none.
func (p *Provider) substituteMissingSeries(req metricRequest, excluded string) (*external_metrics.ExternalMetricValueList, error) {
	o := metric.Omission{Reason: metric.ReasonAbsent, Detail: excluded}
	v, n, reason := p.substituteOmittedValue(req, o)
	if reason == "" {
		var result podValues
		result.values, result.quantities = append(result.values, v), append(result.quantities, n)
		return p.newExternalValueList(req, result)
	}
	p.metrics.countOmissionReasons([]metric.Omission{o})
	text := "rule %q has no series now"
	args := []any{req.rule.Name}
	if req.demand.Namespace != "" {
		text, args = text+" in namespace %q", append(args, req.demand.Namespace)
	}
	if s := formatRequestSelector(req.demand.Selector); s != "" {
		text, args = text+" that matches selector %q", append(args, s)
	}
	if excluded != "" {
		text, args = text+": %s", append(args, excluded)
	}
	return nil, metric.Errorf(metric.KindUnavailable, text, args...)
}

func (p *Provider) newExternalValueList(req metricRequest, result podValues) (*external_metrics.ExternalMetricValueList, error) {
	if err := checkQuantitySumInRange(result.quantities); err != nil {
		return nil, err
	}
	list := &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, len(result.values))}
	for i, v := range result.values {
		list.Items[i] = external_metrics.ExternalMetricValue{
			MetricName:    req.demand.Metric,
			MetricLabels:  v.Labels,
			Timestamp:     p.getValueTimestamp(req.now, v),
			WindowSeconds: convertWindowToSeconds(v.Window),
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
