// The custom metrics API: requests for one object or for all pods of a selector.

package provider

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// metricRequest is one read of the API after parsing: its demand, rule, matchers and time.
type metricRequest struct {
	kind     resourceKind // zero for an external metric
	rule     *rule.Rule
	demand   discovery.Demand
	matchers []*labels.Matcher
	// identifier is the metric as the response names it.
	identifier custom_metrics.MetricIdentifier
	now        time.Time
	// group is set for a request if it or its client adds up several pods.
	group bool
	// moved and movedAt are when load last moved between the pods of the group, began when the youngest of their processes started; see
	// rule.Query.
	moved, movedAt, began time.Time
	unseen                metric.TimeSpan             // see rule.Query
	unreadied             map[metric.Object]time.Time // likewise
	readied               map[metric.Object]time.Time // see rule.Query
	// first reports whether this demand is new: no HPA and no earlier request has it.
	first func() bool
}

// GetMetricByName returns the value of one object. It comes from the rule's result where a label names objects of this
// resource, else from the object's pods. It implements metricsprovider.CustomMetricsProvider; errors are API statuses.
func (p *Provider) GetMetricByName(ctx context.Context, name types.NamespacedName, info metricsprovider.CustomMetricInfo,
	selector k8slabels.Selector,
) (*custom_metrics.MetricValue, error) {
	var began time.Time
	subject := requestSubject{info.GroupResource, name.Namespace, name.Name, info.Metric}
	v, err := waitForFirstValue(ctx, p, subject, func() (*custom_metrics.MetricValue, error) {
		began = p.Now()
		if err := validateRequestBounds(subject, selector); err != nil {
			return nil, err
		}
		return p.getMetricOfNamedObject(ctx, name, info, selector)
	})
	p.metrics.countFinishedRequest(customAPI, p.Now().Sub(began), err)
	return v, convertErrorToAPIStatus(ctx, subject, err)
}

// GetMetricBySelector returns the values of all pods that a selector matches. For another resource it returns the values
// of all objects that the rule's result names. It implements metricsprovider.CustomMetricsProvider; errors are API statuses.
func (p *Provider) GetMetricBySelector(ctx context.Context, namespace string, objects k8slabels.Selector,
	info metricsprovider.CustomMetricInfo, selector k8slabels.Selector,
) (*custom_metrics.MetricValueList, error) {
	var began time.Time
	subject := requestSubject{info.GroupResource, namespace, "", info.Metric}
	list, err := waitForFirstValue(ctx, p, subject, func() (*custom_metrics.MetricValueList, error) {
		began = p.Now()
		if err := validateRequestBounds(subject, objects, selector); err != nil {
			return nil, err
		}
		return p.listMetricsOfSelector(ctx, namespace, objects, info, selector)
	})
	p.metrics.countFinishedRequest(customAPI, p.Now().Sub(began), err)
	return list, convertErrorToAPIStatus(ctx, subject, err)
}

// newCustomMetricRequest returns the request for the objects of d, with the resource and metric of info.
func (p *Provider) newCustomMetricRequest(info metricsprovider.CustomMetricInfo, d discovery.Demand, selector k8slabels.Selector) (metricRequest, error) {
	k, err := p.resolveResourceKind(info.GroupResource)
	if err != nil {
		return metricRequest{}, err
	}
	if err := k.checkResourceScope(d.Namespace, info.Metric); err != nil {
		return metricRequest{}, err
	}
	d.Resource, d.Metric = k.resource.String(), info.Metric
	r, err := p.Rules().LookupFor(d.Namespace, d.Resource, d.Metric)
	if err != nil {
		return metricRequest{}, err
	}
	if err := p.checkPodsListed(); err != nil {
		return metricRequest{}, err
	}
	req := metricRequest{
		kind: k, rule: r, now: p.Now(), demand: d,
		identifier: custom_metrics.MetricIdentifier{Name: info.Metric},
	}
	req.first = p.newFirstDemandCheck(req)
	if req.matchers, err = convertSelectorToMatchers(selector); err != nil {
		return metricRequest{}, err
	}
	if isSelectorRepeatable(selector) {
		req.identifier.Selector = convertToLabelSelector(selector)
	}
	return req, nil
}

func (p *Provider) getMetricOfNamedObject(ctx context.Context, name types.NamespacedName, info metricsprovider.CustomMetricInfo,
	selector k8slabels.Selector,
) (*custom_metrics.MetricValue, error) {
	req, err := p.newCustomMetricRequest(info, discovery.Demand{Namespace: name.Namespace, Object: name.Name}, selector)
	if err != nil {
		return nil, err
	}
	object := metric.Object{Namespace: name.Namespace, Name: name.Name}
	v, err := p.computeObjectMetric(ctx, req, object)
	err = p.recordRequestDemand(req, err)
	if n, isServed := p.findDueFallback(ctx, req, err); isServed {
		return new(p.newCustomMetricValue(&req, &metric.Value{Object: object, Value: req.rule.Fallback.Value, Time: req.now}, n)), nil
	}
	return v, err
}

// computeObjectMetric returns the value of an object: a pod's, of its pods, of the rule's targets, or by a label of the rule's result.
func (p *Provider) computeObjectMetric(ctx context.Context, req metricRequest, object metric.Object) (*custom_metrics.MetricValue, error) {
	switch {
	case req.kind == podKind:
		return p.getMetricOfPod(ctx, req, object)
	case req.rule.PerPod():
		return p.aggregateObjectFromPods(ctx, req, object)
	case req.rule.Series != nil:
		return p.evaluateObjectFromRuleTargets(ctx, req, object)
	default:
		return p.evaluateLabelledObject(ctx, req, object)
	}
}

// recordRequestDemand records the demand of a request with the error err, and returns err: as a firstReadError if the next
// scrapes may bring a value. Callers record after the response is ready, because until then the first request differs from
// later ones. It skips objects and rules that do not exist. Where a bound rejects the demand, no scrape will bring a value: the error
// is the bound.
func (p *Provider) recordRequestDemand(req metricRequest, err error) error {
	if err != nil && apistatus.KindOf(err) == metric.KindNotFound {
		return err
	}
	first := err != nil && isEmbeddedRule(req.rule) && mayNextScrapeAnswer(err) && req.first()
	var rejected error
	for _, d := range req.listRequestDemands() {
		rejected = errors.Join(rejected, p.Demands.Demand(d))
	}
	switch {
	case first && rejected != nil:
		return rejected
	case first:
		return firstReadError{err}
	default:
		return err
	}
}

func (p *Provider) listMetricsOfSelector(ctx context.Context, namespace string, objects k8slabels.Selector,
	info metricsprovider.CustomMetricInfo, selector k8slabels.Selector,
) (*custom_metrics.MetricValueList, error) {
	req, err := p.newCustomMetricRequest(info, discovery.Demand{Namespace: namespace, Selector: objects}, selector)
	if err != nil {
		return nil, err
	}
	if req.kind != podKind && (req.rule.PerPod() || req.rule.Series != nil || !objects.Empty()) {
		return nil, metric.Errorf(metric.KindInvalid, "%s cannot be selected here: ask for one by name", req.demand.Resource)
	}
	var list *custom_metrics.MetricValueList
	if req.kind == podKind {
		list, err = p.listMetricsOfPods(ctx, req, objects)
	} else {
		list, err = p.evaluateLabelledObjects(ctx, req)
	}
	return list, p.recordRequestDemand(req, err)
}

func (p *Provider) getMetricOfPod(ctx context.Context, req metricRequest, object metric.Object) (*custom_metrics.MetricValue, error) {
	pod, ok := p.Pods.Pod(object.Namespace, object.Name)
	if !ok {
		return nil, metric.Errorf(metric.KindNotFound, "there is no pod %q in namespace %q", object.Name, object.Namespace)
	}
	result, err := p.evaluatePods(ctx, req, []discovery.Pod{pod})
	if err != nil {
		return nil, err
	}
	if len(result.values) == 0 {
		return nil, result.newMissingPodValuesError("pod " + object.Name)
	}
	return new(p.newCustomMetricValue(&req, result.values[0], result.quantities[0])), nil
}

func (p *Provider) listMetricsOfPods(ctx context.Context, req metricRequest, selector k8slabels.Selector) (*custom_metrics.MetricValueList, error) {
	pods := p.Pods.Pods(req.demand.Namespace, selector)
	if len(pods) == 0 {
		return nil, newNoSelectedPodsError(req.demand.Namespace, selector)
	}
	req.group = true
	result, err := p.evaluatePods(ctx, req, pods)
	if err != nil {
		return nil, err
	}
	if len(result.values) == 0 {
		return nil, result.newMissingPodValuesError(formatCountedPods(pods))
	}
	return p.newCustomMetricValueList(req, result.values, result.quantities)
}

func newNoSelectedPodsError(namespace string, selector k8slabels.Selector) error {
	text := formatRequestSelector(selector)
	if text == "" {
		return metric.Errorf(metric.KindNotFound, "there is no pod in namespace %q", namespace)
	}
	return metric.Errorf(metric.KindNotFound, "no pod matches selector %q in namespace %q", text, namespace)
}
