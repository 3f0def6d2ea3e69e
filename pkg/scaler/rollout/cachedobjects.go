// Objects as the caches keep them: tenants write objects as large as etcd takes, and thousands of them must fit into the scaler's memory.

package rollout

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// maxCachedObjectBytes bounds an object without the parts that no reader of the caches uses. A pod has about 1 KiB, an autoscaler with fifty
// metrics 10 KiB.
const maxCachedObjectBytes = 16 << 10

// stripHeldPod keeps the fields of a pod that a verification and the surge lane read. A pod above maxCachedObjectBytes belongs to no workload: it has no labels.
func stripHeldPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	stripHeldMetadata(&pod.ObjectMeta)
	pod.Annotations = nil
	pod.Spec = corev1.PodSpec{InitContainers: pod.Spec.InitContainers, Containers: pod.Spec.Containers}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			*c = corev1.Container{Name: c.Name, Ports: listNamedPorts(c.Ports), ReadinessProbe: c.ReadinessProbe, RestartPolicy: c.RestartPolicy}
		}
	}
	pod.Status = stripHeldPodStatus(pod.Status)
	if pod.Size() > maxCachedObjectBytes {
		pod.Labels, pod.Spec = nil, corev1.PodSpec{}
	}
	return pod, nil
}

// listNamedPorts returns the ports with a name, which probes use. Media servers declare thousands without.
func listNamedPorts(all []corev1.ContainerPort) []corev1.ContainerPort {
	return slices.DeleteFunc(all, func(p corev1.ContainerPort) bool { return p.Name == "" })
}

// stripHeldPodStatus keeps the states of a pod. The last words of its containers have up to 12 KiB, twice.
func stripHeldPodStatus(s corev1.PodStatus) corev1.PodStatus {
	kept := corev1.PodStatus{Phase: s.Phase, Conditions: s.Conditions, PodIP: s.PodIP, StartTime: s.StartTime, InitContainerStatuses: s.InitContainerStatuses, ContainerStatuses: s.ContainerStatuses}
	for _, statuses := range [][]corev1.ContainerStatus{kept.InitContainerStatuses, kept.ContainerStatuses} {
		for i := range statuses {
			c := &statuses[i]
			*c = corev1.ContainerStatus{Name: c.Name, State: c.State}
			if c.State.Waiting != nil {
				c.State.Waiting.Message = ""
			}
			if c.State.Terminated != nil {
				c.State.Terminated.Message = ""
			}
		}
	}
	return kept
}

// stripHeldAutoscaler keeps the fields of an autoscaler that a hold and the surge lane read. One above maxCachedObjectBytes has no metrics: the lane leaves it.
func stripHeldAutoscaler(object any) (any, error) {
	hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return object, nil
	}
	stripHeldMetadata(&hpa.ObjectMeta)
	hpa.Status.CurrentMetrics = nil
	if hpa.Size() > maxCachedObjectBytes {
		hpa.Labels, hpa.Annotations, hpa.Spec.Metrics, hpa.Spec.Behavior = nil, nil, nil, nil
	}
	return hpa, nil
}

// stripHeldMetadata keeps the identity, the labels, the controller and the scaler's own marks of an object.
func stripHeldMetadata(m *metav1.ObjectMeta) {
	m.ManagedFields = listOwnManagers(m.ManagedFields)
	m.Finalizers, m.GenerateName = nil, ""
	maps.DeleteFunc(m.Annotations, func(key, _ string) bool { return !strings.HasPrefix(key, domain.ScalerPrefix) })
	m.OwnerReferences = slices.DeleteFunc(m.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind != "ScaledObject" && (r.Controller == nil || !*r.Controller)
	})
}

// listOwnManagers returns the scaler's entries of managed fields, without the fields.
func listOwnManagers(all []metav1.ManagedFieldsEntry) (own []metav1.ManagedFieldsEntry) {
	for _, m := range all {
		if m.Manager == hold.Manager {
			m.FieldsV1 = nil
			own = append(own, m)
		}
	}
	return own
}

// stripHeldWorkload keeps the fields that scaleOfWorkloadObject reads of a workload. With a selector above maxCachedObjectBytes it has no spec.
func stripHeldWorkload(object any) (any, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	kept := &unstructured.Unstructured{Object: map[string]any{}}
	kept.SetGroupVersionKind(u.GroupVersionKind())
	kept.SetNamespace(u.GetNamespace())
	kept.SetName(u.GetName())
	kept.SetUID(u.GetUID())
	kept.SetResourceVersion(u.GetResourceVersion())
	if own := listOwnManagers(u.GetManagedFields()); len(own) > 0 {
		kept.SetManagedFields(own)
	}
	if owner := metav1.GetControllerOf(u); owner != nil {
		kept.SetOwnerReferences([]metav1.OwnerReference{*owner})
	}
	spec := map[string]any{}
	if replicas, found, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "replicas"); found {
		spec["replicas"] = replicas
	}
	if selector, found, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "selector"); found {
		spec["selector"] = selector
	}
	if data, err := json.Marshal(spec); err == nil && len(data) <= maxCachedObjectBytes {
		kept.Object["spec"] = spec
	}
	if failure := findReplicaFailure(u); failure != nil {
		kept.Object["status"] = map[string]any{"conditions": []any{failure}}
	}
	return kept, nil
}

// isWholeHeldWorkload reports whether the cache has the spec of a workload.
func isWholeHeldWorkload(u *unstructured.Unstructured) bool { return u.Object["spec"] != nil }

// maxHoldMetadataBytes bounds the metadata of a hold in the cache. The annotation of kubectl apply has about 1 KiB.
const maxHoldMetadataBytes = 4 << 10

// stripCachedHold drops the parts of a hold that the controller does not read. A write of a hold without managed fields leaves them as they are, and one of
// trimmed metadata too.
func stripCachedHold(object any) (any, error) {
	if h, ok := object.(*hold.Object); ok {
		h.ManagedFields, h.Raw = nil, nil
		if h.ObjectMeta.Size() > maxHoldMetadataBytes {
			h.TrimMetadata()
		}
	}
	return object, nil
}
