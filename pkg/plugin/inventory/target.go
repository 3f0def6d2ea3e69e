package inventory

import (
	"cmp"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// appsGroup is the API group of Deployments and StatefulSets.
const appsGroup = "apps"

// IsAppsTarget reports whether a reference means a Deployment or a StatefulSet of Kubernetes itself, and not a kind of the same name in
// another API group.
func IsAppsTarget(ref autoscalingv2.CrossVersionObjectReference) bool {
	return (ref.Kind == "Deployment" || ref.Kind == "StatefulSet") && targetGroup(ref) == appsGroup
}

// LacksAppsGroup reports whether a reference to a kind of the group apps names no group, or the removed group extensions. The HPA
// controller finds no such kind.
func LacksAppsGroup(ref autoscalingv2.CrossVersionObjectReference) bool {
	gv, _ := schema.ParseGroupVersion(ref.APIVersion)
	isApps := ref.Kind == "Deployment" || ref.Kind == "StatefulSet" || ref.Kind == "ReplicaSet"
	return isApps && (gv.Group == "" || gv.Group == "extensions")
}

// targetGroup returns the API group that a reference means.
func targetGroup(ref autoscalingv2.CrossVersionObjectReference) string {
	if LacksAppsGroup(ref) {
		return appsGroup
	}
	gv, _ := schema.ParseGroupVersion(ref.APIVersion)
	return gv.Group
}

// isTarget reports whether a reference means the workload.
func (w *Workload) isTarget(ref autoscalingv2.CrossVersionObjectReference) bool {
	return w.Kind == ref.Kind && w.Name == ref.Name && cmp.Or(w.Group, appsGroup) == targetGroup(ref)
}
