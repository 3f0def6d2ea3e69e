package kube

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestFindScaledObject: an owner or KEDA's label names the object, the owner first.
func TestFindScaledObject(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"scaledobject.keda.sh/name": "by-label"}
	for name, tc := range map[string]struct {
		meta metav1.ObjectMeta
		want string
	}{
		"none":              {metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, ""},
		"an owner":          {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, {APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "web"}}}, "web"},
		"a label":           {metav1.ObjectMeta{Labels: labels}, "by-label"},
		"both":              {metav1.ObjectMeta{Labels: labels, OwnerReferences: []metav1.OwnerReference{{APIVersion: "keda.sh/v1", Kind: "ScaledObject", Name: "web"}}}, "web"},
		"another API's one": {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "ScaledObject", Name: "web"}}}, ""},
	} {
		if got := FindScaledObject(&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: tc.meta}); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
