// This file reduces HorizontalPodAutoscalers to their metrics and scale target, and stores them.

package discovery

import (
	"fmt"
	"slices"
	"sync"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

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

// storedAutoscaler is the stored part of a HorizontalPodAutoscaler. It is immutable: a change replaces it. It leaves
// out the status, which the controller rewrites with every read.
type storedAutoscaler struct {
	namespace, name string
	scaleTarget     objectReference
	metrics         []namedMetric
	uid             types.UID
	rejected        rejectedMetrics
}

// GetObjectMeta returns the autoscaler's key for client-go's temporary stores.
func (a *storedAutoscaler) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: a.namespace, Name: a.name}
}

var _ metav1.ObjectMetaAccessor = (*storedAutoscaler)(nil)

func (a *storedAutoscaler) autoscalerKey() metric.Object {
	return metric.Object{Namespace: a.namespace, Name: a.name}
}

func (a *storedAutoscaler) equalAutoscaler(o *storedAutoscaler) bool {
	return a.autoscalerKey() == o.autoscalerKey() && a.scaleTarget == o.scaleTarget && slices.Equal(a.metrics, o.metrics) &&
		a.uid == o.uid && a.rejected.equalRejectedMetrics(o.rejected)
}

// stripAutoscaler reduces an API object to the fields that discovery reads.
func stripAutoscaler(obj any) (*storedAutoscaler, error) {
	switch o := obj.(type) {
	case *storedAutoscaler:
		return o, nil
	case *autoscalingv2.HorizontalPodAutoscaler:
		return newStoredAutoscaler(o), nil
	default:
		return nil, fmt.Errorf("strip autoscaler: unexpected type %T", obj)
	}
}

// newStoredAutoscaler returns the stored part of an autoscaler, with its first maxAutoscalerMetrics metrics.
func newStoredAutoscaler(o *autoscalingv2.HorizontalPodAutoscaler) *storedAutoscaler {
	a := &storedAutoscaler{namespace: o.Namespace, name: o.Name, uid: o.UID, scaleTarget: newAutoscalerObjectReference(o.Spec.ScaleTargetRef)}
	size := 0
	for i := range o.Spec.Metrics {
		spec := &o.Spec.Metrics[i]
		if len(a.metrics) >= maxAutoscalerMetrics {
			a.rejected.addRejectedMetric(spec, rejectedByCount)
			continue
		}
		n, ok := newDemandedMetric(spec)
		if !ok {
			continue
		}
		if size += n.demandedMetricBytes(); len(n.metric) > maxMetricNameBytes || size > maxAutoscalerBytes {
			a.rejected.addRejectedMetric(spec, rejectedByBytes)
			continue
		}
		a.metrics = append(a.metrics, n)
	}
	return a
}

func newAutoscalerObjectReference(r autoscalingv2.CrossVersionObjectReference) objectReference {
	// An invalid version leaves the group empty; mapping the kind then fails, and discovery reports that.
	version, _ := schema.ParseGroupVersion(r.APIVersion)
	return boundObjectReference(objectReference{kind: schema.GroupKind{Group: version.Group, Kind: r.Kind}, name: r.Name})
}

// newDemandedMetric returns false for Resource and ContainerResource metrics, which metrics.k8s.io serves.
func newDemandedMetric(spec *autoscalingv2.MetricSpec) (namedMetric, bool) {
	n := namedMetric{source: spec.Type}
	id, ok := demandedMetricIdentifier(spec)
	if !ok {
		return namedMetric{}, false
	}
	if spec.Type == autoscalingv2.ObjectMetricSourceType {
		n.object = newAutoscalerObjectReference(spec.Object.DescribedObject)
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

// demandedMetricIdentifier returns the name and selector of a metric of the custom or external metrics API.
func demandedMetricIdentifier(spec *autoscalingv2.MetricSpec) (id autoscalingv2.MetricIdentifier, ok bool) {
	switch {
	case spec.Type == autoscalingv2.PodsMetricSourceType && spec.Pods != nil:
		return spec.Pods.Metric, true
	case spec.Type == autoscalingv2.ObjectMetricSourceType && spec.Object != nil:
		return spec.Object.Metric, true
	case spec.Type == autoscalingv2.ExternalMetricSourceType && spec.External != nil:
		return spec.External.Metric, true
	default:
		return id, false
	}
}

// watchedAutoscalerTable holds the autoscalers. It is safe for concurrent use.
type watchedAutoscalerTable struct {
	mu  sync.RWMutex
	all map[metric.Object]*storedAutoscaler // guarded by mu
	// rejecting holds the names of the autoscalers with rejected metrics, by namespace; guarded by mu.
	rejecting map[string]map[string]*storedAutoscaler
}

func newWatchedAutoscalerTable() *watchedAutoscalerTable {
	return &watchedAutoscalerTable{all: map[metric.Object]*storedAutoscaler{}, rejecting: map[string]map[string]*storedAutoscaler{}}
}

// listStoredAutoscalers returns all autoscalers, sorted by namespace and name; the caller owns the slice.
func (s *watchedAutoscalerTable) listStoredAutoscalers() []*storedAutoscaler {
	s.mu.RLock()
	all := make([]*storedAutoscaler, 0, len(s.all))
	for _, a := range s.all {
		all = append(all, a)
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b *storedAutoscaler) int {
		return a.autoscalerKey().Compare(b.autoscalerKey())
	})
	return all
}

func (s *watchedAutoscalerTable) upsertWatchedObject(a *storedAutoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[a.autoscalerKey()]; old != nil && old.equalAutoscaler(a) {
		return false
	}
	s.all[a.autoscalerKey()] = a
	s.indexRejectedMetrics(a)
	return true
}

func (s *watchedAutoscalerTable) removeWatchedObject(a *storedAutoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.all[a.autoscalerKey()]
	delete(s.all, a.autoscalerKey())
	s.forgetRejectedMetrics(a)
	return ok
}

func (s *watchedAutoscalerTable) replaceWatchedObjects(list []*storedAutoscaler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[metric.Object]*storedAutoscaler, len(list))
	changed := false
	for _, a := range list {
		if old := s.all[a.autoscalerKey()]; old != nil && old.equalAutoscaler(a) {
			a = old
		} else {
			changed = true
		}
		next[a.autoscalerKey()] = a
	}
	changed = changed || len(next) != len(s.all)
	s.all = next
	clear(s.rejecting)
	for _, a := range next {
		s.indexRejectedMetrics(a)
	}
	return changed
}
