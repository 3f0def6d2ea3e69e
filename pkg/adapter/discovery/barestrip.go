package discovery

// A panic over the texts of one object costs this object alone.

import (
	"context"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// guardStrip returns strip with a way out: an object over which it panics is stripped by bare, with its names and UID alone. client-go would let
// the panic end the program, again after each start, in both replicas, for as long as the object exists.
func guardStrip[T any](guard *panics.Guard, strip, bare func(obj any) (T, error)) func(obj any) (T, error) {
	return func(obj any) (T, error) {
		stripped, fault, err := stripCaught(guard, strip, obj)
		if fault != nil {
			return bare(newBareObject(obj))
		}
		return stripped, err
	}
}

// stripCaught calls strip, and returns its panic as fault.
func stripCaught[T any](guard *panics.Guard, strip func(obj any) (T, error), obj any) (stripped T, fault, err error) {
	defer guard.Catch(context.Background(), &fault, func() []any {
		if o, ok := obj.(metav1.Object); ok {
			return []any{"namespace", o.GetNamespace(), "name", o.GetName()}
		}
		return nil
	})
	stripped, err = strip(obj)
	return stripped, nil, err
}

// newBareObject returns a pod or an autoscaler with nothing but its names and UID: no selector matches it, and it has no metrics.
func newBareObject(obj any) any {
	switch o := obj.(type) {
	case *corev1.Pod:
		return &corev1.Pod{ObjectMeta: newBareMeta(o)}
	case *autoscalingv2.HorizontalPodAutoscaler:
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: newBareMeta(o)}
	}
	return obj
}

func newBareMeta(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()}
}
