// This file reduces HorizontalPodAutoscalers to their metrics and scale target, and stores them.

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

// objectReference names an object of the autoscaler's namespace by kind, as autoscalers do.
type objectReference struct {
	kind schema.GroupKind
	name string
}

// namedMetric is a metric in an autoscaler's spec, of a type that the custom or external metrics API serves.
type namedMetric struct {
	source autoscalingv2.MetricSourceType // Pods, Object or External
	metric string
	// object is the described object of an Object metric.
	object objectReference
	// selector is the metric selector in the text form of labels.Parse, so that named values compare by ==.
	selector string
}

// parseDemandedMetricSelector returns the metric selector; nil if the autoscaler sets no selector.
func (n namedMetric) parseDemandedMetricSelector() labels.Selector {
	if n.selector == "" {
		return nil
	}
	s, _ := labels.Parse(n.selector) // the text is a parsed selector's own, so it parses
	return s
}

// storedAutoscaler is the stored part of a HorizontalPodAutoscaler. It is immutable: a change replaces it. It leaves
// out the status, which the controller rewrites with every read.
type storedAutoscaler struct {
	namespace, name string
	scaleTarget     objectReference
	metrics         []namedMetric
}

// GetObjectMeta returns the autoscaler's key for client-go's temporary stores.
func (a *storedAutoscaler) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: a.namespace, Name: a.name}
}

var _ metav1.ObjectMetaAccessor = (*storedAutoscaler)(nil)

func (a *storedAutoscaler) discoveredAutoscalerKey() metric.Object {
	return metric.Object{Namespace: a.namespace, Name: a.name}
}

func (a *storedAutoscaler) equalDiscoveredAutoscaler(o *storedAutoscaler) bool {
	return a.discoveredAutoscalerKey() == o.discoveredAutoscalerKey() && a.scaleTarget == o.scaleTarget && slices.Equal(a.metrics, o.metrics)
}

// stripDiscoveredAutoscaler reduces an API object to the fields that discovery reads.
func stripDiscoveredAutoscaler(obj any) (*storedAutoscaler, error) {
	switch o := obj.(type) {
	case *storedAutoscaler:
		return o, nil
	case *autoscalingv2.HorizontalPodAutoscaler:
		return newDiscoveredAutoscaler(o), nil
	default:
		return nil, fmt.Errorf("strip autoscaler: unexpected type %T", obj)
	}
}

func newDiscoveredAutoscaler(o *autoscalingv2.HorizontalPodAutoscaler) *storedAutoscaler {
	a := &storedAutoscaler{namespace: o.Namespace, name: o.Name, scaleTarget: newDiscoveredObjectReference(o.Spec.ScaleTargetRef)}
	for i := range o.Spec.Metrics {
		if n, ok := newDemandedAutoscalerMetric(&o.Spec.Metrics[i]); ok {
			a.metrics = append(a.metrics, n)
		}
	}
	return a
}

func newDiscoveredObjectReference(r autoscalingv2.CrossVersionObjectReference) objectReference {
	// An invalid version leaves the group empty; mapping the kind then fails, and discovery reports that.
	version, _ := schema.ParseGroupVersion(r.APIVersion)
	return objectReference{kind: schema.GroupKind{Group: version.Group, Kind: r.Kind}, name: r.Name}
}

// newDemandedAutoscalerMetric returns false for Resource and ContainerResource metrics, which metrics.k8s.io serves.
func newDemandedAutoscalerMetric(spec *autoscalingv2.MetricSpec) (namedMetric, bool) {
	n := namedMetric{source: spec.Type}
	var id autoscalingv2.MetricIdentifier
	switch {
	case spec.Type == autoscalingv2.PodsMetricSourceType && spec.Pods != nil:
		id = spec.Pods.Metric
	case spec.Type == autoscalingv2.ObjectMetricSourceType && spec.Object != nil:
		id, n.object = spec.Object.Metric, newDiscoveredObjectReference(spec.Object.DescribedObject)
	case spec.Type == autoscalingv2.ExternalMetricSourceType && spec.External != nil:
		id = spec.External.Metric
	default:
		return namedMetric{}, false
	}
	n.metric = id.Name
	if id.Selector != nil {
		// The metrics API rejects an invalid selector when the metric is read, with the reason. Here the
		// selector only tells demands apart.
		if selector, err := metav1.LabelSelectorAsSelector(id.Selector); err == nil {
			n.selector = selector.String()
		}
	}
	return n, true
}

// autoscalerTable holds the autoscalers. It is safe for concurrent use.
type autoscalerTable struct {
	mu  sync.RWMutex
	all map[metric.Object]*storedAutoscaler // guarded by mu
}

func newDiscoveredAutoscalerTable() *autoscalerTable {
	return &autoscalerTable{all: map[metric.Object]*storedAutoscaler{}}
}

// listDiscoveredAutoscalers returns all autoscalers, sorted by namespace and name; the caller owns the slice.
func (s *autoscalerTable) listDiscoveredAutoscalers() []*storedAutoscaler {
	s.mu.RLock()
	all := make([]*storedAutoscaler, 0, len(s.all))
	for _, a := range s.all {
		all = append(all, a)
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b *storedAutoscaler) int {
		return compareDiscoveredObjects(a.discoveredAutoscalerKey(), b.discoveredAutoscalerKey())
	})
	return all
}

func (s *autoscalerTable) upsertDiscoveredObject(a *storedAutoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[a.discoveredAutoscalerKey()]; old != nil && old.equalDiscoveredAutoscaler(a) {
		return false
	}
	s.all[a.discoveredAutoscalerKey()] = a
	return true
}

func (s *autoscalerTable) removeDiscoveredObject(a *storedAutoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.all[a.discoveredAutoscalerKey()]
	delete(s.all, a.discoveredAutoscalerKey())
	return ok
}

func (s *autoscalerTable) replaceDiscoveredObjects(list []*storedAutoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[metric.Object]*storedAutoscaler, len(list))
	changed := false
	for _, a := range list {
		if old := s.all[a.discoveredAutoscalerKey()]; old != nil && old.equalDiscoveredAutoscaler(a) {
			a = old
		} else {
			changed = true
		}
		next[a.discoveredAutoscalerKey()] = a
	}
	changed = changed || len(next) != len(s.all)
	s.all = next
	return changed
}
