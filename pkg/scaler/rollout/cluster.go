// Cluster: the reads and writes of an engine.

package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Reader reads a cluster, live or from caches. Its methods may be called concurrently. Callers do not change the results.
type Reader interface {
	// ListHolds lists the Holds of a namespace; of a Cluster, of all namespaces for an empty one.
	ListHolds(ctx context.Context, namespace string) ([]hold.Object, error)
	// GetScale returns the scale of a workload; nil: the workload does not exist. Its error is meta.NoKindMatchError for an unknown kind.
	GetScale(ctx context.Context, t hold.Workload) (*Scale, error)
	// ListAutoscalers lists the autoscalers of a namespace.
	ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error)
	// ListPods lists the pods of a namespace that the selector of a scale matches. An empty selector matches none: the scale does not say which
	// pods are the workload's.
	ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error)
}

// HoldFinder lists the holds of a workload and of their groups, and the holds of the namespace that IsShared. It is optional for a Reader: without it, a
// pass lists all holds of the namespace.
type HoldFinder interface {
	FindHolds(ctx context.Context, t hold.Workload) ([]hold.Object, error)
}

// Writer writes to a cluster. Every write names the version that was read, and conflicts with any later one. Its methods may be called
// concurrently, and return the object as the API server stored it.
type Writer interface {
	CreateHold(ctx context.Context, o *hold.Object) (*hold.Object, error)
	UpdateHold(ctx context.Context, o *hold.Object) (*hold.Object, error)
	UpdateHoldStatus(ctx context.Context, o *hold.Object) (*hold.Object, error)
	DeleteHold(ctx context.Context, o *hold.Object) error
	SetBounds(ctx context.Context, namespace string, a *Autoscaler, to hold.ReplicaBounds) (*Autoscaler, error)
	SetReplicas(ctx context.Context, t hold.Workload, s *Scale, n int32) (*Scale, error)
	// DropBoundsOwner and DropScaleOwner remove the scaler from the field managers.
	DropBoundsOwner(ctx context.Context, namespace string, a *Autoscaler) (*Autoscaler, error)
	DropScaleOwner(ctx context.Context, t hold.Workload, s *Scale) (*Scale, error)
	// WriteEvent writes an Event about a workload.
	WriteEvent(ctx context.Context, e *corev1.Event) error
}

// Cluster reads the API server itself, and writes to it.
type Cluster interface {
	Reader
	Writer
}

// keepUnfinishedPods returns the pods that are neither terminating nor finished.
func keepUnfinishedPods(all []corev1.Pod) (kept []corev1.Pod) {
	for i := range all {
		if p := &all[i]; p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			kept = append(kept, *p)
		}
	}
	return kept
}

// templateHashLabels are the labels of the pods of workloads that own them through ReplicaSets, which are called WORKLOAD-HASH.
var templateHashLabels = map[schema.GroupKind]string{
	{Group: "apps", Kind: "Deployment"}:     "pod-template-hash",
	{Group: "argoproj.io", Kind: "Rollout"}: "rollouts-pod-template-hash",
}

// keepWorkloadPods returns the pods of keepUnfinishedPods without other workloads' pods: selectors may overlap, as of a Deployment and its canary.
func keepWorkloadPods(all []corev1.Pod, t hold.Workload, uid types.UID) []corev1.Pod {
	return slices.DeleteFunc(keepUnfinishedPods(all), func(pod corev1.Pod) bool { return isForeignPod(&pod, t, uid) })
}

// isForeignPod reports whether the controller of a pod is another workload than the one with the UID. A pod without a controller, or with a
// controller of an unknown kind, is the workload's.
func isForeignPod(pod *corev1.Pod, t hold.Workload, uid types.UID) bool {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return false
	}
	own, kind := t.GroupVersionKind().GroupKind(), schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind()
	switch label := templateHashLabels[own]; {
	case label != "":
		return kind != schema.GroupKind{Group: "apps", Kind: "ReplicaSet"} || owner.Name != t.Name+"-"+pod.Labels[label]
	case own.Group == "apps" || own.Group == "" || own == kind: // Kubernetes' own kinds have their pods themselves
		return owner.UID != uid
	}
	return false
}

// scalesWorkload reports whether the autoscaler scales the workload; versions of one group are the same object.
func scalesWorkload(hpa *autoscalingv2.HorizontalPodAutoscaler, t hold.Workload) bool {
	ref := hpa.Spec.ScaleTargetRef
	group, err := schema.ParseGroupVersion(ref.APIVersion)
	return err == nil && ref.Kind == t.Kind && ref.Name == t.Name && group.Group == t.GroupVersionKind().Group
}

// errSeveralAutoscalers is trouble that a person must end.
var errSeveralAutoscalers = errors.New("undo each other: delete all but one")

// pickHeldAutoscaler returns the autoscaler of the workload; nil: there is none. Of several it returns the recorded one, else an error.
func pickHeldAutoscaler(all []*autoscalingv2.HorizontalPodAutoscaler, t hold.Workload, n hold.Numbers) (*Autoscaler, error) {
	var found []*autoscalingv2.HorizontalPodAutoscaler
	for _, hpa := range all {
		if hpa.DeletionTimestamp != nil || !scalesWorkload(hpa, t) {
			continue
		}
		if hpa.UID == n.AutoscalerUID && n.AutoscalerUID != "" {
			return convertHeldAutoscaler(hpa), nil
		}
		found = append(found, hpa)
	}
	switch {
	case len(found) > 1:
		return nil, newSeveralAutoscalersError(found)
	case len(found) == 0:
		return nil, nil //nolint:nilnil // no autoscaler is no error
	}
	return convertHeldAutoscaler(found[0]), nil
}

// newSeveralAutoscalersError names the autoscalers of a workload. Caches list them in a random order: unsorted, each pass would write the status anew.
func newSeveralAutoscalersError(found []*autoscalingv2.HorizontalPodAutoscaler) error {
	names := make([]string, len(found))
	for i, hpa := range found {
		names[i] = hpa.Name
	}
	slices.Sort(names)
	return fmt.Errorf("%d autoscalers scale it (%s) and %w", len(found), strings.Join(names, ", "), errSeveralAutoscalers)
}

// convertHeldAutoscaler returns the fields of an autoscaler that nextStep needs. The API's default of minReplicas is 1.
func convertHeldAutoscaler(hpa *autoscalingv2.HorizontalPodAutoscaler) *Autoscaler {
	a := &Autoscaler{
		Name: hpa.Name, UID: hpa.UID, Version: hpa.ResourceVersion, Active: true,
		Bounds: hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: hpa.Spec.MaxReplicas},
	}
	if hpa.Spec.MinReplicas != nil {
		a.Bounds.MinReplicas = *hpa.Spec.MinReplicas
	}
	for _, c := range hpa.Status.Conditions {
		switch c.Type {
		case autoscalingv2.ScalingActive:
			a.Active = c.Status != corev1.ConditionFalse // without the condition it may begin to
		case autoscalingv2.ScaledToZero:
			a.ScaledToZero = c.Status == corev1.ConditionTrue
		case autoscalingv2.AbleToScale, autoscalingv2.ScalingLimited:
		}
	}
	a.ScaledObject = kube.FindScaledObject(hpa)
	for _, m := range hpa.ManagedFields {
		if m.Manager == hold.Manager && m.Subresource == "" {
			a.Owned = true
			if m.Time != nil {
				a.BoundsSet = m.Time.Time
			}
		}
	}
	return a
}
