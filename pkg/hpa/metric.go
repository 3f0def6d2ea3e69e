package hpa

// This file maps each metric of the spec to its arithmetic, and words the results as the controller does.

import (
	"errors"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var errNoAnswer = errors.New("no answer of the metrics API is given")

func decideHPAMetric(in Input, s Settings, index int) MetricDecision {
	spec, answer := in.HPA.Spec.Metrics[index], Answer{Err: errNoAnswer}
	if index < len(in.Answers) {
		answer = in.Answers[index]
	}
	m := MetricDecision{Tolerance: ToleranceOf(in.HPA, s)}
	var err error
	switch kind := spec.Type; {
	case !hasHPAMetricSource(spec):
		err = m.failMetricDecision("InvalidMetricSourceType", fmt.Errorf("metric source of type %q is missing", string(kind)))
	case kind == autoscalingv2.ObjectMetricSourceType:
		err = decideObjectMetric(&m, *spec.Object, in, s, answer)
	case kind == autoscalingv2.PodsMetricSourceType:
		err = decidePodsMetric(&m, *spec.Pods, in, s, answer)
	case kind == autoscalingv2.ResourceMetricSourceType:
		err = decideResourceMetric(&m, *spec.Resource, in, s, answer)
	case kind == autoscalingv2.ContainerResourceMetricSourceType:
		err = decideContainerMetric(&m, *spec.ContainerResource, in, s, answer)
	case kind == autoscalingv2.ExternalMetricSourceType:
		err = decideExternalMetric(&m, *spec.External, in, answer)
	default:
		err = m.failMetricDecision("InvalidMetricSourceType", fmt.Errorf("unknown metric source type %q", string(kind)))
	}
	if err != nil {
		m.Stage, m.Replicas, m.Err, m.status = StageFailed, 0, err, autoscalingv2.MetricStatus{}
	}
	return m
}

// hasHPAMetricSource reports whether a metric has the source that its type names. kube-apiserver rejects others, and files may have them.
func hasHPAMetricSource(m autoscalingv2.MetricSpec) bool {
	switch m.Type {
	case autoscalingv2.ObjectMetricSourceType:
		return m.Object != nil
	case autoscalingv2.PodsMetricSourceType:
		return m.Pods != nil
	case autoscalingv2.ResourceMetricSourceType:
		return m.Resource != nil
	case autoscalingv2.ContainerResourceMetricSourceType:
		return m.ContainerResource != nil
	case autoscalingv2.ExternalMetricSourceType:
		return m.External != nil
	}
	return true // unknown
}

// ToleranceOf returns the controller's tolerance, or for each direction the tolerance in spec.behavior.
func ToleranceOf(hpa *autoscalingv2.HorizontalPodAutoscaler, s Settings) Tolerance {
	t := Tolerance{Down: s.Tolerance, Up: s.Tolerance}
	if b := hpa.Spec.Behavior; b != nil {
		if b.ScaleDown != nil && b.ScaleDown.Tolerance != nil {
			t.Down = b.ScaleDown.Tolerance.AsApproximateFloat64()
		}
		if b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
			t.Up = b.ScaleUp.Tolerance.AsApproximateFloat64()
		}
	}
	return t
}

// failMetricDecision notes the reason and the cause that the condition ScalingActive names, and returns the cause.
func (m *MetricDecision) failMetricDecision(reason string, cause error) error {
	m.reason, m.cause = reason, cause
	return cause
}

func decidePodsMetric(m *MetricDecision, spec autoscalingv2.PodsMetricSource, in Input, s Settings, answer Answer) error {
	const reason = "FailedGetPodsMetric"
	m.Name = "pods metric " + spec.Metric.Name
	_, err := metav1.LabelSelectorAsSelector(spec.Metric.Selector)
	if err == nil && answer.Err != nil {
		err = fmt.Errorf("unable to get metric %s: %w", spec.Metric.Name, answer.Err)
	}
	switch {
	case err != nil:
	case spec.Target.AverageValue == nil:
		err = errors.New("invalid pods metric source: no average value target was set") // kube-apiserver rejects it
	default:
		err = decidePodMetric(m, podMetric{amount: spec.Target.AverageValue.MilliValue()}, in, s, answer)
	}
	if err != nil {
		return fmt.Errorf("failed to get pods metric value: %w", m.failMetricDecision(reason, err))
	}
	m.status = autoscalingv2.MetricStatus{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricStatus{
		Metric:  autoscalingv2.MetricIdentifier{Name: spec.Metric.Name, Selector: spec.Metric.Selector},
		Current: autoscalingv2.MetricValueStatus{AverageValue: resource.NewMilliQuantity(m.Usage, resource.DecimalSI)},
	}}
	return nil
}

func decideResourceMetric(m *MetricDecision, spec autoscalingv2.ResourceMetricSource, in Input, s Settings, answer Answer) error {
	current, err := decideUsageMetric(m, spec.Name, "", spec.Target, in, s, answer)
	if err != nil {
		return fmt.Errorf("failed to get %s resource metric value: %w", spec.Name, m.failMetricDecision("FailedGetResourceMetric", err))
	}
	m.status = autoscalingv2.MetricStatus{
		Type:     autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricStatus{Name: spec.Name, Current: current},
	}
	return nil
}

func decideContainerMetric(m *MetricDecision, spec autoscalingv2.ContainerResourceMetricSource, in Input, s Settings, answer Answer) error {
	current, err := decideUsageMetric(m, spec.Name, spec.Container, spec.Target, in, s, answer)
	if err != nil {
		return fmt.Errorf("failed to get %s container metric value: %w", spec.Container, m.failMetricDecision("FailedGetContainerResourceMetric", err))
	}
	m.status = autoscalingv2.MetricStatus{
		Type:              autoscalingv2.ContainerResourceMetricSourceType,
		ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{Name: spec.Name, Container: spec.Container, Current: current},
	}
	return nil
}

// decideUsageMetric computes the wish of a resource's usage, by pod or by container.
func decideUsageMetric(m *MetricDecision, name corev1.ResourceName, container string, target autoscalingv2.MetricTarget, in Input, s Settings, answer Answer) (autoscalingv2.MetricValueStatus, error) {
	var current autoscalingv2.MetricValueStatus
	p, kind := podMetric{resource: name, container: container}, "usage"
	switch {
	case target.AverageValue != nil:
		p.amount, m.Name = target.AverageValue.MilliValue(), fmt.Sprintf("%s resource", name)
	case target.AverageUtilization != nil:
		p.percent, kind, m.Name = *target.AverageUtilization, "utilization", fmt.Sprintf("%s resource utilization (percentage of request)", name)
		if container != "" {
			m.Name = fmt.Sprintf("%s container resource utilization (percentage of request)", name)
		}
	default:
		return current, errors.New("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set")
	}
	err := answer.Err
	if err != nil {
		err = fmt.Errorf("unable to get metrics for resource %s: %w", name, err)
	} else {
		err = decidePodMetric(m, p, in, s, answer)
	}
	if err != nil {
		return current, fmt.Errorf("failed to get %s %s: %w", name, kind, err)
	}
	mean := m.Usage
	if p.isUtilization() {
		percent := int32(m.Usage)
		mean, current.AverageUtilization = m.RawUsage, &percent
	}
	format := resource.DecimalSI
	if name == corev1.ResourceMemory {
		format = resource.BinarySI
	}
	current.AverageValue = resource.NewMilliQuantity(mean, format)
	return current, nil
}

func decideObjectMetric(m *MetricDecision, spec autoscalingv2.ObjectMetricSource, in Input, s Settings, answer Answer) error {
	current, err := decideObjectTarget(m, spec, in, s, answer)
	if err != nil {
		return fmt.Errorf("failed to get object metric value: %w", err)
	}
	m.status = autoscalingv2.MetricStatus{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricStatus{
		DescribedObject: spec.DescribedObject,
		Metric:          autoscalingv2.MetricIdentifier{Name: spec.Metric.Name, Selector: spec.Metric.Selector},
		Current:         current,
	}}
	return nil
}

// decideObjectTarget computes the wish of an object's metric by the kind of its target.
func decideObjectTarget(m *MetricDecision, spec autoscalingv2.ObjectMetricSource, in Input, s Settings, answer Answer) (autoscalingv2.MetricValueStatus, error) {
	const reason = "FailedGetObjectMetric"
	var current autoscalingv2.MetricValueStatus
	if _, err := metav1.LabelSelectorAsSelector(spec.Metric.Selector); err != nil {
		return current, m.failMetricDecision(reason, err)
	}
	answerErr := wrapObjectError(spec, in.HPA.Namespace, s, answer.Err)
	switch target := spec.Target; {
	case target.Type == autoscalingv2.ValueMetricType && target.Value != nil:
		m.Name = fmt.Sprintf("%s metric %s", spec.DescribedObject.Kind, spec.Metric.Name)
		if answerErr != nil {
			return current, m.failMetricDecision(reason, answerErr)
		}
		if err := decideTotalValue(m, answer.Object, target.Value.MilliValue(), in); err != nil {
			return current, m.failMetricDecision(reason, err)
		}
		current.Value = resource.NewMilliQuantity(m.Usage, resource.DecimalSI)
	case target.Type == autoscalingv2.AverageValueMetricType && target.AverageValue != nil:
		m.Name = fmt.Sprintf("external metric %s(%+v)", spec.Metric.Name, spec.Metric.Selector) // the controller's own words
		if answerErr != nil {
			return current, fmt.Errorf("failed to get %s object metric: %w", spec.Metric.Name, m.failMetricDecision(reason, answerErr))
		}
		decideTotalShare(m, answer.Object, target.AverageValue.MilliValue(), in.StatusReplicas)
		current.AverageValue = resource.NewMilliQuantity(m.Usage, resource.DecimalSI)
	default:
		return current, m.failMetricDecision(reason, errors.New("invalid object metric source: neither a value target nor an average value target was set"))
	}
	return current, nil
}

// wrapObjectError words an error of the metrics client as the minor version does.
func wrapObjectError(spec autoscalingv2.ObjectMetricSource, namespace string, s Settings, err error) error {
	if err == nil {
		return nil
	}
	kind, name, metric := spec.DescribedObject.Kind, spec.DescribedObject.Name, spec.Metric.Name
	if s.Minor >= 37 {
		return fmt.Errorf("unable to get metric %s on %s %s/%s: %w", metric, kind, namespace, name, err)
	}
	return fmt.Errorf("unable to get metric %s: %s on %s %s/%w", metric, kind, namespace, name, err) // 1.36 mixes the words up
}

func decideExternalMetric(m *MetricDecision, spec autoscalingv2.ExternalMetricSource, in Input, answer Answer) error {
	m.Name = fmt.Sprintf("external metric %s(%+v)", spec.Metric.Name, spec.Metric.Selector)
	current, err := decideExternalTarget(m, spec, in, answer)
	if err != nil {
		return fmt.Errorf("failed to get %s external metric value: %w", spec.Metric.Name, err)
	}
	m.status = autoscalingv2.MetricStatus{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricStatus{
		Metric:  autoscalingv2.MetricIdentifier{Name: spec.Metric.Name, Selector: spec.Metric.Selector},
		Current: current,
	}}
	return nil
}

// decideExternalTarget computes the wish of an external metric by the kind of its target.
func decideExternalTarget(m *MetricDecision, spec autoscalingv2.ExternalMetricSource, in Input, answer Answer) (autoscalingv2.MetricValueStatus, error) {
	const reason = "FailedGetExternalMetric"
	var current autoscalingv2.MetricValueStatus
	_, answerErr := metav1.LabelSelectorAsSelector(spec.Metric.Selector)
	if answerErr == nil && answer.Err != nil {
		answerErr = fmt.Errorf("unable to get external metric %s/%s/%+v: %w", in.HPA.Namespace, spec.Metric.Name, spec.Metric.Selector, answer.Err)
	}
	switch target := spec.Target; {
	case target.AverageValue != nil:
		if answerErr != nil {
			return current, fmt.Errorf("failed to get %s external metric: %w", spec.Metric.Name, m.failMetricDecision(reason, answerErr))
		}
		decideExternalShare(m, sumExternalShare(answer.External), target.AverageValue.MilliValue(), in.StatusReplicas)
		current.AverageValue = resource.NewMilliQuantity(m.Usage, resource.DecimalSI)
	case target.Value != nil:
		err := answerErr
		if err == nil {
			err = decideTotalValue(m, sumExternalValue(answer.External), target.Value.MilliValue(), in)
		}
		if err != nil {
			return current, fmt.Errorf("failed to get external metric %s: %w", spec.Metric.Name, m.failMetricDecision(reason, err))
		}
		current.Value = resource.NewMilliQuantity(m.Usage, resource.DecimalSI)
	default:
		return current, m.failMetricDecision(reason, errors.New("invalid external metric source: neither a value target nor an average value target was set"))
	}
	return current, nil
}
