// The warm-up of a new replica: the demands of autoscalers that the next scrapes will serve, or serve more fully.

package provider

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// CheckWarm evaluates a demand as a request for it would. It returns an error if the embedded backend has no value so far, or lacks a live
// pod's, and the next scrapes may bring it. It returns nil for all other errors, because waiting does not end them, and for rules on
// other backends.
func (p *Provider) CheckWarm(ctx context.Context, d discovery.Demand) (err error) {
	group := schema.ParseGroupResource(d.Resource)
	subject := requestSubject{group, d.Namespace, d.Object, d.Metric}
	defer p.panics.Catch(ctx, &err, subject.listRequestLogKeys)
	var req metricRequest
	if d.External {
		req, err = p.newExternalMetricRequest(d.Namespace, d.Selector, d.Metric)
	} else {
		req, err = p.newCustomMetricRequest(metricsprovider.CustomMetricInfo{GroupResource: group, Metric: d.Metric}, d, d.MetricSelector)
	}
	if err != nil || !isEmbeddedRule(req.rule) {
		return nil //nolint:nilerr // a request gets the error, now as later
	}
	if err := p.evaluateStandingDemand(ctx, req); err != nil && mayNextScrapeAnswer(err) {
		return err
	}
	return nil
}

// evaluateStandingDemand evaluates the request of a demand. It returns an error where an autoscaler would get one, or would get the values of
// a part of the pods.
func (p *Provider) evaluateStandingDemand(ctx context.Context, req metricRequest) error {
	d := req.demand
	if d.External {
		_, err := p.evaluateExternalSeries(ctx, req, d.Namespace)
		return err
	}
	if d.Resource != podKind.resource.String() || d.Object != "" {
		_, err := p.computeObjectMetric(ctx, req, metric.Object{Namespace: d.Namespace, Name: d.Object})
		return err
	}
	if d.Selector == nil { // the workload's selector is not known
		return nil
	}
	pods := p.Pods.Pods(d.Namespace, d.Selector)
	req.group = true
	result, err := p.evaluatePods(ctx, req, pods)
	if err == nil && len(result.omitted) > 0 {
		err = newMissingObjectsError(formatCountedPods(pods), result.omitted)
	}
	return err
}
