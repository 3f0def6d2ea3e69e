package hpa

// This file holds the result of a decision: every step, in the order in which the controller takes them.

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// Decision is the controller's decision about one HPA.
type Decision struct {
	// Replicas is the number that the controller writes to the scale, or the present number without a rescale.
	Replicas int32
	// Rescale reports whether the controller writes the scale.
	Rescale bool
	// Reason is the reason in the SuccessfulRescale event: "pods metric m above target".
	Reason string
	// Metrics has a step for each of spec.metrics. It is empty where the controller does not look at metrics: at replicas outside of
	// the limits, or paused at 0.
	Metrics []MetricDecision
	// Winner is the index of the metric with the largest wish; -1 without one.
	Winner int
	// Wanted is the winner's wish before stabilization and limits.
	Wanted int32
	// Stabilization and Limit are nil where no metric was computed.
	Stabilization *Stabilization
	Limit         *Limit
	// Status is the HPA's status after the decision, with its conditions.
	Status autoscalingv2.HorizontalPodAutoscalerStatus
	// History is the controller's memory after a successful write of the scale.
	History History
	// Err is the first error of a metric, if one failed. With Rescale the other metrics were enough.
	Err error
}

// Stage is the stage of the arithmetic that gave a metric's wish.
type Stage string

const (
	// StageFailed means that the metric has an error.
	StageFailed Stage = "failed"
	// StageTolerated keeps the replicas, since the usage ratio is within the tolerance.
	StageTolerated Stage = "tolerated"
	// StageScaled multiplies the usage ratio with the counted pods, or divides a total by the target, rounded up.
	StageScaled Stage = "scaled"
	// StageRatioReversed keeps the replicas, since pods without a value turn the ratio to the other side of 1.
	StageRatioReversed Stage = "ratio reversed"
	// StageCountReversed keeps the replicas, since the result lies on the other side of the present number than the ratio says.
	StageCountReversed Stage = "count reversed"
	// StageFromZero takes the usage ratio itself, rounded up, since the target has no pods.
	StageFromZero Stage = "from zero"
)

// Assumption is the value that pods without a usable one are counted with.
type Assumption string

const (
	// AssumedZero counts them with 0, on the way up.
	AssumedZero Assumption = "0"
	// AssumedTarget counts them with the target, on the way down; a utilization counts them with the larger of target and 100 %.
	AssumedTarget Assumption = "target"
)

// MetricDecision is the arithmetic of one metric.
type MetricDecision struct {
	// Name is the controller's description: "pods metric m".
	Name  string
	Stage Stage
	// Replicas is the metric's wish.
	Replicas int32
	// Target is the target in thousandths, or in percent for a utilization.
	Target int64
	// Usage is the mean over pods or the total, in thousandths; for a utilization it is the mean in percent of the requests.
	Usage int64
	// Total is the sum of an object's or external metric, in thousandths.
	Total int64
	// RawUsage is a utilization's mean per pod in thousandths.
	RawUsage int64
	// UsageRatio is the usage divided by the target. Where no pods share a total it is infinite, or no number, and Usage says nothing.
	UsageRatio float64
	// NewUsageRatio is the ratio after pods without a usable value were counted; nil where none was.
	NewUsageRatio *float64
	// Counted is the number of pods that the ratio is multiplied with. It is 0 where a total is divided by the target.
	Counted int
	// Pods are the pods by their group, for metrics of pods.
	Pods PodGroups
	// Missing is how the running pods without a value are counted; empty if they are not counted.
	Missing Assumption
	// Unready is how unready pods are counted; empty if they are left out.
	Unready Assumption
	// Tolerance is the range of ratios that changes nothing.
	Tolerance Tolerance
	Err       error

	status autoscalingv2.MetricStatus
	reason string // of the condition ScalingActive, with cause, for an error
	cause  error
}

// IsShareOfNone reports whether a total is to be shared by pods, and there are none.
func (m *MetricDecision) IsShareOfNone() bool {
	return math.IsInf(m.UsageRatio, 0) || math.IsNaN(m.UsageRatio)
}

// Tolerance is the range from 1-Down to 1+Up.
type Tolerance struct{ Down, Up float64 }

// Holds reports whether a usage ratio changes nothing.
func (t Tolerance) Holds(ratio float64) bool { return 1-t.Down <= ratio && ratio <= 1+t.Up }

// PodGroups are the names of pods by how the controller treats them, each sorted as the input.
type PodGroups struct {
	// Ready pods have a value that counts.
	Ready []string
	// Unready pods are pending, or for CPU not ready yet: their values are left out.
	Unready []string
	// Missing pods run and have no value.
	Missing []string
	// Ignored pods are being deleted or have failed.
	Ignored []string
	// Unknown names have a value and are no pods of the target. Their values count.
	Unknown []string
}

// Stabilization is the step from the wish to the stabilized one.
type Stabilization struct {
	// UpFrom and DownFrom are the begins of the windows. Without spec.behavior there is only DownFrom.
	UpFrom, DownFrom time.Time
	// Replicas is the stabilized wish.
	Replicas int32
	// Holding is the recommendation that decides; nil if the present wish or the present replicas do.
	Holding *Recommendation
}

// Limit is the step from the stabilized wish to the number within limits and policies.
type Limit struct {
	// Replicas is the number that is kept to.
	Replicas int32
	// Reason is the reason of ScalingLimited: DesiredWithinRange, TooFewReplicas, TooManyReplicas, ScaleUpLimit, ScaleDownLimit.
	Reason string
	// Policies are the policies of the direction, with spec.behavior.
	Policies []PolicyLimit
}

// PolicyLimit is the number of replicas that a policy allows now.
type PolicyLimit struct {
	Policy autoscalingv2.HPAScalingPolicy
	// PeriodStart is the number of replicas when the policy's period began.
	PeriodStart int32
	// Allowed is the highest number on the way up, the lowest on the way down.
	Allowed int32
}
