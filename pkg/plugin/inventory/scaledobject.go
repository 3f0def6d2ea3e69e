// Objects of KEDA, which own autoscalers.

package inventory

import (
	"cmp"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ScaledObject is an object of KEDA, which makes an autoscaler for its target.
type ScaledObject struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		ScaleTargetRef autoscalingv2.CrossVersionObjectReference `json:"scaleTargetRef"`
		Advanced       struct {
			HPA struct {
				Name string `json:"name"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
	} `json:"spec"`
}

// autoscalerName returns the name of the autoscaler that KEDA makes.
func (o *ScaledObject) autoscalerName() string {
	return cmp.Or(o.Spec.Advanced.HPA.Name, "keda-hpa-"+o.Name)
}

// ScaledObjectsOf returns the ScaledObjects of the target of an autoscaler that is not theirs.
func (i *Inventory) ScaledObjectsOf(hpa *autoscalingv2.HorizontalPodAutoscaler) []*ScaledObject {
	var objects []*ScaledObject
	for n := range i.ScaledObjects {
		o := &i.ScaledObjects[n]
		ref := o.Spec.ScaleTargetRef
		if ref.Kind == "" && ref.APIVersion == "" { // KEDA's default
			ref.APIVersion, ref.Kind = "apps/v1", "Deployment"
		}
		other := autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: ref}}
		if o.Namespace == hpa.Namespace && o.autoscalerName() != hpa.Name && isSameScaleTarget(&other, hpa) {
			objects = append(objects, o)
		}
	}
	return objects
}
