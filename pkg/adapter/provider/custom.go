package provider

import (
	"context"
	"sync"
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

// request is one read, understood: what is asked, by which rule, and when.
type request struct {
	kind     resourceKind // zero where external
	rule     *rule.Rule
	demand   discovery.Demand
	matchers []*labels.Matcher
	// identifier is the metric as the answer names it.
	identifier custom_metrics.MetricIdentifier
	now        time.Time
	// first tells that nobody asked for the same before.
	first func() bool
}

// GetMetricByName values one object: by the rule itself where that names objects of this resource, else from the
// pods that the object stands for. It implements metricsprovider.CustomMetricsProvider; errors are API statuses.
func (p *Provider) GetMetricByName(ctx context.Context, name types.NamespacedName, info metricsprovider.CustomMetricInfo,
	selector k8slabels.Selector,
) (*custom_metrics.MetricValue, error) {
	began := p.Now()
	v, err := p.valueByName(ctx, name, info, selector)
	p.metrics.countRead(customAPI, p.Now().Sub(began), err)
	return v, toAPIStatus(ctx, readSubject{info.GroupResource, name.Namespace, name.Name, info.Metric}, err)
}

// GetMetricBySelector values all pods that a selector matches, or all objects of another resource whose rule names
// them. It implements metricsprovider.CustomMetricsProvider; errors are API statuses.
func (p *Provider) GetMetricBySelector(ctx context.Context, namespace string, objects k8slabels.Selector,
	info metricsprovider.CustomMetricInfo, selector k8slabels.Selector,
) (*custom_metrics.MetricValueList, error) {
	began := p.Now()
	list, err := p.valuesBySelector(ctx, namespace, objects, info, selector)
	p.metrics.countRead(customAPI, p.Now().Sub(began), err)
	return list, toAPIStatus(ctx, readSubject{info.GroupResource, namespace, "", info.Metric}, err)
}

// newRequest understands a read of the objects of d, whose resource and metric are those of info.
func (p *Provider) newRequest(info metricsprovider.CustomMetricInfo, d discovery.Demand, selector k8slabels.Selector) (request, error) {
	k, err := p.kindFor(info.GroupResource)
	if err != nil {
		return request{}, err
	}
	if err := k.checkScope(d.Namespace, info.Metric); err != nil {
		return request{}, err
	}
	d.Resource, d.Metric = k.resource.String(), info.Metric
	r, err := p.Rules().Lookup(d.Resource, d.Metric)
	if err != nil {
		return request{}, err
	}
	q := request{
		kind: k, rule: r, now: p.Now(), demand: d,
		identifier: custom_metrics.MetricIdentifier{Name: info.Metric},
		first:      sync.OnceValue(func() bool { return !p.isDemanded(d) }),
	}
	if q.matchers, err = toLabelMatchers(selector); err != nil {
		return request{}, err
	}
	if len(q.matchers) > 0 {
		q.identifier.Selector = asLabelSelector(selector)
	}
	return q, nil
}

func (p *Provider) valueByName(ctx context.Context, name types.NamespacedName, info metricsprovider.CustomMetricInfo,
	selector k8slabels.Selector,
) (*custom_metrics.MetricValue, error) {
	q, err := p.newRequest(info, discovery.Demand{Namespace: name.Namespace, Object: name.Name}, selector)
	if err != nil {
		return nil, err
	}
	var v *custom_metrics.MetricValue
	object := metric.Object{Namespace: name.Namespace, Name: name.Name}
	switch {
	case q.kind == podKind:
		v, err = p.valueOfPod(ctx, q, object)
	case q.rule.PerPod():
		v, err = p.aggregateOverPods(ctx, q, object)
	default:
		v, err = p.valueFromObjectLabel(ctx, q, object)
	}
	p.rememberDemand(q, err)
	return v, err
}

// rememberDemand notes the demand of a read, after it was answered: until then the first read can be told from a later one.
// What does not exist is not remembered.
func (p *Provider) rememberDemand(q request, err error) {
	if err == nil || apistatus.KindOf(err) != metric.KindNotFound {
		p.Demands.Demand(q.demand)
	}
}

func (p *Provider) valuesBySelector(ctx context.Context, namespace string, objects k8slabels.Selector,
	info metricsprovider.CustomMetricInfo, selector k8slabels.Selector,
) (*custom_metrics.MetricValueList, error) {
	q, err := p.newRequest(info, discovery.Demand{Namespace: namespace, Selector: objects}, selector)
	if err != nil {
		return nil, err
	}
	if q.kind != podKind && (q.rule.PerPod() || !objects.Empty()) {
		return nil, metric.Errorf(metric.KindInvalid, "%s cannot be selected here: ask for one by name", q.demand.Resource)
	}
	var list *custom_metrics.MetricValueList
	if q.kind == podKind {
		list, err = p.valuesOfPods(ctx, q, objects)
	} else {
		list, err = p.valuesFromObjectLabel(ctx, q)
	}
	p.rememberDemand(q, err)
	return list, err
}

func (p *Provider) valueOfPod(ctx context.Context, q request, object metric.Object) (*custom_metrics.MetricValue, error) {
	pod, ok := p.Pods.Pod(object.Namespace, object.Name)
	if !ok {
		return nil, metric.Errorf(metric.KindNotFound, "there is no pod %q in namespace %q", object.Name, object.Namespace)
	}
	g, err := p.evaluatePodValues(ctx, q, []discovery.Pod{pod})
	if err != nil {
		return nil, err
	}
	if len(g.values) == 0 {
		return nil, g.missingValuesError("pod " + object.Name)
	}
	return new(p.newMetricValue(q, g.values[0], g.quantities[0])), nil
}

func (p *Provider) valuesOfPods(ctx context.Context, q request, selector k8slabels.Selector) (*custom_metrics.MetricValueList, error) {
	pods := p.Pods.Pods(q.demand.Namespace, selector)
	if len(pods) == 0 {
		return nil, noPodsError(q.demand.Namespace, selector)
	}
	g, err := p.evaluatePodValues(ctx, q, pods)
	if err != nil {
		return nil, err
	}
	if len(g.values) == 0 {
		return nil, g.missingValuesError(countedNoun(len(pods), "pod"))
	}
	return p.newMetricValueList(q, g.values, g.quantities)
}

func noPodsError(namespace string, selector k8slabels.Selector) error {
	text := formatSelector(selector)
	if text == "" {
		return metric.Errorf(metric.KindNotFound, "there is no pod in namespace %q", namespace)
	}
	return metric.Errorf(metric.KindNotFound, "no pod matches selector %q in namespace %q", text, namespace)
}
