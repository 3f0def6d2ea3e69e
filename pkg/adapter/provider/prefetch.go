package provider

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// warmPause is the time between two rounds: autoscalers read as often.
	warmPause = 15 * time.Second
	// maxWarming bounds the evaluations under way at one time, of which only the first of each question takes long.
	maxWarming = 8
)

// RunPrefetch evaluates what autoscalers demand of remote backends, until ctx ends, and returns nil. So a backend's memory has
// what an autoscaler will ask before it does, also of a replica that another one's connections keep from being asked:
// when that one goes, or the server does, the values are there. The embedded backend follows demand by itself.
func (p *Provider) RunPrefetch(ctx context.Context) error {
	tick := time.NewTicker(warmPause)
	defer tick.Stop()
	for {
		p.prefetchDemands(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prefetchDemands does one round.
func (p *Provider) prefetchDemands(ctx context.Context) {
	var round errgroup.Group
	round.SetLimit(maxWarming)
	for _, d := range p.Demands.Demanded() {
		if !d.Standing || ctx.Err() != nil {
			continue
		}
		round.Go(func() error {
			if err := p.prefetch(ctx, d); err != nil {
				klog.FromContext(ctx).V(2).Info("Metric not evaluated ahead of its autoscaler", "metric", d.Metric,
					"resource", d.Resource, "namespace", d.Namespace, "err", err)
			}
			return nil // told to whoever asks
		})
	}
	_ = round.Wait() // no function of it fails
}

// prefetch evaluates a demand as a read of it would.
func (p *Provider) prefetch(ctx context.Context, d discovery.Demand) error {
	q := request{demand: d, now: p.Now()}
	var err error
	if d.External {
		q.rule, err = p.Rules().External(d.Metric)
	} else {
		q.rule, err = p.Rules().Lookup(d.Resource, d.Metric)
	}
	if err != nil || isEmbedded(q.rule) {
		return err
	}
	if d.External {
		d.MetricSelector = d.Selector
	}
	if q.matchers, err = toLabelMatchers(d.MetricSelector); err != nil {
		return err
	}
	pods, err := p.podsFor(ctx, q)
	switch {
	case err != nil:
	case d.External:
		_, err = p.evaluateBackend(ctx, q, d.Namespace, nil)
	case !q.rule.PerPod():
		_, err = p.evaluateBackend(ctx, q, d.Namespace, []string{d.Object})
	default:
		_, err = p.evaluateByNamespace(ctx, q, pods)
	}
	return err
}

// podsFor are the pods whose values a demand is for, if its rule values pods.
func (p *Provider) podsFor(ctx context.Context, q request) ([]discovery.Pod, error) {
	d := q.demand
	switch {
	case d.External || !q.rule.PerPod():
		return nil, nil
	case d.Resource != podKind.resource.String():
		return p.Pods.PodsOf(ctx, schema.ParseGroupResource(d.Resource), metric.Object{Namespace: d.Namespace, Name: d.Object})
	case d.Object != "":
		pod, ok := p.Pods.Pod(d.Namespace, d.Object)
		if !ok {
			return nil, nil
		}
		return []discovery.Pod{pod}, nil
	case d.Selector == nil: // of a scale target that is not known yet
		return nil, nil
	}
	return p.Pods.Pods(d.Namespace, d.Selector), nil
}
