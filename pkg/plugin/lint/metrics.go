package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// quantileName is a metric that is a quantile or a duration by its name: it does not add up over pods.
var quantileName = regexp.MustCompile(`(_p\d{2,3}|_quantile|(^|_)latency|_duration|(^|_)response_time)(_(seconds|milliseconds|ms))?$`)

// counterName is a metric that is a counter by its name, or a counter of a histogram.
var counterName = regexp.MustCompile(`_total$|_bucket$|_(seconds|bytes)_(count|sum)$`)

// isQuantileMetric reports whether a metric is a quantile by its name, or by a label of its selector, as a summary has it.
func isQuantileMetric(m autoscalingv2.MetricSpec) bool {
	return quantileName.MatchString(lintedMetricName(m)) ||
		slices.ContainsFunc(listMetricRequirements(m), func(r string) bool { return strings.HasPrefix(r, "quantile in ") })
}

// listMetricRequirements returns the requirements of a metric's selector, sorted: the same for matchLabels and for matchExpressions.
func listMetricRequirements(m autoscalingv2.MetricSpec) []string {
	selector, err := metav1.LabelSelectorAsSelector(reading.SelectorOf(m))
	if err != nil {
		return []string{metav1.FormatLabelSelector(reading.SelectorOf(m))}
	}
	requirements, _ := selector.Requirements()
	var texts []string
	for _, r := range requirements {
		operator := r.Operator()
		if operator == selection.Equals || operator == selection.DoubleEquals {
			operator = selection.In
		}
		texts = append(texts, fmt.Sprint(r.Key(), " ", operator, " ", slices.Sorted(slices.Values(r.ValuesUnsorted()))))
	}
	slices.Sort(texts)
	return texts
}

// listMetricRules returns the rules about the metrics of an autoscaler.
func listMetricRules() []Rule { return slices.Concat(listMetricSourceRules(), listMetricTargetRules()) }

// listMetricSourceRules returns the rules about metrics without a value, or with a wrong one.
func listMetricSourceRules() []Rule {
	return []Rule{
		{
			"counter-without-rate", SeverityError,
			"A counter only grows: the autoscaler stays at maxReplicas.",
			"Scale on NAME_per_second instead of NAME_total.", findRawCounters,
		},
		{
			"duplicate-metric", SeverityWarning,
			"Only the lower of two targets for one metric has an effect.",
			"Keep one of them.", findDuplicateMetrics,
		},
		{
			"invalid-metric", SeverityError,
			"kube-apiserver rejects such a metric, or the HPA controller cannot compute it.",
			"Give it a type, the field of that type, and one target above 0.", findInvalidMetrics,
		},
		{
			"metric-dies-with-its-pods", SeverityError,
			"Without pods there is no metric, and nothing wakes the workload.",
			"Add a metric that exists at zero, or set minReplicas to 1.", findMetricAtZero,
		},
		{
			"missing-request", SeverityError,
			"A utilization is a share of the request: without one the pod has no value.",
			"Set every container's request, or use an AverageValue target.", findMissingRequests,
		},
		{
			"unknown-container", SeverityError,
			"No pod has a container of this name.",
			"Name a container of the workload.", findUnknownContainers,
		},
	}
}

// listMetricTargetRules returns the rules about targets that scale a workload wrongly.
func listMetricTargetRules() []Rule {
	return []Rule{
		{
			"average-of-a-quantile", SeverityError,
			"The HPA divides this value by the number of pods: a latency divided by pods means nothing.",
			"Use a Value target, or scale on a rate or on concurrency.", findQuantileAverages,
		},
		{
			"cpu-beside-load", SeverityWarning,
			"The highest wish wins: the CPU of starting pods scales up at each deploy.",
			"Keep the metric that the load moves first.", findCPUBesideLoad,
		},
		{
			"cpu-target-out-of-reach", SeverityError,
			"The target with its tolerance lies above the CPU limit.",
			"Lower the target, or raise the CPU limit.", findUnreachableTarget,
		},
		{
			"latency-target", SeverityWarning,
			"A slow dependency raises latency whatever the number of pods, up to maxReplicas.",
			"Scale on a rate or on concurrency, and alert on latency.", findLatencyTargets,
		},
		{
			"memory-target", SeverityWarning,
			"Most programs keep the memory of a peak: the number of pods never falls again.",
			"Scale on load; bound memory by the container's limit.", findMemoryTargets,
		},
		{
			"surge-counts-as-wish", SeverityWarning,
			"Within the tolerance a rolling update's surge counts as wanted: each deploy adds pods (kubernetes#138505).",
			"Scale on a metric of pods, use a Value target, or set the Deployment's maxSurge to 0.", findSurgingAverages,
		},
		{
			"value-of-a-rate", SeverityWarning,
			"More pods do not lower the rate of all: with a Value target each look multiplies the pods, up to maxReplicas.",
			"Use an AverageValue target, unless the metric is a mean over the pods.", findRateValues,
		},
	}
}

// lintEachMetric returns the messages of a check for each metric of an autoscaler.
func lintEachMetric(s subject, check func(m autoscalingv2.MetricSpec) string) []string {
	var messages []string
	for _, m := range s.hpa.Spec.Metrics {
		if message := check(m); message != "" {
			messages = append(messages, inventory.DescribeMetric(m)+": "+message)
		}
	}
	return messages
}

// lintedMetricName returns the name of a custom or external metric, or nothing for CPU and memory.
func lintedMetricName(m autoscalingv2.MetricSpec) string {
	switch {
	case m.Pods != nil:
		return m.Pods.Metric.Name
	case m.Object != nil:
		return m.Object.Metric.Name
	case m.External != nil:
		return m.External.Metric.Name
	}
	return ""
}

func findQuantileAverages(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if m.Pods == nil && isQuantileMetric(m) && reading.TargetOf(m).AverageValue != nil {
			return "a quantile with a target of type AverageValue"
		}
		return ""
	})
}

func findRateValues(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if m.Pods == nil && inventory.IsRateMetric(lintedMetricName(m)) && reading.TargetOf(m).Value != nil {
			return "a rate with a target of type Value"
		}
		return ""
	})
}

func findSurgingAverages(s subject) []string {
	if s.workload == nil || !s.workload.Surges {
		return nil
	}
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if (m.External != nil || m.Object != nil) && reading.TargetOf(m).AverageValue != nil {
			return "AverageValue, and " + s.workload.Ref() + " surges"
		}
		return ""
	})
}

func findLatencyTargets(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if isQuantileMetric(m) && (m.Pods != nil || reading.TargetOf(m).Value != nil) {
			return "scales on latency"
		}
		return ""
	})
}

func findRawCounters(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if counterName.MatchString(lintedMetricName(m)) {
			return "a counter by its name"
		}
		return ""
	})
}

func findInvalidMetrics(s subject) []string {
	var messages []string
	for i, m := range s.hpa.Spec.Metrics {
		if err := inventory.CheckMetric(m); err != nil {
			messages = append(messages, fmt.Sprintf("spec.metrics[%d]: %v", i, err))
		}
	}
	return messages
}

func findCPUBesideLoad(s subject) []string {
	usage, load := "", ""
	for _, m := range s.hpa.Spec.Metrics {
		name, _, _ := lintedResourceMetric(m)
		if custom := lintedMetricName(m); custom != "" {
			load = custom
		} else if name == corev1.ResourceCPU {
			usage = inventory.DescribeMetric(m)
		}
	}
	return newLintFinding(usage != "" && load != "", "%s beside %s", usage, load)
}

func findMemoryTargets(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if m.Resource != nil && m.Resource.Name == corev1.ResourceMemory || m.ContainerResource != nil && m.ContainerResource.Name == corev1.ResourceMemory {
			return "scales on memory"
		}
		return ""
	})
}

func findMetricAtZero(s subject) []string {
	for _, m := range s.hpa.Spec.Metrics {
		if m.Object != nil || m.External != nil {
			return nil
		}
	}
	return newLintFinding(inventory.MinReplicasOf(s.hpa) == 0, "minReplicas is 0, and every metric comes from the pods themselves")
}

func findDuplicateMetrics(s subject) []string {
	seen := map[string]bool{}
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		key := lintedMetricIdentity(m)
		if seen[key] {
			return "named twice"
		}
		seen[key] = true
		return ""
	})
}

// lintedMetricIdentity distinguishes metrics: the spec without the amount of its target. A total and an average are two computations.
func lintedMetricIdentity(m autoscalingv2.MetricSpec) string {
	name := fmt.Sprint(lintedMetricName(m), " ", listMetricRequirements(m), " ", reading.TargetOf(m).Type)
	switch {
	case m.Pods != nil:
		return "pods " + name
	case m.Object != nil:
		o := m.Object.DescribedObject
		return fmt.Sprint("object ", o.Kind, "/", o.Name, " ", name)
	case m.External != nil:
		return "external " + name
	}
	return inventory.DescribeMetric(m)
}

// lintedResourceMetric returns the resource of a utilization target, and its container (empty: all).
func lintedResourceMetric(m autoscalingv2.MetricSpec) (name corev1.ResourceName, container string, utilization *int32) {
	switch {
	case m.Resource != nil:
		return m.Resource.Name, "", m.Resource.Target.AverageUtilization
	case m.ContainerResource != nil:
		return m.ContainerResource.Name, m.ContainerResource.Container, m.ContainerResource.Target.AverageUtilization
	}
	return "", "", nil
}

func findMissingRequests(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		name, container, utilization := lintedResourceMetric(m)
		if utilization == nil || s.workload == nil {
			return ""
		}
		if pod := s.workload.Template.Spec.Resources; container == "" && pod != nil && len(pod.Requests) > 0 { // of the pod as a whole
			if _, ok := pod.Requests[name]; ok {
				return ""
			}
			return fmt.Sprintf("the pod's own requests lack %s", name)
		}
		for _, c := range podpage.Containers(&s.workload.Template.Spec) {
			if _, ok := c.Resources.Requests[name]; !ok && (container == "" || c.Name == container) {
				if _, limited := c.Resources.Limits[name]; !limited { // a limit is the request where none is written
					return fmt.Sprintf("container %s has no request of %s", c.Name, name)
				}
			}
		}
		return ""
	})
}

func findUnknownContainers(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if m.ContainerResource == nil || s.workload == nil {
			return ""
		}
		for _, c := range podpage.Containers(&s.workload.Template.Spec) {
			if c.Name == m.ContainerResource.Container {
				return ""
			}
		}
		return s.workload.Ref() + " has no such container"
	})
}

// findUnreachableTarget compares the target, raised by the tolerance, with the usage at which every container is at its limit.
func findUnreachableTarget(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		name, container, utilization := lintedResourceMetric(m)
		if s.workload == nil || name != corev1.ResourceCPU {
			return ""
		}
		request, limit := sumContainerBounds(s.workload.Template.Spec, name, container)
		if limit == nil || request.IsZero() {
			return ""
		}
		raised := 1 + scaleUpTolerance(s.hpa)
		if average := reading.TargetOf(m).AverageValue; average != nil {
			if needed := float64(average.MilliValue()) * raised; float64(limit.MilliValue()) <= needed {
				return fmt.Sprintf("it scales up above %.0fm, and the limits permit %s", needed, limit)
			}
		}
		if utilization == nil {
			return ""
		}
		most := 100 * float64(limit.MilliValue()) / float64(request.MilliValue())
		if needed := float64(*utilization) * raised; most <= needed {
			return fmt.Sprintf("it scales up above %.0f %% of the request, and the limits permit %.0f %%", needed, most)
		}
		return ""
	})
}

// sumContainerBounds returns the sums of the requests and the limits of a pod, or of one of its containers. The limit is nil where something has
// none. Requests and limits of the pod as a whole go before its containers' own.
func sumContainerBounds(spec corev1.PodSpec, name corev1.ResourceName, container string) (request, limit *resource.Quantity) {
	request, limit = &resource.Quantity{}, &resource.Quantity{}
	for _, c := range podpage.Containers(&spec) {
		if container != "" && c.Name != container {
			continue
		}
		bound, limited := c.Resources.Limits[name]
		asked, requested := c.Resources.Requests[name]
		if !requested {
			asked = bound
		}
		request.Add(asked)
		if !limited {
			limit = nil
		} else if limit != nil {
			limit.Add(bound)
		}
	}
	if spec.Resources == nil || container != "" {
		return request, limit
	}
	if bound, limited := spec.Resources.Limits[name]; limited {
		limit = &bound
		if request.IsZero() {
			request = &bound
		}
	}
	if asked, requested := spec.Resources.Requests[name]; requested {
		request = &asked
	}
	return request, limit
}
