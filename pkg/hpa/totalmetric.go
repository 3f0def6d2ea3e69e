package hpa

// This file holds the arithmetic of metrics that have one total: Object and External.

import "math"

// decideTotalValue computes the wish for a target of the total: the ratio multiplied with the ready pods. At 0 replicas the ratio
// itself is the wish, without a tolerance.
func decideTotalValue(m *MetricDecision, total, target int64, in Input) error {
	m.Total, m.Usage, m.Target, m.UsageRatio = total, total, target, float64(total)/float64(target)
	if in.SpecReplicas == 0 {
		m.Stage, m.Replicas = StageFromZero, int32(math.Ceil(m.UsageRatio))
		return nil
	}
	if m.Tolerance.Holds(m.UsageRatio) {
		m.Stage, m.Replicas = StageTolerated, in.SpecReplicas
		return nil
	}
	ready, err := countReadyPods(in.Pods)
	if err != nil {
		return err
	}
	wish := m.UsageRatio * float64(ready)
	m.Stage, m.Counted, m.Replicas = StageScaled, int(ready), int32(math.Ceil(min(wish, math.MaxInt32)))
	return nil
}

// decideTotalShare computes the wish for a target of a share per pod: the total divided by the target. The tolerance looks at the share
// of the pods that the scale's status counts.
func decideTotalShare(m *MetricDecision, total, target int64, statusReplicas int32) {
	m.Total, m.Target, m.Stage, m.Replicas = total, target, StageTolerated, statusReplicas
	m.UsageRatio = float64(total) / (float64(target) * float64(statusReplicas))
	if !m.Tolerance.Holds(m.UsageRatio) {
		m.Stage, m.Replicas = StageScaled, int32(math.Ceil(float64(total)/float64(target)))
	}
	m.Usage = int64(math.Ceil(float64(total) / float64(statusReplicas)))
}

// decideExternalShare is decideTotalShare with the bounds that the controller has for external metrics alone.
func decideExternalShare(m *MetricDecision, total, target int64, statusReplicas int32) {
	decideTotalShare(m, total, target, statusReplicas)
	if m.Stage == StageScaled && math.Ceil(float64(total)/float64(target)) > math.MaxInt32 {
		m.Replicas = math.MaxInt32
	}
	if float64(total) >= math.MaxInt64 {
		m.Usage = math.MaxInt64
	}
}

// sumExternalValue adds up an external metric for a target of the total. The sum stops at the largest int64.
func sumExternalValue(values []int64) int64 {
	sum := int64(0)
	for _, v := range values {
		if v > 0 && sum > math.MaxInt64-v {
			return math.MaxInt64
		}
		sum += v
	}
	return sum
}

// sumExternalShare adds up an external metric for a share per pod. The controller takes a negative sum for an overflow, and so
// for the largest int64.
func sumExternalShare(values []int64) int64 {
	sum := int64(0)
	for _, v := range values {
		if sum += v; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}
