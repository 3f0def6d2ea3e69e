package hpa

// This file holds the inputs of a decision and the controller's settings.

import (
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// Settings are kube-controller-manager's flags and version.
type Settings struct {
	// Minor is Kubernetes' minor version: 36 or 37. It decides texts and status.observedGeneration.
	Minor int
	// ScaleToZero is the feature gate HPAScaleToZero.
	ScaleToZero bool
	// Tolerance is --horizontal-pod-autoscaler-tolerance, a share of 1. spec.behavior may set another one for each direction.
	Tolerance float64
	// DownscaleStabilization is --horizontal-pod-autoscaler-downscale-stabilization.
	DownscaleStabilization time.Duration
	// CPUInitializationPeriod is --horizontal-pod-autoscaler-cpu-initialization-period.
	CPUInitializationPeriod time.Duration
	// InitialReadinessDelay is --horizontal-pod-autoscaler-initial-readiness-delay.
	InitialReadinessDelay time.Duration
}

// DefaultSettings returns the defaults of a minor version's kube-controller-manager.
func DefaultSettings(minor int) Settings {
	return Settings{
		Minor:                   minor,
		ScaleToZero:             minor >= 37,
		Tolerance:               0.1,
		DownscaleStabilization:  5 * time.Minute,
		CPUInitializationPeriod: 5 * time.Minute,
		InitialReadinessDelay:   30 * time.Second,
	}
}

// Input is all that the controller knows when it decides about one HPA. Decide reads it and keeps nothing of it.
type Input struct {
	HPA *autoscalingv2.HorizontalPodAutoscaler
	// SpecReplicas and StatusReplicas are spec.replicas and status.replicas of the target's scale subresource.
	SpecReplicas, StatusReplicas int32
	// Pods are the pods that the scale's selector selects in the HPA's namespace.
	Pods []*corev1.Pod
	// Answers belong to spec.metrics, in its order. A missing answer is an error of that metric.
	Answers []Answer
	History History
	Now     time.Time
}

// Answer is one answer of a metrics API. Exactly one of Pods, Object, External and Err is meant, by the metric's type.
type Answer struct {
	// Pods has the values of a Pods, Resource or ContainerResource metric by the pod's name.
	Pods map[string]PodValue
	// Object is an object's value in thousandths.
	Object int64
	// External has an external metric's values in thousandths.
	External []int64
	// Err is the error that the metrics client returned.
	Err error
}

// PodValue is a pod's value in thousandths. Time and Window matter for CPU alone.
type PodValue struct {
	Value  int64
	Time   time.Time
	Window time.Duration
}

// History is the controller's memory of an HPA. It begins empty when the controller starts.
type History struct {
	// Recommendations are the wishes before stabilization. The controller reuses entries, so that they are not sorted by time.
	Recommendations []Recommendation
	// ScaleUps and ScaleDowns are kept while spec.behavior is set.
	ScaleUps, ScaleDowns []ScaleEvent
}

// Recommendation is a wish of the metrics at a time.
type Recommendation struct {
	Replicas int32
	Time     time.Time
}

// ScaleEvent is a change of the replicas. Change is never negative.
type ScaleEvent struct {
	Change   int32
	Time     time.Time
	Outdated bool // older than the longest policy period when it was last looked at: its entry may be reused
}
