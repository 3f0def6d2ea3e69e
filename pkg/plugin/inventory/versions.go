// Autoscalers of older API versions.

package inventory

import (
	"encoding/json"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	apijson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// The annotations in which autoscaling/v1 carries settings that it has no fields for.
const (
	metricsAnnotation  = "autoscaling.alpha.kubernetes.io/metrics"
	behaviorAnnotation = "autoscaling.alpha.kubernetes.io/behavior"
)

// decodeFileAutoscaler decodes an autoscaler of any version, with the metrics that kube-apiserver gives it. Its APIVersion stays.
func decodeFileAutoscaler(data []byte) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	if err := apijson.Unmarshal(data, hpa); err != nil {
		return nil, err
	}
	var err error
	switch hpa.APIVersion {
	case "autoscaling/v1":
		err = takeFirstVersionFields(hpa, data)
	case "autoscaling/v2beta1":
		var old struct {
			Spec struct {
				Metrics []autoscalingv1.MetricSpec `json:"metrics"`
			} `json:"spec"`
		}
		err = apijson.Unmarshal(data, &old)
		hpa.Spec.Metrics = convertOldMetrics(old.Spec.Metrics)
	}
	if len(hpa.Spec.Metrics) == 0 {
		hpa.Spec.Metrics = []autoscalingv2.MetricSpec{newUtilizationMetric(80)}
	}
	return hpa, err
}

// takeFirstVersionFields replaces metrics and behavior by the fields of autoscaling/v1: its CPU target and its annotations. kube-apiserver
// ignores annotations that cannot be parsed.
func takeFirstVersionFields(hpa *autoscalingv2.HorizontalPodAutoscaler, data []byte) error {
	var old autoscalingv1.HorizontalPodAutoscaler
	err := apijson.Unmarshal(data, &old)
	var metrics []autoscalingv1.MetricSpec
	if json.Unmarshal([]byte(old.Annotations[metricsAnnotation]), &metrics) != nil {
		metrics = nil
	}
	hpa.Spec.Metrics, hpa.Spec.Behavior = convertOldMetrics(metrics), nil
	if percent := old.Spec.TargetCPUUtilizationPercentage; percent != nil {
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, newUtilizationMetric(*percent))
	}
	var behavior autoscalingv2.HorizontalPodAutoscalerBehavior
	if json.Unmarshal([]byte(old.Annotations[behaviorAnnotation]), &behavior) == nil {
		hpa.Spec.Behavior = &behavior
	}
	return err
}

func newUtilizationMetric(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: convertOldUsageTarget(&percent, nil),
	}}
}

// convertOldMetrics returns the metrics of autoscaling/v2beta1, or of the annotation of autoscaling/v1, as autoscaling/v2 has them.
func convertOldMetrics(metrics []autoscalingv1.MetricSpec) []autoscalingv2.MetricSpec {
	var converted []autoscalingv2.MetricSpec
	for _, m := range metrics {
		c := autoscalingv2.MetricSpec{Type: autoscalingv2.MetricSourceType(m.Type)}
		if p := m.Pods; p != nil {
			c.Pods = &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: p.MetricName, Selector: p.Selector}, Target: convertOldAmountTarget(nil, &p.TargetAverageValue),
			}
		}
		if o := m.Object; o != nil {
			c.Object = &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference(o.Target),
				Metric:          autoscalingv2.MetricIdentifier{Name: o.MetricName, Selector: o.Selector}, Target: convertOldAmountTarget(&o.TargetValue, o.AverageValue),
			}
		}
		if e := m.External; e != nil {
			c.External = &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: e.MetricName, Selector: e.MetricSelector}, Target: convertOldAmountTarget(e.TargetValue, e.TargetAverageValue),
			}
		}
		if r := m.Resource; r != nil {
			c.Resource = &autoscalingv2.ResourceMetricSource{Name: r.Name, Target: convertOldUsageTarget(r.TargetAverageUtilization, r.TargetAverageValue)}
		}
		if r := m.ContainerResource; r != nil {
			c.ContainerResource = &autoscalingv2.ContainerResourceMetricSource{
				Name: r.Name, Container: r.Container, Target: convertOldUsageTarget(r.TargetAverageUtilization, r.TargetAverageValue),
			}
		}
		converted = append(converted, c)
	}
	return converted
}

// convertOldAmountTarget returns the target of an amount: the average if there is one.
func convertOldAmountTarget(value, average *resource.Quantity) autoscalingv2.MetricTarget {
	if average != nil {
		return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: average}
	}
	return autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: value}
}

// convertOldUsageTarget returns the target of a resource: the utilization if there is one.
func convertOldUsageTarget(percent *int32, average *resource.Quantity) autoscalingv2.MetricTarget {
	if percent != nil {
		return autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: percent}
	}
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: average}
}

// strictDecoder decodes an object as kube-apiserver does for kubectl's --validate=strict.
var strictDecoder = serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, serializer.SerializerOptions{Strict: true})

// listUnknownFields returns the errors for fields that the version of an autoscaler does not have, in kube-apiserver's words. Letters of another
// case make another field. An unserved version has none: it is a fault by itself.
func listUnknownFields(data []byte) []string {
	_, _, err := strictDecoder.Decode(data, nil, nil)
	strict, isStrict := runtime.AsStrictDecodingError(err)
	if !isStrict {
		return nil
	}
	var texts []string
	for _, fault := range strict.Errors() {
		texts = append(texts, fault.Error())
	}
	return texts
}
