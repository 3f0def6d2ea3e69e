// Evaluation of demands on remote backends ahead of the requests.

package provider

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// prefetchInterval is the time between two rounds; autoscalers read at the same interval.
	prefetchInterval = 15 * time.Second
	// maxPrefetching bounds the concurrent evaluations; only the first evaluation of a query takes long.
	maxPrefetching = 8
)

// RunPrefetch evaluates the demands of autoscalers on remote backends until ctx ends, and returns nil. So a backend has the
// values before an autoscaler requests them. This also holds for a replica without requests, because kube-apiserver keeps
// its connections to another: when the other replica or the server goes, the values are there. The embedded backend
// follows demand by itself.
func (p *Provider) RunPrefetch(ctx context.Context) error {
	tick := time.NewTicker(prefetchInterval)
	defer tick.Stop()
	for {
		p.prefetchStandingDemands(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prefetchStandingDemands evaluates each standing demand once.
func (p *Provider) prefetchStandingDemands(ctx context.Context) {
	var round errgroup.Group
	round.SetLimit(maxPrefetching)
	for _, d := range p.Demands.Demanded() {
		if !d.Standing || ctx.Err() != nil {
			continue
		}
		round.Go(func() error {
			if err := p.prefetchDemandedMetric(ctx, d); err != nil {
				klog.FromContext(ctx).V(2).Info("Prefetch failed", "metric", d.Metric,
					"resource", d.Resource, "namespace", d.Namespace, "err", err)
			}
			return nil // a request gets the error itself
		})
	}
	_ = round.Wait() // every function returns nil
}

// prefetchDemandedMetric evaluates a demand as a request for it would.
func (p *Provider) prefetchDemandedMetric(ctx context.Context, d discovery.Demand) (err error) {
	req := metricRequest{demand: d, now: p.Now()}
	subject := requestSubject{schema.ParseGroupResource(d.Resource), d.Namespace, d.Object, d.Metric}
	defer p.panics.Catch(ctx, &err, subject.listRequestLogKeys)
	err = validateRequestBounds(subject, d.Selector, d.MetricSelector)
	if err != nil {
		return err
	}
	if d.External {
		req.rule, err = p.Rules().ExternalFor(d.Namespace, d.Metric)
	} else {
		req.rule, err = p.Rules().LookupFor(d.Namespace, d.Resource, d.Metric)
	}
	if err != nil || isEmbeddedRule(req.rule) {
		return err
	}
	if d.External {
		d.MetricSelector = d.Selector
	}
	if req.matchers, err = convertSelectorToMatchers(d.MetricSelector); err != nil {
		return err
	}
	pods, err := p.listPodsToPrefetch(ctx, req)
	switch {
	case err != nil:
	case d.External:
		_, err = p.evaluateRuleOnBackend(ctx, req, d.Namespace, nil)
	case !req.rule.PerPod():
		_, err = p.evaluateRuleOnBackend(ctx, req, d.Namespace, []string{d.Object})
	default:
		_, err = p.evaluateRuleByNamespace(ctx, req, slices.DeleteFunc(pods, func(pod discovery.Pod) bool { return !pod.Live }))
	}
	return err
}

// listPodsToPrefetch returns the pods of a demand, or none if the rule has no value for each pod.
func (p *Provider) listPodsToPrefetch(ctx context.Context, req metricRequest) ([]discovery.Pod, error) {
	d := req.demand
	switch {
	case d.External || !req.rule.PerPod():
		return nil, nil
	case d.Resource != podKind.resource.String():
		return p.Pods.PodsOf(ctx, schema.ParseGroupResource(d.Resource), metric.Object{Namespace: d.Namespace, Name: d.Object})
	case d.Object != "":
		pod, ok := p.Pods.Pod(d.Namespace, d.Object)
		if !ok {
			return nil, nil
		}
		return []discovery.Pod{pod}, nil
	case d.Selector == nil: // the workload's selector is not known yet
		return nil, nil
	}
	return p.Pods.Pods(d.Namespace, d.Selector), nil
}
