// Package discovery knows which pods exist, which of them are targets, and what is demanded of them.
package discovery

import (
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

// Rules says what a metric needs. It must be safe for concurrent use, and answer from memory.
type Rules interface {
	// Families returns the families to scrape for a metric of a resource (plural or plural.group), or for an
	// external one, whose resource is empty. There are none where no rule serves the metric, and where a
	// remote backend does.
	Families(resource, metric string, external bool) []string
	// Namespace is the one whose series an external metric is computed from when it is asked for in a namespace;
	// empty for all.
	Namespace(metric, asked string) string
}

// Options are optional.
type Options struct {
	// WithoutAutoscalers leaves the autoscalers alone: what readers ask for is all the demand there is. It is for rules
	// that need no targets, and a service account without the right to list autoscalers.
	WithoutAutoscalers bool
	// Registerer takes the self-metrics; nil means that they are not registered.
	Registerer prometheus.Registerer
}

// Discovery watches pods and HorizontalPodAutoscalers, and derives the targets from them. All methods are
// safe for concurrent use; those that read answer from memory unless they say otherwise.
type Discovery struct {
	clients   Clients
	resolver  *selectorResolver
	selectors *selectorCache
	readers   *readerDemands
	pods      *podTable
	hpas      *autoscalerTable
	metrics   *metrics

	podReflector       *reflectorStore[*storedPod]
	hpaReflector       *reflectorStore[*storedAutoscaler]
	withoutAutoscalers bool // no autoscalers are watched

	updateRequested chan struct{}                  // holds one token when the targets may have changed
	replanRequested atomic.Bool                    // the plan may have changed too, not only the pods
	rules           atomic.Pointer[Rules]          // nil before SetRules
	state           atomic.Pointer[targetSnapshot] // never nil
	ready           atomic.Bool                    // the first targets were handed on

	mu        sync.Mutex
	listeners []func([]metric.Target) // guarded by mu
}

// New returns a Discovery that does nothing before Run.
func New(clients Clients, opts Options) *Discovery {
	d := &Discovery{
		clients: clients, resolver: newSelectorResolver(clients), readers: newReaderDemands(),
		pods: newPodTable(), hpas: newAutoscalerTable(), updateRequested: make(chan struct{}, 1),
	}
	d.metrics = newMetrics(opts.Registerer, func() int { count, _ := d.pods.countPods(); return count })
	d.selectors = newSelectorCache(d.resolver.fetchSelector)
	d.selectors.onChange = d.requestReplan
	d.selectors.onLookup = func(err error) { d.metrics.selectorLookups.WithLabelValues(lookupOutcome(err)).Inc() }
	d.podReflector = &reflectorStore[*storedPod]{
		resource: "pods", strip: stripPod, sink: d.pods, onChange: d.requestUpdate,
		onError: d.metrics.watchErrors.WithLabelValues("pods").Inc,
	}
	d.hpaReflector = &reflectorStore[*storedAutoscaler]{
		resource: "horizontalpodautoscalers.autoscaling", strip: stripAutoscaler, sink: d.hpas, onChange: d.requestReplan,
		onError: d.metrics.watchErrors.WithLabelValues("horizontalpodautoscalers").Inc,
	}
	d.hpaReflector.synced, d.withoutAutoscalers = opts.WithoutAutoscalers, opts.WithoutAutoscalers
	d.state.Store(&targetSnapshot{})
	return d
}

// Run watches until ctx ends, and returns nil when all that it started has ended. It may be called once.
func (d *Discovery) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { watchPods(ctx, d.podReflector, d.clients.Kube) })
	if !d.withoutAutoscalers {
		wg.Go(func() { watchAutoscalers(ctx, d.hpaReflector, d.clients.Kube) })
	}
	wg.Go(func() { d.selectors.runLookups(ctx) })
	d.runTargetLoop(ctx)
	return nil
}

// HasSynced reports whether pods and autoscalers are known and the first targets were handed on.
func (d *Discovery) HasSynced() bool { return d.ready.Load() }

// SyncError says what HasSynced waits for; nil once it is true.
func (d *Discovery) SyncError() error {
	if d.HasSynced() {
		return nil
	}
	var waiting []error
	for _, m := range []interface{ pending() error }{d.podReflector, d.hpaReflector} {
		if err := m.pending(); err != nil {
			waiting = append(waiting, err)
		}
	}
	if len(waiting) == 0 {
		return errors.New("the selectors of scale targets are not known yet")
	}
	return errors.Join(waiting...)
}

// OnTargets has f called with all targets, sorted by namespace and name, once when the first are known (also
// if there are none) and then whenever they change, at most ten times a second and never twice at a time. f
// must not change the slice and must return soon. To be called before Run.
func (d *Discovery) OnTargets(f func([]metric.Target)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners = append(d.listeners, f)
}

// SetRules makes r what says which families a metric needs. Before the first call nothing is a target.
func (d *Discovery) SetRules(r Rules) {
	d.rules.Store(&r)
	d.requestReplan()
}

// Demand notes that a reader asks for a metric now. It is remembered for ten minutes.
func (d *Discovery) Demand(demand Demand) {
	fresh, full := d.readers.recordDemand(demand, time.Now())
	if full {
		d.metrics.rejectedDemands.Inc()
	}
	if fresh {
		d.requestReplan()
	}
}

// Demanded returns what autoscalers and readers demand, sorted, without duplicates, those of objects before
// the external ones. For a Pods metric, Selector is that of the scale target, nil while it is not known. The
// slice is shared and must not be changed; it is another one after every change. It is filled by Run.
func (d *Discovery) Demanded() []Demand { return d.state.Load().demanded }

// Targets returns the targets, as OnTargets has them.
func (d *Discovery) Targets() []metric.Target { return d.state.Load().targets }

// Pods returns the pods of a namespace (empty: of all) that the selector (nil: all) selects, live or not,
// sorted by name. The caller owns the slice.
func (d *Discovery) Pods(namespace string, selector labels.Selector) []Pod {
	return d.pods.listPods(podScope{namespace: namespace, selector: selector})
}

// Pod returns the pod of that name; false means that there is none.
func (d *Discovery) Pod(namespace, name string) (Pod, bool) {
	p := d.pods.getPod(metric.Object{Namespace: namespace, Name: name})
	if p == nil {
		return Pod{}, false
	}
	return p.Pod, true
}

// PodsOf returns the pods of an object, live or not, sorted by name: those in a namespace, those on a node,
// those that a service selects, and those that the scale subresource or spec.selector of anything else
// selects. It waits for the API server where an object was not asked for lately; selectors are remembered
// for ten minutes after the last use and kept fresh meanwhile. The error is a metric.KindNotFound where the
// object does not exist, KindInvalid where it selects no pods, KindUnavailable where that is not known.
func (d *Discovery) PodsOf(ctx context.Context, resource schema.GroupResource, object metric.Object) ([]Pod, error) {
	if object.Name == "" { // an empty scope would be every pod of the cluster
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: no name is given", resource)
	}
	switch resource.String() {
	case resourceNamespaces:
		return d.pods.listPods(podScope{namespace: object.Name}), nil
	case resourceNodes:
		return d.pods.listPods(podScope{node: object.Name}), nil
	case resourcePods:
		if p, ok := d.Pod(object.Namespace, object.Name); ok {
			return []Pod{p}, nil
		}
		return nil, metric.Errorf(metric.KindNotFound, "pod %s does not exist", object)
	}
	selector, err := d.selectors.getSelector(ctx, objectKey{resource, object.Namespace, object.Name}, time.Now())
	if err != nil {
		return nil, err
	}
	return d.pods.listPods(podScope{namespace: object.Namespace, selector: selector}), nil
}

// Explain says why a pod is not scraped, and how to change that. The zero Reason means that it is a target,
// so that only the scraper knows more.
func (d *Discovery) Explain(namespace, pod string) metric.Omission {
	key := metric.Object{Namespace: namespace, Name: pod}
	p := d.pods.getPod(key)
	if p == nil {
		return metric.Omission{Object: key, Reason: metric.ReasonTerminating, Detail: "pod is gone"}
	}
	return d.state.Load().explainPod(p)
}

// requestReplan has the plan made anew and the targets computed soon.
func (d *Discovery) requestReplan() {
	d.replanRequested.Store(true)
	d.requestUpdate()
}

// requestUpdate has the targets computed soon, from the plan as it is: most changes are of pods alone.
func (d *Discovery) requestUpdate() {
	select {
	case d.updateRequested <- struct{}{}:
	default:
	}
}
