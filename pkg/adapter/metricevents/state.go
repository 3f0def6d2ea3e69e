package metricevents

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"
)

const (
	reasonFailed    = "MetricFailed"
	reasonRecovered = "MetricRecovered"
	component       = "tachometer-adapter"

	// readBefore is the longest time from a read to the status that shows its outcome.
	readBefore = 30 * time.Second
	// maxNameBytes and maxMessageBytes are the API's bounds, the name's without the hash.
	maxNameBytes    = 253 - 17
	maxMessageBytes = 1000
)

// specMetric is a metric of an autoscaler's spec.
type specMetric struct {
	index int
	name  string
}

// metricChange is a change of an autoscaler's metrics between value and error.
type metricChange struct {
	uid       types.UID
	isFailing bool
	metrics   []specMetric  // that fail, or failed and are still in the spec
	removed   []string      // names of metrics that failed and are no longer in the spec
	all       bool          // no metric has a value, CPU and memory included
	replicas  int32         // at the change
	lasted    time.Duration // of the failure, for its end
	at        time.Time
	version   string // the autoscaler's resourceVersion, the same for all replicas
}

// autoscalerState is an autoscaler's newest change, and whether its Event is written. The Reporter's mu guards it.
type autoscalerState struct {
	uid types.UID
	// hadValues: all metrics had values once. A new autoscaler with metrics that warm up loses nothing.
	hadValues bool
	newest    metricChange
	failedAt  time.Time
	told      bool // the newest Event is of a failure
	attempts  int  // failed writes of the newest change
	failures  *rate.Limiter
}

func newAutoscalerState(uid types.UID) *autoscalerState {
	return &autoscalerState{uid: uid, failures: rate.NewLimiter(rate.Every(failureInterval), failureBurst)}
}

// updateFromStatus notes the status of an autoscaler.
func (s *autoscalerState) updateFromStatus(h *autoscalingv2.HorizontalPodAutoscaler, now time.Time) {
	failing, all, ok := listMetricsWithoutValue(h)
	if !ok {
		return
	}
	s.hadValues = s.hadValues || len(failing) == 0
	isFailing := s.hadValues && len(failing) > 0
	if isFailing == s.newest.isFailing {
		return
	}
	metrics, removed := failing, []string(nil)
	if !isFailing {
		metrics, removed = listMetricsStillInSpec(h, s.newest.metrics)
	} else {
		s.failedAt = now
	}
	s.attempts = 0
	s.newest = metricChange{
		uid: s.uid, isFailing: isFailing, metrics: metrics, removed: removed, all: all,
		replicas: h.Status.CurrentReplicas, lasted: now.Sub(s.failedAt), at: now, version: h.ResourceVersion,
	}
}

// hasUnreportedChange reports whether the newest change has no Event yet.
func (s *autoscalerState) hasUnreportedChange() bool { return s.newest.isFailing != s.told }

// isReportAdmitted reports whether the bound on failures admits the newest change.
func (s *autoscalerState) isReportAdmitted(now time.Time) bool {
	return !s.newest.isFailing || s.failures.TokensAt(now) >= 1
}

// takeUnreportedChange returns the newest change, and counts it as told, in the bound on failures too.
func (s *autoscalerState) takeUnreportedChange(now time.Time) metricChange {
	if s.told = s.newest.isFailing; s.told && s.attempts == 0 {
		s.failures.AllowN(now, 1)
	}
	return s.newest
}

// returnUnwrittenChange makes a change that could not be written untold again, until its attempts are used up.
func (s *autoscalerState) returnUnwrittenChange(c metricChange) {
	if s.newest.version != c.version || s.told != c.isFailing {
		return // it has changed since
	}
	if s.attempts++; s.attempts < writeAttempts {
		s.told = !c.isFailing
	}
}

// listMetricsWithoutValue returns the metrics of an autoscaler without a value in its status, but for CPU and memory, which come from another
// API. all reports whether no metric has a value, and ok whether the status shows it. The HPA controller writes an empty entry for a
// metric that failed.
func listMetricsWithoutValue(h *autoscalingv2.HorizontalPodAutoscaler) (failing []specMetric, all, ok bool) {
	if len(h.Spec.Metrics) == 0 || len(h.Status.CurrentMetrics) != len(h.Spec.Metrics) {
		return nil, false, false
	}
	all = true
	for i := range h.Spec.Metrics {
		if h.Status.CurrentMetrics[i].Type != "" {
			all = false
		} else if name := formatMetricSubject(&h.Spec.Metrics[i]); name != "" {
			failing = append(failing, specMetric{i, name})
		}
	}
	return failing, all, true
}

// listMetricsStillInSpec returns the metrics that are still in the spec, with their present index, and the names of the others.
func listMetricsStillInSpec(h *autoscalingv2.HorizontalPodAutoscaler, metrics []specMetric) (found []specMetric, removed []string) {
	for _, m := range metrics {
		i := slices.IndexFunc(h.Spec.Metrics, func(spec autoscalingv2.MetricSpec) bool { return formatMetricSubject(&spec) == m.name })
		if i < 0 {
			removed = append(removed, m.name)
		} else {
			found = append(found, specMetric{i, m.name})
		}
	}
	return found, removed
}

// formatMetricSubject returns the words for a metric; empty for CPU and memory.
func formatMetricSubject(m *autoscalingv2.MetricSpec) string {
	switch {
	case m.Pods != nil:
		return m.Pods.Metric.Name
	case m.Object != nil:
		return m.Object.Metric.Name + " of " + m.Object.DescribedObject.Kind + "/" + m.Object.DescribedObject.Name
	case m.External != nil:
		return "external metric " + m.External.Metric.Name
	}
	return ""
}

func (c metricChange) getEventReason() string {
	if c.isFailing {
		return reasonFailed
	}
	return reasonRecovered
}

// readShowsChange reports whether a read of the metric at index shows the change. If the spec has none of the failed metrics any more, any read does.
func (c metricChange) readShowsChange(index int) bool {
	return len(c.metrics) == 0 || slices.ContainsFunc(c.metrics, func(m specMetric) bool { return m.index == index })
}

// formatEventMessage returns the message of a change.
func (c metricChange) formatEventMessage(cause string) string {
	names := make([]string, len(c.metrics))
	for i, m := range c.metrics {
		names[i] = m.name
	}
	has, value, end := "has", "a value", "until it has one"
	if len(names) > 1 {
		has, value, end = "have", "values", "until all have one"
	}
	subject := strings.Join(names, ", ")
	if !c.isFailing {
		return c.formatRecoveryMessage(subject, has, value)
	}
	effect := "does not scale down"
	if c.all {
		effect = fmt.Sprintf("keeps its %d replicas", c.replicas)
	}
	return fmt.Sprintf("%s %s no %s: %s; the autoscaler %s %s", subject, has, strings.TrimPrefix(value, "a "), cause, effect, end)
}

func (c metricChange) formatRecoveryMessage(subject, has, value string) string {
	lasted, removed := c.lasted.Round(time.Second), strings.Join(c.removed, ", ")
	switch {
	case len(c.removed) == 0:
		return fmt.Sprintf("%s %s %s again, after %s", subject, has, value, lasted)
	case len(c.metrics) == 0:
		return fmt.Sprintf("all metrics have values, after %s; no longer in the spec: %s", lasted, removed)
	}
	return fmt.Sprintf("%s %s %s again, after %s; no longer in the spec: %s", subject, has, value, lasted, removed)
}

// formatEventName returns the name of a change's Event, the same at all replicas.
func formatEventName(autoscaler string, c metricChange) string {
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, c.uid, " ", c.version, " ", c.isFailing)
	return fmt.Sprintf("%s.%016x", autoscaler[:min(len(autoscaler), maxNameBytes)], hash.Sum64())
}
