// Package provider answers the custom and external metrics APIs from rules, and is the one place where a number that
// cannot be trusted is kept from the autoscaler.
package provider

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// Backend evaluates rules. It is safe for concurrent use and returns soon after ctx is done. The values are in any
// order, at most one for each object (or each set of labels, where the rule is external); the caller owns the
// slice but not the maps in it. With an error there are no values, never some of them; its kind and text
// reach the person who asked.
type Backend interface {
	Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error)
}

// Pods knows which pods there are, by informer. It is safe for concurrent use; the caller owns the slices.
type Pods interface {
	// Pods are the pods of the namespace that the selector matches, whatever their state.
	Pods(namespace string, selector k8slabels.Selector) []discovery.Pod
	// PodsOf are the pods that an object stands for: those that it selects, those of a namespace, those on a node.
	// Where there is no such object the error is a metric.KindNotFound.
	PodsOf(ctx context.Context, resource schema.GroupResource, object metric.Object) ([]discovery.Pod, error)
	// Pod is the pod of that name, if there is one.
	Pod(namespace, name string) (discovery.Pod, bool)
}

// Targets says why a pod is not scraped at all; the omission has no reason where the pod is a target.
type Targets interface {
	Explain(namespace, pod string) metric.Omission
}

// Scrapes says why a target has no value: what happened to its last scrape, as far as these families go. The
// omission has no reason where nothing is wrong with it.
type Scrapes interface {
	Diagnose(namespace, pod string, families []string) metric.Omission
}

// Demands learns what readers ask for, so that it is scraped and kept for a while.
type Demands interface {
	// Demand notes a read.
	Demand(discovery.Demand)
	// Demanded is what HPAs and readers ask for at present; the caller does not change it.
	Demanded() []discovery.Demand
}

// Rules say how metrics are computed. They do not change: others take their place, so that a listing is made anew
// only then. *rule.Set is one.
type Rules interface {
	// Lookup returns the rule for a metric of a resource, given as plural or plural.group. The kind of its error
	// is that of the answer: metric.KindNotFound where no rule serves the metric.
	Lookup(resource, metric string) (*rule.Rule, error)
	// External returns the rule for an external metric.
	External(metric string) (*rule.Rule, error)
	// Metrics are the metrics whose names are known without being asked for.
	Metrics() []rule.MetricInfo
}

// Deps are what a Provider works with. All are needed.
type Deps struct {
	// Rules returns the rules in force.
	Rules func() Rules
	// Backend returns the evaluator that rules call by that name.
	Backend func(name string) (Backend, bool)
	// Pods, Targets and Demands are discovery, Scrapes the embedded scraper.
	Pods    Pods
	Targets Targets
	Demands Demands
	Scrapes Scrapes
	// Mapper tells a resource's kind and scope.
	Mapper apimeta.RESTMapper
	// Now is the clock that the age of values is measured by.
	Now func() time.Time
}

// Options tune a Provider; the zero value is right.
type Options struct {
	// Registerer takes the self-metrics; nil means that they are not registered.
	Registerer prometheus.Registerer
}

// Provider implements both metrics APIs of the custom-metrics-apiserver library. It is safe for concurrent use and
// keeps no state of its own but the cached discovery documents, and since when external metrics with a fallback have no
// value.
type Provider struct {
	Deps
	metrics         *metrics
	fallbacks       fallbacks
	customMetrics   discoveryDocument[metricsprovider.CustomMetricInfo]
	externalMetrics discoveryDocument[metricsprovider.ExternalMetricInfo]
}

var _ metricsprovider.MetricsProvider = (*Provider)(nil)

// New returns a Provider of deps.
func New(deps Deps, opts Options) *Provider {
	p := &Provider{Deps: deps}
	p.metrics = newMetrics(opts.Registerer, func() float64 { return p.fallbacks.countServed(p.Now()) })
	return p
}

// ruleBackend returns the evaluator of a rule.
func (p *Provider) ruleBackend(r *rule.Rule) (Backend, error) {
	b, ok := p.Backend(r.Backend)
	if !ok {
		return nil, metric.Errorf(metric.KindInternal, "rule %q: there is no backend %q", r.Name, r.Backend)
	}
	return b, nil
}
