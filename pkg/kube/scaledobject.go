package kube

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scaledObjectLabel is the label with which KEDA marks its autoscalers. A restored backup has it, and no owner.
const scaledObjectLabel = "scaledobject.keda.sh/name"

// FindScaledObject returns the name of the KEDA object that an autoscaler belongs to, which reverts every change of it; empty: there is none.
func FindScaledObject(autoscaler metav1.Object) string {
	for _, owner := range autoscaler.GetOwnerReferences() {
		if owner.Kind == "ScaledObject" && strings.HasPrefix(owner.APIVersion, "keda.sh/") {
			return owner.Name
		}
	}
	return autoscaler.GetLabels()[scaledObjectLabel]
}
