package hpa

// This file holds the arithmetic of metrics that pods have: Pods, Resource and ContainerResource.

import (
	"errors"
	"math"

	corev1 "k8s.io/api/core/v1"
)

var (
	errNoPods    = errors.New("no pods returned by selector while calculating replica count")
	errNoValues  = errors.New("did not receive metrics for targeted pods (pods might be unready)")
	errNoRequest = errors.New("no metrics returned matched known pods")
)

// podMetric is a metric of pods with its target. A utilization has percent, the share of requests; else amount is the target per
// pod in thousandths.
type podMetric struct {
	resource  corev1.ResourceName // empty for a custom metric
	container string
	amount    int64
	percent   int32
}

func (p podMetric) isUtilization() bool { return p.percent != 0 }

// podUsage is the usage of some pods against the target.
type podUsage struct {
	ratio   float64
	mean    int64 // thousandths
	percent int32 // of the requests, for a utilization
}

// measurePodUsage returns the usage of values. The mean is cut to whole thousandths and the utilization to whole percent.
func (p podMetric) measurePodUsage(values map[string]int64, requests map[string]int64) (podUsage, error) {
	u, total, requested, count := podUsage{}, int64(0), int64(0), int64(0)
	for name, value := range values {
		if p.isUtilization() {
			request, found := requests[name]
			if !found {
				continue
			}
			requested += request
		}
		total += value
		count++
	}
	if !p.isUtilization() {
		u.mean = total / count
		u.ratio = float64(u.mean) / float64(p.amount)
		return u, nil
	}
	if requested == 0 {
		return u, errNoRequest
	}
	u.mean, u.percent = total/count, int32(total*100/requested)
	u.ratio = float64(u.percent) / float64(p.percent)
	return u, nil
}

// decidePodMetric computes the wish of a metric of pods into m.
func decidePodMetric(m *MetricDecision, p podMetric, in Input, s Settings, answer Answer) error {
	if len(in.Pods) == 0 {
		return errNoPods
	}
	m.Pods = groupPodsByReadiness(in.Pods, answer.Pods, p.resource, in.Now, s)
	values := selectPodValues(answer.Pods, m.Pods)
	if len(values) == 0 {
		return errNoValues
	}
	var requests map[string]int64
	if p.isUtilization() {
		var err error
		if requests, err = sumPodRequests(in.Pods, p.container, p.resource); err != nil {
			return err
		}
	}
	first, err := p.measurePodUsage(values, requests)
	if err != nil {
		return err
	}
	m.setPodUsage(p, first)
	isUpWithUnready := len(m.Pods.Unready) > 0 && first.ratio > 1
	if !isUpWithUnready && len(m.Pods.Missing) == 0 {
		m.wishWithinTolerance(first.ratio, len(m.Pods.Ready), in.SpecReplicas)
		return nil
	}
	p.assumePodValues(m, values, requests, isUpWithUnready)
	second, err := p.measurePodUsage(values, requests)
	if err != nil {
		return err
	}
	m.NewUsageRatio = &second.ratio
	m.decideWithAssumed(first.ratio, second.ratio, len(values), in.SpecReplicas)
	return nil
}

// selectPodValues returns the values that count: of ready pods, and of names that are no pods of the target.
func selectPodValues(answer map[string]PodValue, g PodGroups) map[string]int64 {
	values := make(map[string]int64, len(answer))
	for _, names := range [][]string{g.Ready, g.Unknown} {
		for _, name := range names {
			values[name] = answer[name].Value
		}
	}
	return values
}

// setPodUsage notes the usage of the pods with values.
func (m *MetricDecision) setPodUsage(p podMetric, u podUsage) {
	m.UsageRatio, m.Usage, m.Target = u.ratio, u.mean, p.amount
	if p.isUtilization() {
		m.Usage, m.RawUsage, m.Target = int64(u.percent), u.mean, int64(p.percent)
	}
}

// wishWithinTolerance keeps the replicas within the tolerance, else multiplies the ratio with the pods.
func (m *MetricDecision) wishWithinTolerance(ratio float64, pods int, current int32) {
	if m.Tolerance.Holds(ratio) {
		m.Stage, m.Replicas = StageTolerated, current
		return
	}
	m.Stage, m.Counted, m.Replicas = StageScaled, pods, int32(math.Ceil(ratio*float64(pods)))
}

// assumePodValues adds values for pods that have none that counts: 0 on the way up, the target on the way down. Unready pods count on
// the way up only. At a ratio of exactly 1 nothing is added.
func (p podMetric) assumePodValues(m *MetricDecision, values, requests map[string]int64, isUpWithUnready bool) {
	if len(m.Pods.Missing) > 0 && m.UsageRatio != 1 {
		m.Missing = AssumedZero
		if m.UsageRatio < 1 {
			m.Missing = AssumedTarget
		}
	}
	for _, name := range m.Pods.Missing {
		switch {
		case m.Missing == AssumedZero:
			values[name] = 0
		case m.Missing == AssumedTarget && p.isUtilization():
			values[name] = requests[name] * int64(max(100, p.percent)) / 100
		case m.Missing == AssumedTarget:
			values[name] = p.amount
		}
	}
	if isUpWithUnready {
		m.Unready = AssumedZero
		for _, name := range m.Pods.Unready {
			values[name] = 0
		}
	}
}

// decideWithAssumed decides with the ratio that counts pods without a value of their own. Such pods may damp a step, and never turn it.
func (m *MetricDecision) decideWithAssumed(first, second float64, pods int, current int32) {
	m.Replicas, m.Counted = current, pods
	if m.Tolerance.Holds(second) {
		m.Stage = StageTolerated
		return
	}
	if first < 1 && second > 1 || first > 1 && second < 1 {
		m.Stage = StageRatioReversed
		return
	}
	wish := int32(math.Ceil(second * float64(pods)))
	if second < 1 && wish > current || second > 1 && wish < current {
		m.Stage = StageCountReversed
		return
	}
	m.Stage, m.Replicas = StageScaled, wish
}
