package kube

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FindScaledObject returns the name of the KEDA object among the owners of an autoscaler, which reverts every change of it; empty: there is none.
func FindScaledObject(owners []metav1.OwnerReference) string {
	for _, owner := range owners {
		if owner.Kind == "ScaledObject" && strings.HasPrefix(owner.APIVersion, "keda.sh/") {
			return owner.Name
		}
	}
	return ""
}
