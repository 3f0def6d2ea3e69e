package rollout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestCachedPodsAreSmall: of a pod as large as etcd takes, the cache keeps what a verification reads.
func TestCachedPodsAreSmall(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1_000_000)
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz"}}}
	ports := []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	got, err := stripHeldPod(&corev1.Pod{
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
	for name, strip := range map[string]cache.TransformFunc{
		"pod": stripHeldPod, "autoscaler": stripHeldAutoscaler, "workload": stripHeldWorkload, "hold": stripCachedHold,
	} {
		if other, err := strip("x"); other != "x" || err != nil {
			t.Errorf("%s: another object: %v, %v", name, other, err)
		}
	}
}

// measureCachedObject returns the bytes of an object as text.
func measureCachedObject(t *testing.T, object any) int {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}

// TestHugeObjectsAreCachedSmall: whatever part of an object is as large as etcd takes, the cache keeps little of it.
func TestHugeObjectsAreCachedSmall(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1_000_000)
	labels, owners, ports, metrics, policies := map[string]string{}, []metav1.OwnerReference{}, []corev1.ContainerPort{}, []autoscalingv2.MetricSpec{}, []autoscalingv2.HPAScalingPolicy{}
	for i := range 10_000 {
		labels[fmt.Sprint("label-", i)] = "x"
		owners = append(owners, metav1.OwnerReference{Kind: "ConfigMap", Name: fmt.Sprint(i)})
		ports = append(ports, corev1.ContainerPort{Name: fmt.Sprint("p", i), ContainerPort: int32(i)})
		metrics = append(metrics, autoscalingv2.MetricSpec{Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: fmt.Sprint("metric_", i)}}})
		policies = append(policies, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: int32(i), PeriodSeconds: 1})
	}
	fields := []metav1.ManagedFieldsEntry{{Manager: hold.Manager, FieldsV1: metav1.NewFieldsV1(`{"x":"` + long + `"}`)}, {Manager: long}}
	meta := func(change func(m *metav1.ObjectMeta)) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", ResourceVersion: "2"}
		change(&m)
		return m
	}
	for name, m := range map[string]metav1.ObjectMeta{
		"annotations":    meta(func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{"x": long} }),
		"own annotation": meta(func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{domain.ScalerPrefix + "surge": long} }),
		"labels":         meta(func(m *metav1.ObjectMeta) { m.Labels = labels }),
		"owners":         meta(func(m *metav1.ObjectMeta) { m.OwnerReferences = owners }),
		"finalizers":     meta(func(m *metav1.ObjectMeta) { m.Finalizers = []string{long} }),
		"managed fields": meta(func(m *metav1.ObjectMeta) { m.ManagedFields = fields }),
	} {
		objects := map[string]struct {
			strip  cache.TransformFunc
			object any
		}{
			"pod":        {stripHeldPod, &corev1.Pod{ObjectMeta: *m.DeepCopy()}},
			"autoscaler": {stripHeldAutoscaler, &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: *m.DeepCopy()}},
			"hold":       {stripCachedHold, &hold.Object{ObjectMeta: *m.DeepCopy()}},
			"workload":   {stripHeldWorkload, toUnstructured(t, &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: *m.DeepCopy()})},
		}
		for kind, o := range objects {
			checkCachedSize(t, kind+" with huge "+name, o.strip, o.object)
		}
	}
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{long}}}}
	checkCachedSize(t, "pod with a huge probe", stripHeldPod, &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{ReadinessProbe: probe}}}})
	checkCachedSize(t, "pod with many ports", stripHeldPod, &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: ports}}}})
	checkCachedSize(t, "pod with a huge affinity", stripHeldPod, &corev1.Pod{Spec: corev1.PodSpec{NodeSelector: labels, SchedulerName: long}})
	checkCachedSize(t, "autoscaler with many metrics", stripHeldAutoscaler, &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: metrics}})
	checkCachedSize(t, "autoscaler with many policies", stripHeldAutoscaler, &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Policies: policies}},
	}})
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{{Name: "x", Value: long}}}}}}
	checkCachedSize(t, "workload with a huge template", stripHeldWorkload, toUnstructured(t, &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: template}}))
	checkCachedSize(t, "workload with a huge selector", stripHeldWorkload, toUnstructured(t, &appsv1.Deployment{
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}))
	checkCachedSize(t, "hold with huge managed fields", stripCachedHold, &hold.Object{ObjectMeta: metav1.ObjectMeta{ManagedFields: fields}})
	if stripped, _ := stripCachedHold(&hold.Object{Fault: "x", Raw: []byte(long)}); len(stripped.(*hold.Object).Raw) > 0 {
		t.Error("a faulty hold keeps its text")
	}
}

// TestCachedPodsKeepTheirWorkload: pods that are large for a good reason still count as their workload's.
func TestCachedPodsKeepTheirWorkload(t *testing.T) {
	t.Parallel()
	words := strings.Repeat("x", 12<<10)
	ports := []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	for i := range 2_000 {
		ports = append(ports, corev1.ContainerPort{ContainerPort: int32(20_000 + i), Protocol: corev1.ProtocolUDP})
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 3, Message: words}}
	for name, pod := range map[string]*corev1.Pod{
		"last words": {Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: ended, LastTerminationState: ended}}}},
		"ports":      {Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "media", Ports: ports}}}},
	} {
		pod.Labels = map[string]string{"app": "web"}
		want := describeUnreadyRolloutPod(pod)
		if _, err := stripHeldPod(pod); err != nil || pod.Labels["app"] != "web" || describeUnreadyRolloutPod(pod) != want {
			t.Errorf("%s: %v, labels %v, %q; want %q", name, err, pod.Labels, describeUnreadyRolloutPod(pod), want)
		}
		if name == "ports" && len(pod.Spec.Containers[0].Ports) != 1 {
			t.Errorf("%s: %d ports, want the one with a name", name, len(pod.Spec.Containers[0].Ports))
		}
	}
}

func checkCachedSize(t *testing.T, name string, strip cache.TransformFunc, object any) {
	t.Helper()
	stripped, err := strip(object)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if size := measureCachedObject(t, stripped); size > 2*maxCachedObjectBytes {
		t.Errorf("%s: %d bytes in the cache", name, size)
	}
}

func toUnstructured(t *testing.T, object runtime.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

// TestCachedWorkloadHasItsScale: the cache and the API server's own object give one scale.
func TestCachedWorkloadHasItsScale(t *testing.T) {
	t.Parallel()
	replicas := int32(7)
	deployment := &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", ResourceVersion: "2", ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: hold.Manager, Subresource: "scale"}, {Manager: "kubectl"},
		}},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue}, {Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "quota"},
		}},
	}
	replicaSet := &appsv1.ReplicaSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: "web", Controller: new(true)}}},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &replicas},
	}
	for _, object := range []runtime.Object{deployment, replicaSet} {
		whole := toUnstructured(t, object)
		stripped, err := stripHeldWorkload(whole)
		if err != nil {
			t.Fatal(err)
		}
		cached := stripped.(*unstructured.Unstructured)
		if !isWholeHeldWorkload(cached) {
			t.Error("a usual workload has no spec in the cache")
		}
		c := &LiveCluster{}
		want, wantErr := c.scaleOfWorkloadObject(t.Context(), nil, whole)
		got, gotErr := c.scaleOfWorkloadObject(t.Context(), nil, cached)
		if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%v; want %v (-want +got):\n%s", gotErr, wantErr, diff)
		}
	}
	if stripped, err := stripHeldAutoscaler(&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: hold.Manager, Time: &metav1.Time{Time: time.Unix(5, 0)}}, {Manager: "kubectl"}},
	}}); err != nil || !convertHeldAutoscaler(stripped.(*autoscalingv2.HorizontalPodAutoscaler)).Owned {
		t.Errorf("%v: an autoscaler in the cache is no longer the scaler's", err)
	}
}
