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

// hopeless is how long a target rests that the API server refuses to scale: somebody has to change something first.
const hopeless = 30 * time.Second

// now is the time; everything below it takes the time as a parameter.
func now() time.Time { return time.Now() }

// pause waits for a reason to try again.
func (c *Controller) pause(ctx context.Context, w *worker) {
	timer := time.NewTimer(hopeless)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
	}
}

// autoscalers are watched beside the targets, for those whose target is gone, and for a person's change.
var autoscalers = schema.GroupVersionKind{Group: autoscalingv2.GroupName, Version: "v2", Kind: "HorizontalPodAutoscaler"}

// watch wakes the worker of whatever is held, and of what changes while it is. stop ends the watches and waits for them.
func (c *Controller) watch(ctx context.Context) (stop func(), err error) {
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
		for _, kind := range append([]schema.GroupVersionKind{autoscalers}, c.Kinds...) {
			if err := c.follow(factory, kind); err != nil {
				stop()
				return nil, err
			}
		}
		factory.Start(ctx.Done())
	}
	return stop, nil
}

func (c *Controller) follow(factory dynamicinformer.DynamicSharedInformerFactory, kind schema.GroupVersionKind) error {
	mapping, err := c.Engine.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("find the API of %s: %w", kind.Kind, err)
	}
	see := func(object any) {
		if t, ok := seen(object, kind); ok {
			c.wake(t)
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

// seen is the target that an object is, or points at.
func seen(object any, kind schema.GroupVersionKind) (hold.Target, bool) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	o, ok := object.(*unstructured.Unstructured)
	if !ok {
		return hold.Target{}, false
	}
	if kind != autoscalers {
		return hold.Target{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}, true
	}
	ref, found, err := unstructured.NestedStringMap(o.Object, "spec", "scaleTargetRef")
	return hold.Target{APIVersion: ref["apiVersion"], Kind: ref["kind"], Namespace: o.GetNamespace(), Name: ref["name"]}, found && err == nil
}
