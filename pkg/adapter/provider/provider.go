// Package provider answers each read of the custom and external metrics APIs: it finds the rule and the pods, rejects untrustworthy
// values, and explains every omission.
package provider

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// Backend evaluates rules. It is safe for concurrent use and returns soon after ctx is done. The values are in any
// order, at most one for each object (or each set of labels, where the rule is external). The caller owns the slice but
// not its maps. With an error no value is returned, never a part. The error's kind and text reach the user.
type Backend interface {
	Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error)
}

// Pods lists the pods of the cluster from an informer. It is safe for concurrent use; the caller owns the slices.
type Pods interface {
	// Pods returns the pods of the namespace that the selector matches, in any state.
	Pods(namespace string, selector k8slabels.Selector) []discovery.Pod
	// PodsOf returns the pods of an object: the pods that it selects, the pods of a namespace, or the pods on a node.
	// If the object does not exist, the error is a metric.KindNotFound.
	PodsOf(ctx context.Context, resource schema.GroupResource, object metric.Object) ([]discovery.Pod, error)
	// Pod returns the pod of the name and whether it exists.
	Pod(namespace, name string) (discovery.Pod, bool)
}

// Targets explains why a pod is not scraped at all; the omission of a target has no reason.
type Targets interface {
	Explain(namespace, pod string) metric.Omission
}

// Scrapes has the scraper's knowledge of a target. It is safe for concurrent use, and answers from memory.
type Scrapes interface {
	// Diagnose returns why a target has no value of these families. The reason is metric.ReasonAbsent only if a young page
	// proves it.
	Diagnose(namespace, pod string, families []string) metric.Omission
	// FamilyType returns the type of a family on the newest accepted page of a pod, and whether the page has the family.
	FamilyType(namespace, pod, family string) (model.MetricType, bool)
	// HeldCounts returns the sum of the counters of these families on the newest accepted page of a pod that wait for the next page.
	HeldCounts(namespace, pod string, families []string) float64
	// Decreases returns whether counters of one of these families go back again and again on the pages of a pod: no rate is right.
	Decreases(namespace, pod string, families []string) bool
	// RejectedSince returns the time since which one of these families is rejected on the pages of a pod, and whether its series ended
	// since, so that a value would have a part of the pod's counts. The time is zero if none is rejected.
	RejectedSince(namespace, pod string, families []string) (since time.Time, ended bool)
	// SilentSince returns the time of the newest accepted page of a pod after a failed scrape, and whether its series
	// ended since. The time is zero if the last scrape succeeded, or if no page was accepted.
	SilentSince(namespace, pod string) (page time.Time, ended bool)
	// CountsUnseen reports whether a pod whose page fails is ready, or was since its series ended, as far as the scraper knows: what it counts is
	// on no page.
	CountsUnseen(namespace, pod string) bool
	// UnseenPods returns the pods that were ready and stopped being so, or ended, before their first page, with the time in which they may
	// have served requests.
	UnseenPods() map[metric.Object]metric.TimeSpan
}

// Demands records the demands of requests, so the adapter scrapes and keeps their series for a while.
type Demands interface {
	// Demand records the demand of a request. The error is the reason why it is not scraped for, and has a kind.
	Demand(discovery.Demand) error
	// Demanded returns the current demands of HPAs and requests; the caller must not change the slice.
	Demanded() []discovery.Demand
}

// Rules define how metrics are computed. A value of Rules is immutable: a reload replaces it, and only then does a
// discovery document change. *rule.Set implements it.
type Rules interface {
	// Lookup returns the rule for a metric of a resource, given as plural or plural.group. Its error keeps its
	// kind in the response: metric.KindNotFound if no rule serves the metric.
	Lookup(resource, metric string) (*rule.Rule, error)
	// External returns the rule for an external metric.
	External(metric string) (*rule.Rule, error)
	// LookupFor and ExternalFor are the same for a request in a namespace; its rules are remembered apart from others'.
	LookupFor(namespace, resource, metric string) (*rule.Rule, error)
	ExternalFor(namespace, metric string) (*rule.Rule, error)
	// Metrics returns the metrics that rules name, without a demand.
	Metrics() []rule.MetricInfo
}

// Deps are the dependencies of a Provider. All but SyncError and Started are required.
type Deps struct {
	// Rules returns the active rules.
	Rules func() Rules
	// Backend returns the backend of the name and whether it exists.
	Backend func(name string) (Backend, bool)
	// Pods, Targets and Demands are discovery, Scrapes the embedded scraper.
	Pods    Pods
	Targets Targets
	Demands Demands
	Scrapes Scrapes
	// SyncError returns the reason why Pods has not listed the cluster's pods so far; nil once it has. Without it they are known.
	SyncError func() error
	// Mapper tells a resource's kind and scope.
	Mapper apimeta.RESTMapper
	// Now is the clock for the age of values.
	Now func() time.Time
	// Started is when the adapter started, by Now; zero: so long ago that its scrapes show each pod that answers.
	Started time.Time
}

// Options tune a Provider; the zero value is right.
type Options struct {
	// Registerer takes the self-metrics; nil registers none.
	Registerer prometheus.Registerer
	// ScrapeInterval is the time between two scrapes of a target; 0 means 2 s. See Reconfigure.
	ScrapeInterval time.Duration
}

// Provider implements both metrics APIs of the custom-metrics-apiserver library. It is safe for concurrent use. Its
// only state is the cached discovery documents and the absences of external metrics with a fallback.
type Provider struct {
	Deps
	scrapeInterval  atomic.Int64  // a time.Duration
	waitingReads    chan struct{} // holds an element for each read that waits
	metrics         *metrics
	panics          *panics.Guard
	fallbacks       fallbacks
	customMetrics   discoveryDocument[metricsprovider.CustomMetricInfo]
	externalMetrics discoveryDocument[metricsprovider.ExternalMetricInfo]
}

var _ metricsprovider.MetricsProvider = (*Provider)(nil)

// New returns a Provider with deps; it starts no goroutine.
func New(deps Deps, opts Options) *Provider {
	p := &Provider{Deps: deps, waitingReads: make(chan struct{}, maxWaitingReads)}
	p.Reconfigure(cmp.Or(opts.ScrapeInterval, 2*time.Second))
	p.metrics = newMetrics(opts.Registerer, func() float64 { return p.fallbacks.countActiveFallbacks(p.Now()) })
	p.panics = panics.NewGuard("read of a metric", p.metrics.panics)
	return p
}

// Reconfigure replaces the scrape interval, on which the waits for first scrapes depend.
func (p *Provider) Reconfigure(scrapeInterval time.Duration) {
	p.scrapeInterval.Store(int64(scrapeInterval))
}

func (p *Provider) getDemandScrapeInterval() time.Duration {
	return time.Duration(p.scrapeInterval.Load())
}

// checkPodsListed returns an error until the pods of the cluster are listed: no pod is then no proof of absence.
func (p *Provider) checkPodsListed() error {
	if p.SyncError == nil {
		return nil
	}
	if err := p.SyncError(); err != nil {
		return metric.Errorf(metric.KindUnavailable, "%s: the adapter has just started: %w", metric.ReasonWarmingUp.Text(), err)
	}
	return nil
}

func (p *Provider) getBackendOfRule(r *rule.Rule) (Backend, error) {
	b, ok := p.Backend(r.Backend)
	if !ok {
		return nil, metric.Errorf(metric.KindInternal, "rule %q: there is no backend %q", r.Name, r.Backend)
	}
	return b, nil
}
