package controller

import (
	"context"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// permanentErrorPause is the delay after an error that a retry cannot mend: a person must change the workload or the rights first.
const permanentErrorPause = 30 * time.Second

// controllerTimeNow returns the time; all callees take the time as a parameter.
func controllerTimeNow() time.Time { return time.Now() }

// waitForControllerWakeUp waits for a wake-up or permanentErrorPause.
func (c *Controller) waitForControllerWakeUp(ctx context.Context, w *workloadWorker) {
	timer := time.NewTimer(permanentErrorPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
	}
}

// autoscalerKind is watched beside the workloads' kinds: for autoscalers of deleted workloads, and for users' changes.
var autoscalerKind = schema.GroupVersionKind{Group: autoscalingv2.GroupName, Version: "v2", Kind: "HorizontalPodAutoscaler"}

// watchControllerObjects watches held objects, and wakes their workers on each change. stop ends the watches and waits for them.
func (c *Controller) watchControllerObjects(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var factories []dynamicinformer.DynamicSharedInformerFactory
	stop = func() {
		cancel()
		for _, f := range factories {
			f.Shutdown()
		}
	}
	for _, namespace := range c.Namespaces {
		factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(c.Engine.Dynamic, 0, namespace, func(o *metav1.ListOptions) {
			o.LabelSelector = rollout.HeldSelector
		})
		factories = append(factories, factory)
		for _, kind := range append([]schema.GroupVersionKind{autoscalerKind}, c.Kinds...) {
			if err := c.watchControllerKind(factory, kind); err != nil {
				stop()
				return nil, err
			}
		}
		factory.Start(ctx.Done())
	}
	return stop, nil
}

// watchControllerKind adds the handler of one kind to the factory.
func (c *Controller) watchControllerKind(factory dynamicinformer.DynamicSharedInformerFactory, kind schema.GroupVersionKind) error {
	mapping, err := c.Engine.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("find the API of %s: %w", kind.Kind, err)
	}
	onChange := func(object any) {
		if t, ok := controllerObjectWorkload(object, kind); ok {
			c.wakeControllerWorker(t)
		}
	}
	_, err = factory.ForResource(mapping.Resource).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: onChange, UpdateFunc: func(_, object any) { onChange(object) }, DeleteFunc: onChange,
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", mapping.Resource.Resource, err)
	}
	return nil
}

// controllerObjectWorkload returns the workload: the object itself, or the scale target of an autoscaler.
func controllerObjectWorkload(object any, kind schema.GroupVersionKind) (hold.Workload, bool) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	o, ok := object.(*unstructured.Unstructured)
	if !ok {
		return hold.Workload{}, false
	}
	if kind != autoscalerKind {
		return hold.Workload{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}, true
	}
	ref, found, err := unstructured.NestedStringMap(o.Object, "spec", "scaleTargetRef")
	return hold.Workload{APIVersion: ref["apiVersion"], Kind: ref["kind"], Namespace: o.GetNamespace(), Name: ref["name"]}, found && err == nil
}
