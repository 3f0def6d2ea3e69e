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

// permanentErrorPause is how long a target rests that the API server refuses to scale: somebody has to change something first.
const permanentErrorPause = 30 * time.Second

// timeNow is the time; everything below it takes the time as a parameter.
func timeNow() time.Time { return time.Now() }

// waitToReconcile waits for a reason to try again.
func (c *Controller) waitToReconcile(ctx context.Context, w *workloadWorker) {
	timer := time.NewTimer(permanentErrorPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
	}
}

// autoscalerKind are watched beside the targets, for those whose target is gone, and for a person's change.
var autoscalerKind = schema.GroupVersionKind{Group: autoscalingv2.GroupName, Version: "v2", Kind: "HorizontalPodAutoscaler"}

// watchHeldObjects wakes the worker of whatever is held, and of what changes while it is. stop ends the watches and waits for them.
func (c *Controller) watchHeldObjects(ctx context.Context) (stop func(), err error) {
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
			if err := c.watchHeldKind(factory, kind); err != nil {
				stop()
				return nil, err
			}
		}
		factory.Start(ctx.Done())
	}
	return stop, nil
}

func (c *Controller) watchHeldKind(factory dynamicinformer.DynamicSharedInformerFactory, kind schema.GroupVersionKind) error {
	mapping, err := c.Engine.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("find the API of %s: %w", kind.Kind, err)
	}
	see := func(object any) {
		if t, ok := workloadFromObject(object, kind); ok {
			c.wakeWorker(t)
		}
	}
	_, err = factory.ForResource(mapping.Resource).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, object any) { see(object) }, DeleteFunc: see,
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", mapping.Resource.Resource, err)
	}
	return nil
}

// workloadFromObject is the target that an object is, or points at.
func workloadFromObject(object any, kind schema.GroupVersionKind) (hold.Workload, bool) {
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
