// This file hands the autoscalers, whole, to a component that follows them.

package discovery

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// AutoscalerObserver follows the autoscalers of the cluster. Its methods are called one after the other, must return soon, and may keep
// parts of the objects.
type AutoscalerObserver interface {
	// ObserveAutoscaler is called for a new autoscaler, and for each change of one.
	ObserveAutoscaler(*autoscalingv2.HorizontalPodAutoscaler)
	// ForgetAutoscaler is called for a deleted autoscaler.
	ForgetAutoscaler(namespace, name string)
	// RetainAutoscalers is called with a new list: all others are deleted.
	RetainAutoscalers(exists func(namespace, name string) bool)
}

// observedAutoscalers is the table of autoscalers with its observer.
type observedAutoscalers struct {
	*watchedAutoscalerTable
	observer AutoscalerObserver // nil: none
}

// stripObservedAutoscaler reduces an API object, and hands the whole object to the observer at once: a list of whole objects may be larger
// than the adapter's memory.
func (o observedAutoscalers) stripObservedAutoscaler(obj any) (*storedAutoscaler, error) {
	a, err := stripAutoscaler(obj)
	if whole, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler); ok && err == nil && o.observer != nil {
		o.observer.ObserveAutoscaler(whole)
	}
	return a, err
}

func (o observedAutoscalers) removeWatchedObject(a *storedAutoscaler) bool {
	if o.observer != nil {
		o.observer.ForgetAutoscaler(a.namespace, a.name)
	}
	return o.watchedAutoscalerTable.removeWatchedObject(a)
}

func (o observedAutoscalers) replaceWatchedObjects(list []*storedAutoscaler) bool {
	exist := make(map[metric.Object]bool, len(list))
	for _, a := range list {
		exist[a.autoscalerKey()] = true
	}
	if o.observer != nil {
		o.observer.RetainAutoscalers(func(namespace, name string) bool { return exist[metric.Object{Namespace: namespace, Name: name}] })
	}
	return o.watchedAutoscalerTable.replaceWatchedObjects(list)
}

// ScaleTargetSelector returns the pod selector of an autoscaler's scale target; nil while it is unknown.
func (d *Discovery) ScaleTargetSelector(namespace, name string) labels.Selector {
	a := d.hpas.getStoredAutoscaler(metric.Object{Namespace: namespace, Name: name})
	if a == nil {
		return nil
	}
	resource, err := d.resolver.mapDemandedKind(a.scaleTarget.kind)
	if err != nil {
		return nil
	}
	return d.selectors.peekSelector(objectKey{resource, namespace, a.scaleTarget.name}).selector
}

// getStoredAutoscaler returns the autoscaler of a key, or nil.
func (s *watchedAutoscalerTable) getStoredAutoscaler(key metric.Object) *storedAutoscaler {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[key]
}
