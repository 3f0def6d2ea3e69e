// The observation of a workload, its scale, its autoscaler and its pods.

package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// reconcilePass is one observation of a workload and the changes after it.
type reconcilePass struct {
	*Engine
	workload hold.Workload
	now      time.Time
	api      dynamic.ResourceInterface

	object *unstructured.Unstructured // the workload; nil: it does not exist
	record hold.Record
	// replacedReason describes how record differs from the workload's annotation; empty: they agree. See restoreRolloutRecord.
	replacedReason string
	scale          *unstructured.Unstructured
	hpa            *autoscalingv2.HorizontalPodAutoscaler // nil: no autoscaler scales the workload
	bounds         hold.BoundsRecord
	pods           []corev1.Pod // observed only if a hold waits for them

	desired       hold.DesiredScale
	unclosedHolds []string // IDs of ended holds with a gate still open
	holdToVerify  string
	nextPass      time.Time
	endedHolds    []hold.Hold
	pendingEvents []pendingEvent
	afterSave     []func() // Events and metrics after the next write of the record
}

// observeRolloutWorkload reads the workload, its scale and its autoscaler. It returns a pass without object if the workload does not exist.
func (e *Engine) observeRolloutWorkload(ctx context.Context, t hold.Workload, now time.Time) (*reconcilePass, error) {
	p := &reconcilePass{Engine: e, workload: t, now: now}
	api, err := e.resolveRolloutClient(t)
	if err != nil {
		return nil, err
	}
	p.api = api
	if err := p.findRolloutAutoscaler(ctx); err != nil {
		return nil, err
	}
	p.object, err = api.Get(ctx, t.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		p.object = nil
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get workload: %w", err)
	}
	if p.record, p.replacedReason, err = e.restoreRolloutRecord(ctx, p.object); err != nil {
		return nil, err
	}
	if p.scale, err = api.Get(ctx, t.Name, metav1.GetOptions{}, "scale"); err != nil {
		return nil, fmt.Errorf("get scale: %w", err)
	}
	return p, nil
}

// resolveRolloutClient returns the client of the workload's kind, in its namespace.
func (e *Engine) resolveRolloutClient(t hold.Workload) (dynamic.ResourceInterface, error) {
	kind := t.GroupVersionKind()
	mapping, err := e.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, fmt.Errorf("find the API of %s %s: %w", t.APIVersion, t.Kind, err)
	}
	return e.Dynamic.Resource(mapping.Resource).Namespace(t.Namespace), nil
}

// findRolloutAutoscaler finds the autoscaler that scales the workload. Two autoscalers are an error.
func (p *reconcilePass) findRolloutAutoscaler(ctx context.Context) error {
	list, err := p.Client.AutoscalingV2().HorizontalPodAutoscalers(p.workload.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list autoscalers: %w", err)
	}
	var names []string
	for i := range list.Items {
		if hpa := &list.Items[i]; scalesRolloutWorkload(hpa, p.workload) && hpa.DeletionTimestamp == nil {
			names = append(names, hpa.Name)
			p.hpa = hpa
		}
	}
	switch {
	case len(names) > 1:
		return fmt.Errorf("%d autoscalers scale it (%s) and undo each other: delete all but one", len(names), strings.Join(names, ", "))
	case p.hpa == nil:
		return nil
	}
	p.bounds, err = hold.ParseBoundsRecord(p.hpa.Annotations[hold.BoundsAnnotation])
	if err != nil {
		return fmt.Errorf("autoscaler %s: %w", p.hpa.Name, err)
	}
	return nil
}

// scalesRolloutWorkload reports whether the autoscaler scales the workload; versions of one group are the same object.
func scalesRolloutWorkload(hpa *autoscalingv2.HorizontalPodAutoscaler, t hold.Workload) bool {
	ref := hpa.Spec.ScaleTargetRef
	group, err := schema.ParseGroupVersion(ref.APIVersion)
	return err == nil && ref.Kind == t.Kind && ref.Name == t.Name && group.Group == t.GroupVersionKind().Group
}

// rolloutAutoscalerBounds returns the autoscaler's current bounds. The API's default of minReplicas is 1.
func rolloutAutoscalerBounds(hpa *autoscalingv2.HorizontalPodAutoscaler) hold.ReplicaBounds {
	l := hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: hpa.Spec.MaxReplicas}
	if hpa.Spec.MinReplicas != nil {
		l.MinReplicas = *hpa.Spec.MinReplicas
	}
	return l
}

// rolloutSpecReplicas returns the replicas of the scale; a scale without the field has 0.
func (p *reconcilePass) rolloutSpecReplicas() int32 {
	n, _, _ := unstructured.NestedInt64(p.scale.Object, "spec", "replicas")
	return int32(n) //nolint:gosec // the API's own field is an int32
}

// listRolloutPods lists the workload's pods without the terminating and finished ones.
func (p *reconcilePass) listRolloutPods(ctx context.Context) error {
	selector, _, _ := unstructured.NestedString(p.scale.Object, "status", "selector")
	if selector == "" {
		return fmt.Errorf("scale of %s has no selector yet, so its pods cannot be listed", p.workload)
	}
	list, err := p.Client.CoreV1().Pods(p.workload.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	p.pods = p.pods[:0]
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
			p.pods = append(p.pods, pod)
		}
	}
	return nil
}

// buildRolloutResult returns the state of the workload after the pass.
func (p *reconcilePass) buildRolloutResult() Result {
	r := Result{
		Record: p.record, Held: len(p.record.Holds) > 0 || p.bounds != (hold.BoundsRecord{}), NextPass: p.nextPass, HoldToVerify: p.holdToVerify, Gone: p.object == nil,
		EndedHolds: p.endedHolds,
	}
	if p.scale != nil {
		r.Replicas = p.rolloutSpecReplicas()
	}
	if p.hpa != nil {
		r.Autoscaler, r.Bounds = p.hpa.Name, rolloutAutoscalerBounds(p.hpa)
	}
	for i := range p.pods {
		if isRolloutPodReady(&p.pods[i]) {
			r.ReadyPods++
		}
	}
	return r
}
