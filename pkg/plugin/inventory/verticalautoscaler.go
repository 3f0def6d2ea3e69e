// VerticalPodAutoscalers, which change the requests that a utilization depends on.

package inventory

import (
	"context"
	"encoding/json"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// verticalGroupPath is the API group of VerticalPodAutoscalers.
const verticalGroupPath = "/apis/autoscaling.k8s.io"

// VerticalAutoscaler is a VerticalPodAutoscaler: it changes the requests of its target's pods.
type VerticalAutoscaler struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		TargetRef    autoscalingv2.CrossVersionObjectReference `json:"targetRef"`
		UpdatePolicy struct {
			UpdateMode string `json:"updateMode"` // empty: pods are changed
		} `json:"updatePolicy"`
		ResourcePolicy struct {
			ContainerPolicies []verticalContainerPolicy `json:"containerPolicies"`
		} `json:"resourcePolicy"`
	} `json:"spec"`
}

// verticalContainerPolicy lists the changed resources of a container; the name * means each container without a policy of its own.
type verticalContainerPolicy struct {
	ContainerName       string                 `json:"containerName"`
	Mode                string                 `json:"mode"`
	ControlledResources *[]corev1.ResourceName `json:"controlledResources"` // nil: CPU and memory
}

// ResourceReader reads a path of kube-apiserver.
type ResourceReader interface {
	Read(ctx context.Context, path string) ([]byte, error)
}

// AddVerticalAutoscalers adds the VerticalPodAutoscalers of a namespace, or of all if it is empty. Most clusters have no such kind.
func (i *Inventory) AddVerticalAutoscalers(ctx context.Context, reader ResourceReader, namespace string) {
	if _, err := reader.Read(ctx, verticalGroupPath); apierrors.IsNotFound(err) {
		return
	}
	path := verticalGroupPath + "/v1/verticalpodautoscalers"
	if namespace != "" {
		path = verticalGroupPath + "/v1/namespaces/" + namespace + "/verticalpodautoscalers"
	}
	var list struct {
		Items []VerticalAutoscaler `json:"items"`
	}
	data, err := reader.Read(ctx, path)
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if i.noteResourceRead("verticalpodautoscalers", err) {
		i.VerticalAutoscalers = list.Items
	}
}

// VerticalAutoscalersOf returns the VerticalPodAutoscalers that change a resource of an autoscaler's target: in the named container, or in
// any for an empty name.
func (i *Inventory) VerticalAutoscalersOf(hpa *autoscalingv2.HorizontalPodAutoscaler, resource corev1.ResourceName, container string) []*VerticalAutoscaler {
	var found []*VerticalAutoscaler
	for n := range i.VerticalAutoscalers {
		v := &i.VerticalAutoscalers[n]
		other := autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: v.Spec.TargetRef}}
		if v.Namespace == hpa.Namespace && isSameScaleTarget(&other, hpa) && v.changesRequests(resource, i.listContainerNames(hpa, container)) {
			found = append(found, v)
		}
	}
	return found
}

// listContainerNames returns the named container, or all of the autoscaler's target; a single empty name where they are unknown.
func (i *Inventory) listContainerNames(hpa *autoscalingv2.HorizontalPodAutoscaler, container string) []string {
	w := i.WorkloadOf(hpa)
	if container != "" || w == nil || len(w.Template.Spec.Containers) == 0 {
		return []string{container}
	}
	var names []string
	for _, c := range podpage.Containers(&w.Template.Spec) {
		names = append(names, c.Name)
	}
	return names
}

// changesRequests reports whether the requests of a resource are changed in one of the containers.
func (v *VerticalAutoscaler) changesRequests(resource corev1.ResourceName, containers []string) bool {
	return v.Spec.UpdatePolicy.UpdateMode != "Off" && slices.ContainsFunc(containers, func(name string) bool {
		p := v.findContainerPolicy(name)
		return p.Mode != "Off" && (p.ControlledResources == nil || slices.Contains(*p.ControlledResources, resource))
	})
}

// findContainerPolicy returns the policy of a container, or the policy for all others, or the defaults.
func (v *VerticalAutoscaler) findContainerPolicy(container string) verticalContainerPolicy {
	for _, name := range []string{container, "*"} {
		for _, p := range v.Spec.ResourcePolicy.ContainerPolicies {
			if p.ContainerName == name {
				return p
			}
		}
	}
	return verticalContainerPolicy{}
}
