package rollout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCachedPodsAreSmall: of a pod as large as etcd takes, the cache keeps what a verification reads.
func TestCachedPodsAreSmall(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1_000_000)
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz"}}}
	ports := []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	got, err := stripCachedPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"x": long}},
		Spec: corev1.PodSpec{
			Volumes:    []corev1.Volume{{Name: long}},
			Containers: []corev1.Container{{Name: "app", Ports: ports, ReadinessProbe: probe, Args: []string{long}, Env: []corev1.EnvVar{{Name: "x", Value: long}}}},
		},
		Status: corev1.PodStatus{PodIP: "10.0.0.1"},
	})
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Ports: ports, ReadinessProbe: probe}}},
		Status:     corev1.PodStatus{PodIP: "10.0.0.1"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if other, err := stripCachedPod("x"); other != "x" || err != nil {
		t.Errorf("another object: %v, %v", other, err)
	}
}
