package discovery

import (
	"fmt"
	"slices"
	"sync"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// reference names an object of the autoscaler's namespace by kind, as autoscalers do.
type reference struct {
	kind schema.GroupKind
	name string
}

// named is one metric that an autoscaler names, of a type that this API serves.
type named struct {
	source autoscalingv2.MetricSourceType // Pods, Object or External
	metric string
	// object is what an Object metric describes.
	object reference
	// selector is the metric selector in the text form of labels.Parse, so that named values compare by ==.
	selector string
}

// series is the metric selector; nil for none.
func (n named) series() labels.Selector {
	if n.selector == "" {
		return nil
	}
	s, _ := labels.Parse(n.selector) // the canonical form of a parsed selector, so it parses
	return s
}

// autoscaler is all that is kept of a HorizontalPodAutoscaler. It is never changed; a changed one is a new
// one. The status, which the controller rewrites with every read, is not part of it.
type autoscaler struct {
	namespace, name string
	target          reference
	metrics         []named
}

// GetObjectMeta gives client-go's temporary stores the key of the autoscaler.
func (a *autoscaler) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: a.namespace, Name: a.name}
}

var _ metav1.ObjectMetaAccessor = (*autoscaler)(nil)

func (a *autoscaler) key() metric.Object { return metric.Object{Namespace: a.namespace, Name: a.name} }

func (a *autoscaler) equal(o *autoscaler) bool {
	return a.key() == o.key() && a.target == o.target && slices.Equal(a.metrics, o.metrics)
}

// stripAutoscaler keeps of an API object what discovery reads.
func stripAutoscaler(obj any) (*autoscaler, error) {
	switch o := obj.(type) {
	case *autoscaler:
		return o, nil
	case *autoscalingv2.HorizontalPodAutoscaler:
		return newAutoscaler(o), nil
	default:
		return nil, fmt.Errorf("strip autoscaler: unexpected type %T", obj)
	}
}

func newAutoscaler(o *autoscalingv2.HorizontalPodAutoscaler) *autoscaler {
	a := &autoscaler{namespace: o.Namespace, name: o.Name, target: newReference(o.Spec.ScaleTargetRef)}
	for i := range o.Spec.Metrics {
		if n, ok := newNamed(&o.Spec.Metrics[i]); ok {
			a.metrics = append(a.metrics, n)
		}
	}
	return a
}

func newReference(r autoscalingv2.CrossVersionObjectReference) reference {
	// A version that does not parse leaves the group empty; the kind is then not found, which is reported.
	version, _ := schema.ParseGroupVersion(r.APIVersion)
	return reference{kind: schema.GroupKind{Group: version.Group, Kind: r.Kind}, name: r.Name}
}

// newNamed returns false for what metrics.k8s.io serves (Resource and ContainerResource).
func newNamed(spec *autoscalingv2.MetricSpec) (named, bool) {
	n := named{source: spec.Type}
	var id autoscalingv2.MetricIdentifier
	switch {
	case spec.Type == autoscalingv2.PodsMetricSourceType && spec.Pods != nil:
		id = spec.Pods.Metric
	case spec.Type == autoscalingv2.ObjectMetricSourceType && spec.Object != nil:
		id, n.object = spec.Object.Metric, newReference(spec.Object.DescribedObject)
	case spec.Type == autoscalingv2.ExternalMetricSourceType && spec.External != nil:
		id = spec.External.Metric
	default:
		return named{}, false
	}
	n.metric = id.Name
	if id.Selector != nil {
		// A selector that does not convert is refused where the metric is read, with the reason; here it
		// only tells demands apart.
		if selector, err := metav1.LabelSelectorAsSelector(id.Selector); err == nil {
			n.selector = selector.String()
		}
	}
	return n, true
}

// autoscalers holds the autoscalers. It is safe for concurrent use.
type autoscalers struct {
	mu  sync.RWMutex
	all map[metric.Object]*autoscaler // guarded by mu
}

func newAutoscalers() *autoscalers { return &autoscalers{all: map[metric.Object]*autoscaler{}} }

// list returns all autoscalers, sorted by namespace and name; the caller owns the slice.
func (s *autoscalers) list() []*autoscaler {
	s.mu.RLock()
	all := make([]*autoscaler, 0, len(s.all))
	for _, a := range s.all {
		all = append(all, a)
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b *autoscaler) int { return compareObjects(a.key(), b.key()) })
	return all
}

func (s *autoscalers) put(a *autoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[a.key()]; old != nil && old.equal(a) {
		return false
	}
	s.all[a.key()] = a
	return true
}

func (s *autoscalers) remove(a *autoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.all[a.key()]
	delete(s.all, a.key())
	return ok
}

func (s *autoscalers) replace(list []*autoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[metric.Object]*autoscaler, len(list))
	changed := false
	for _, a := range list {
		if old := s.all[a.key()]; old != nil && old.equal(a) {
			a = old
		} else {
			changed = true
		}
		next[a.key()] = a
	}
	changed = changed || len(next) != len(s.all)
	s.all = next
	return changed
}
