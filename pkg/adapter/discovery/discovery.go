// This file has the exported type Discovery and its methods.

// Package discovery watches pods and HorizontalPodAutoscalers, resolves and caches pod selectors, and plans the scrape targets for the
// metrics that autoscalers and readers demand.
package discovery

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Rules maps a metric to the families that its rule reads. It must be safe for concurrent use, and answer from memory.
type Rules interface {
	// Families returns the families to scrape for a metric of a resource (plural or plural.group). The resource of
	// an external metric is empty. The result is empty if no rule or a remote backend serves the metric.
	Families(resource, metric string, external bool) []string
	// Namespaces returns the namespaces that an external metric reads when a client asks for it in the
	// namespace asked: at least one, and a single empty name for all namespaces.
	Namespaces(metric, asked string) []string
	// TargetSources returns the sources of a metric of objects if its rule has targets of its own; none otherwise.
	TargetSources(resource, metric string) []string
}

// Options configures a Discovery. All fields are optional.
type Options struct {
	// WithoutAutoscalers switches the watch on autoscalers off, so that only readers create demand. It is for rules
	// without targets, and for a service account without the right to list autoscalers.
	WithoutAutoscalers bool
	// AllowHostNetwork makes pods with loopback addresses targets, and pods on the node's network at every port. Otherwise the latter
	// are targets only at ports that they declare, and that belong to no service of the node.
	AllowHostNetwork bool
	// Retention is how long Pods and PodsOf return a deleted pod; 0 means 80 s. It should be the store's.
	Retention time.Duration
	// Now is the clock of samples; nil means time.Now. Times of pods that lie ahead of it are moved back to it.
	Now func() time.Time
	// Observer follows the autoscalers; nil: none does.
	Observer AutoscalerObserver
	// Registerer registers the self-metrics; nil registers no metrics.
	Registerer prometheus.Registerer
}

// Discovery watches pods and HorizontalPodAutoscalers, and derives the targets from them. All methods are safe for
// concurrent use. Except PodsOf, all read methods answer from memory.
type Discovery struct {
	clients   Clients
	resolver  *podSelectorResolver
	selectors *podSelectorCache
	readers   *readerDemands
	pods      *watchedPodTable
	hpas      *watchedAutoscalerTable
	metrics   *metrics

	podReflector       *reflectorStore[*storedPod]
	hpaReflector       *reflectorStore[*storedAutoscaler]
	withoutAutoscalers bool // do not watch autoscalers
	endpoints          endpointPolicy

	updateRequested chan struct{}                  // holds one token when the targets may have changed
	replanRequested atomic.Bool                    // set when the plan may have changed too, not only the pods
	rules           atomic.Pointer[Rules]          // nil before SetRules
	ruleTargets     atomic.Pointer[[]RuleTarget]   // nil before SetRuleTargets
	state           atomic.Pointer[plannedTargets] // never nil
	ready           atomic.Bool                    // set after the first targets were published

	mu        sync.Mutex
	listeners []func([]metric.Target) // guarded by mu
}

// New returns a Discovery that is idle until Run.
func New(clients Clients, opts Options) *Discovery {
	d := &Discovery{
		clients: clients, resolver: newPodSelectorResolver(clients), readers: newReaderDemands(),
		pods: newWatchedPodTable(), hpas: newWatchedAutoscalerTable(), updateRequested: make(chan struct{}, 1),
	}
	if opts.Now != nil {
		d.pods.sampleNow = opts.Now
	}
	d.SetRetention(cmp.Or(opts.Retention, defaultRetention))
	d.metrics = newMetrics(opts.Registerer, d.pods)
	d.selectors = newPodSelectorCache(guardSelectorLookup(d.metrics.panics, d.resolver.fetchPodSelector))
	d.selectors.onChange = d.requestDemandReplan
	d.selectors.onLookup = func(err error) { d.metrics.selectorLookups.WithLabelValues(classifySelectorLookup(err)).Inc() }
	d.endpoints = endpointPolicy{allowHostNetwork: opts.AllowHostNetwork}
	d.podReflector = &reflectorStore[*storedPod]{
		resource: "pods", strip: guardStrip(d.metrics.panics, d.endpoints.stripPod, d.endpoints.stripPod), sink: d.pods, onChange: d.requestTargetUpdate,
		onError: d.metrics.watchErrors.WithLabelValues("pods").Inc,
	}
	observed := observedAutoscalers{d.hpas, opts.Observer}
	d.hpaReflector = &reflectorStore[*storedAutoscaler]{
		resource: "horizontalpodautoscalers.autoscaling", strip: guardStrip(d.metrics.panics, observed.stripObservedAutoscaler, stripAutoscaler),
		stripDeleted: stripAutoscaler, sink: observed, onChange: d.requestDemandReplan,
		onError: d.metrics.watchErrors.WithLabelValues("horizontalpodautoscalers").Inc,
	}
	d.hpaReflector.synced, d.withoutAutoscalers = opts.WithoutAutoscalers, opts.WithoutAutoscalers
	d.state.Store(&plannedTargets{})
	return d
}

// Run watches until ctx ends, and returns nil when all its goroutines have ended. Call it once.
func (d *Discovery) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { watchClusterPods(ctx, d.podReflector, d.clients.Kube) })
	if !d.withoutAutoscalers {
		wg.Go(func() { watchAutoscalers(ctx, d.hpaReflector, d.clients.Kube) })
	}
	wg.Go(func() { d.selectors.runSelectorLookups(ctx) })
	d.runTargetLoop(ctx)
	return nil
}

// HasSynced reports whether pods and autoscalers are listed and the first targets are published.
func (d *Discovery) HasSynced() bool { return d.ready.Load() }

// SyncError returns the reason why HasSynced is false; nil once it is true.
func (d *Discovery) SyncError() error {
	if d.HasSynced() {
		return nil
	}
	var waiting []error
	for _, m := range []interface{ checkReflectorSynced() error }{d.podReflector, d.hpaReflector} {
		if err := m.checkReflectorSynced(); err != nil {
			waiting = append(waiting, err)
		}
	}
	if len(waiting) == 0 {
		return errors.New("the selectors of scale targets are not known yet")
	}
	return errors.Join(waiting...)
}

// DescribeFailures returns a line for each list or watch that failed last, for /readyz?verbose. It is no reason to be not ready: the objects of before
// stay, their pods are scraped, and no other replica would do better with the same rights.
func (d *Discovery) DescribeFailures() []string {
	var lines []string
	for _, m := range []interface{ describeReflectorFailure() string }{d.podReflector, d.hpaReflector} {
		if line := m.describeReflectorFailure(); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// OnTargets registers f, which Discovery calls with all targets, sorted by namespace and name. The first call comes
// with the first targets, even if the list is empty; later calls follow each change. Calls never overlap, and come at
// most ten times a second. f must not change the slice and must return soon. Call OnTargets before Run.
func (d *Discovery) OnTargets(f func([]metric.Target)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners = append(d.listeners, f)
}

// SetRules replaces the rules. Before the first call no pod is a target.
func (d *Discovery) SetRules(r Rules) {
	d.rules.Store(&r)
	d.requestDemandReplan()
}

// SetRetention sets how long Pods and PodsOf return a deleted pod.
func (d *Discovery) SetRetention(retention time.Duration) {
	d.pods.setDepartedRetention(retention)
}

// Demand records a reader's demand for a metric. Discovery remembers it for ten minutes, unless an autoscaler has the same demand,
// which lasts as long as the autoscaler. The error says which bound leaves the demand out; its kind is KindInvalid if an autoscaler
// names too many metrics, else KindUnavailable.
func (d *Discovery) Demand(demand Demand) error {
	key := demand.newDemandKey()
	if _, ok := d.state.Load().standing[key]; ok {
		return nil
	}
	err := d.hpas.rejectDemandedMetric(demand)
	if err != nil {
		return err
	}
	fresh, err := d.readers.rememberReaderDemand(key, demand, time.Now())
	if err != nil {
		d.metrics.rejectedDemands.Inc()
	}
	if fresh {
		d.requestDemandReplan()
	}
	return err
}

// Demanded returns the demands of autoscalers and readers, sorted, without duplicates, object demands before external
// demands. For a Pods metric, Selector is the scale target's selector, nil while it is unknown. The slice is shared and
// must not be changed; every change makes a new slice. It is empty before Run.
func (d *Discovery) Demanded() []Demand { return d.state.Load().demanded }

// Targets returns the targets in the order of OnTargets.
func (d *Discovery) Targets() []metric.Target { return d.state.Load().targets }

// Pods returns the pods that the selector matches (nil: all) in a namespace (empty: all namespaces), live or not, and
// departed pods for the retention, sorted by name. A deleted pod is left out as soon as a pod has its name. The caller
// owns the slice.
func (d *Discovery) Pods(namespace string, selector labels.Selector) []Pod {
	return d.pods.listScopedPods(podScope{namespace: namespace, selector: selector}, time.Now())
}

// Pod returns the pod with the name; false means that no such pod exists.
func (d *Discovery) Pod(namespace, name string) (Pod, bool) {
	p := d.pods.getStoredPod(metric.Object{Namespace: namespace, Name: name})
	if p == nil {
		return Pod{}, false
	}
	return p.Pod, true
}

// PodsOf returns the pods of an object as Pods does. A namespace or a node has the pods in or on it,
// a service the pods of its selector, and any other object the pods of its scale subresource's selector or its
// spec.selector. PodsOf waits for the API server if the cache has no selector for the object. The cache keeps a
// selector for ten minutes after its last use and refreshes it meanwhile. The error is metric.KindNotFound if the
// object does not exist, KindInvalid if it selects no pods, KindUnavailable if the lookup fails.
func (d *Discovery) PodsOf(ctx context.Context, resource schema.GroupResource, object metric.Object) ([]Pod, error) {
	if object.Name == "" { // an empty scope would be every pod of the cluster
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: no name is given", resource)
	}
	switch resource.String() {
	case resourceNamespaces:
		return d.pods.listScopedPods(podScope{namespace: object.Name}, time.Now()), nil
	case resourceNodes:
		return d.pods.listScopedPods(podScope{node: object.Name}, time.Now()), nil
	case resourcePods:
		if p, ok := d.Pod(object.Namespace, object.Name); ok {
			return []Pod{p}, nil
		}
		return nil, metric.Errorf(metric.KindNotFound, "pod %s does not exist", object)
	}
	selector, err := d.selectors.getCachedSelector(ctx, objectKey{resource, object.Namespace, object.Name}, time.Now())
	if err != nil {
		return nil, err
	}
	return d.pods.listScopedPods(podScope{namespace: object.Namespace, selector: selector}, time.Now()), nil
}

// Explain returns the reason why a pod is not scraped, and the remedy. The zero Reason means that the pod is a target,
// so that only the scraper knows more.
func (d *Discovery) Explain(namespace, pod string) metric.Omission {
	key := metric.Object{Namespace: namespace, Name: pod}
	p := d.pods.getStoredPod(key)
	if p == nil {
		return newGonePodOmission(key)
	}
	return d.state.Load().explainUntargetedPod(p)
}

// requestDemandReplan makes the target loop rebuild the plan and compute the targets soon.
func (d *Discovery) requestDemandReplan() {
	d.replanRequested.Store(true)
	d.requestTargetUpdate()
}

// requestTargetUpdate makes the target loop compute the targets soon, from the current plan: most changes concern pods alone.
func (d *Discovery) requestTargetUpdate() {
	select {
	case d.updateRequested <- struct{}{}:
	default:
	}
}
