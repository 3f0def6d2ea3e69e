// The scale targets of autoscalers, and why a target can never be scaled.

package inventory

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// appsGroup is the API group of Deployments and StatefulSets.
const appsGroup = "apps"

// IsAppsTarget reports whether a reference means a Deployment or a StatefulSet of Kubernetes itself, and not a kind of the same name in
// another API group.
func IsAppsTarget(ref autoscalingv2.CrossVersionObjectReference) bool {
	return (ref.Kind == "Deployment" || ref.Kind == "StatefulSet") && scaleTargetGroup(ref) == appsGroup
}

// LacksAppsGroup reports whether a reference to a kind of the group apps names no group, or the removed group extensions. The HPA
// controller finds no such kind.
func LacksAppsGroup(ref autoscalingv2.CrossVersionObjectReference) bool {
	gv, _ := schema.ParseGroupVersion(ref.APIVersion)
	isApps := ref.Kind == "Deployment" || ref.Kind == "StatefulSet" || ref.Kind == "ReplicaSet"
	return isApps && (gv.Group == "" || gv.Group == "extensions")
}

// scalableKinds are the kinds of the group apps that an autoscaler can scale.
var scalableKinds = []string{"Deployment", "StatefulSet", "ReplicaSet"}

// maxKindTypos is the number of edits up to which another kind is meant.
const maxKindTypos = 2

// SpellScalableKind returns the kind of the group apps that another spelling means, such as deployment, Deployments or Deploymnet; else nothing.
func SpellScalableKind(kind string) string {
	for _, right := range scalableKinds {
		if kind != right && strict.EditDistance(strings.ToLower(kind), strings.ToLower(right)) <= maxKindTypos {
			return right
		}
	}
	return ""
}

// unscalableKinds are kinds of Kubernetes with pods and without a scale, by group.
var unscalableKinds = map[string][]string{"": {"Pod"}, appsGroup: {"DaemonSet"}, "batch": {"Job", "CronJob"}}

// LacksScale reports whether a reference names a kind of Kubernetes that no autoscaler can scale, or a kind that exists only in another spelling.
func LacksScale(ref autoscalingv2.CrossVersionObjectReference) bool {
	group := scaleTargetGroup(ref)
	isMistyped := SpellScalableKind(ref.Kind) != "" && (group == appsGroup || group == "" || group == "extensions")
	return isMistyped || slices.Contains(unscalableKinds[group], ref.Kind)
}

// TargetFault is the reason why an autoscaler can never scale its target.
type TargetFault string

// The faults. An empty one means that the target can be scaled, or that its scale could not be read.
const (
	TargetAbsent       TargetFault = "does not exist, or its kind has no scale" // one answer of kube-apiserver for custom resources
	TargetKindUnknown  TargetFault = "is of a kind that the cluster does not serve"
	TargetWithoutScale TargetFault = "has no scale: an autoscaler cannot scale this kind"
)

// TargetFaultOf returns why the target of an autoscaler, of another kind than Deployment and StatefulSet, can never be scaled.
func (i *Inventory) TargetFaultOf(hpa *autoscalingv2.HorizontalPodAutoscaler) TargetFault {
	err := i.scaleErrors[hpa.Namespace+"/"+hpa.Name]
	var unknown *meta.NoKindMatchError
	switch {
	case LacksScale(hpa.Spec.ScaleTargetRef) && SpellScalableKind(hpa.Spec.ScaleTargetRef.Kind) == "":
		return TargetWithoutScale
	case errors.As(err, &unknown):
		return TargetKindUnknown
	case !apierrors.IsNotFound(err):
		return ""
	case strings.Contains(err.Error(), "could not find the requested resource"): // kube-apiserver does not know the path
		return TargetWithoutScale
	}
	return TargetAbsent
}

// noteScaleError keeps the error of reading the scale of an autoscaler's target.
func (i *Inventory) noteScaleError(hpa *autoscalingv2.HorizontalPodAutoscaler, err error) {
	if i.scaleErrors == nil {
		i.scaleErrors = map[string]error{}
	}
	i.scaleErrors[hpa.Namespace+"/"+hpa.Name] = err
}

// scaleTargetGroup returns the API group that a reference means.
func scaleTargetGroup(ref autoscalingv2.CrossVersionObjectReference) string {
	if LacksAppsGroup(ref) {
		return appsGroup
	}
	gv, _ := schema.ParseGroupVersion(ref.APIVersion)
	return gv.Group
}

// isScaleTargetOf reports whether a reference means the workload.
func (w *Workload) isScaleTargetOf(ref autoscalingv2.CrossVersionObjectReference) bool {
	return w.Kind == ref.Kind && w.Name == ref.Name && cmp.Or(w.Group, appsGroup) == scaleTargetGroup(ref)
}
