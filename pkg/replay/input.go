package replay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// replayedRequest is the request of a replayed pod in thousandths, for a utilization in whole percent of it.
const replayedRequest = 1000

// inputBuilder makes the input of the HPA's arithmetic from a recorded decision.
type inputBuilder struct {
	spec, recorded *autoscalingv2.HorizontalPodAutoscalerSpec
	decision       *explainapi.Decision
}

// findMissingInput returns the input that was not recorded and is needed at a number of replicas, after a status; empty if nothing is missing.
func (b *inputBuilder) findMissingInput(replicas int32, before *explainapi.Status) string {
	if b.decidesWithoutMetrics(replicas, before) {
		return ""
	}
	for i := range b.spec.Metrics {
		m := &b.spec.Metrics[i]
		at := b.findRecordedMetric(m)
		switch {
		case at < 0 && b.isUsageOfAnotherType(m):
			return fmt.Sprintf("the record has %s in the terms of the recorded target alone, and the other target is of another type", nameReplayedMetric(m))
		case at < 0:
			return fmt.Sprintf("metric %s is not in the recorded spec", nameReplayedMetric(m))
		case m.Resource != nil || m.ContainerResource != nil:
			if at >= len(b.decision.Status.Current) {
				return fmt.Sprintf("metric %s is not in the status", nameReplayedMetric(m))
			}
		case b.findReplayedRead(at) == nil:
			return fmt.Sprintf("no read of %s is in the record", nameReplayedMetric(m))
		case b.findReplayedRead(at).Truncated:
			return fmt.Sprintf("the record has only the first %d values of %s", len(b.findReplayedRead(at).Values), nameReplayedMetric(m))
		}
	}
	return ""
}

// decidesWithoutMetrics reports whether the controller decides without a look at metrics: outside of the limits, and at a zero that it did
// not make itself or that no metric can end.
func (b *inputBuilder) decidesWithoutMetrics(current int32, before *explainapi.Status) bool {
	low := int32(1)
	if b.spec.MinReplicas != nil {
		low = *b.spec.MinReplicas
	}
	if current != 0 {
		return current > b.spec.MaxReplicas || current < low
	}
	isOwnZero := slices.ContainsFunc(before.Conditions, func(c explainapi.Condition) bool {
		return c.Type == string(autoscalingv2.ScaledToZero) && c.Status == string(corev1.ConditionTrue)
	})
	outlivesPods := slices.ContainsFunc(b.spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return m.Object != nil || m.External != nil })
	return !isOwnZero || low == 0 && !outlivesPods
}

// findRecordedMetric returns the index of a metric in the recorded spec, with any target; -1 without one.
func (b *inputBuilder) findRecordedMetric(m *autoscalingv2.MetricSpec) int {
	return slices.IndexFunc(b.recorded.Metrics, func(o autoscalingv2.MetricSpec) bool {
		switch {
		case m.Pods != nil && o.Pods != nil:
			return equality.Semantic.DeepEqual(m.Pods.Metric, o.Pods.Metric)
		case m.Object != nil && o.Object != nil:
			return m.Object.DescribedObject == o.Object.DescribedObject && equality.Semantic.DeepEqual(m.Object.Metric, o.Object.Metric)
		case m.External != nil && o.External != nil:
			return equality.Semantic.DeepEqual(m.External.Metric, o.External.Metric)
		case m.Resource != nil && o.Resource != nil:
			return m.Resource.Name == o.Resource.Name && m.Resource.Target.Type == o.Resource.Target.Type
		case m.ContainerResource != nil && o.ContainerResource != nil:
			return m.ContainerResource.Name == o.ContainerResource.Name && m.ContainerResource.Container == o.ContainerResource.Container &&
				m.ContainerResource.Target.Type == o.ContainerResource.Target.Type
		}
		return false
	})
}

// isUsageOfAnotherType reports whether the recorded spec has a metric of CPU or memory with a target of another type.
func (b *inputBuilder) isUsageOfAnotherType(m *autoscalingv2.MetricSpec) bool {
	return slices.ContainsFunc(b.recorded.Metrics, func(o autoscalingv2.MetricSpec) bool {
		return m.Resource != nil && o.Resource != nil && m.Resource.Name == o.Resource.Name ||
			m.ContainerResource != nil && o.ContainerResource != nil && m.ContainerResource.Name == o.ContainerResource.Name &&
				m.ContainerResource.Container == o.ContainerResource.Container
	})
}

// findReplayedRead returns the read of a metric of the recorded spec, or nil.
func (b *inputBuilder) findReplayedRead(metric int) *explainapi.Read {
	for i := range b.decision.Reads {
		if b.decision.Reads[i].Metric == metric {
			return &b.decision.Reads[i]
		}
	}
	return nil
}

// buildReplayInput returns the input of a decision at a number of replicas. With another number than the recorded one, the load is
// spread evenly over that many pods.
func (b *inputBuilder) buildReplayInput(replicas, recorded int32, before *explainapi.Status, history hpa.History) hpa.Input {
	pods := b.buildRecordedPods()
	if replicas != recorded {
		pods = b.buildEvenPods(replicas)
	}
	in := hpa.Input{
		HPA:          &autoscalingv2.HorizontalPodAutoscaler{Spec: *b.spec},
		SpecReplicas: replicas, StatusReplicas: countPresentPods(pods), Pods: pods, History: history, Now: b.decision.Time,
	}
	in.HPA.Status.DesiredReplicas = before.DesiredReplicas
	for _, c := range before.Conditions {
		in.HPA.Status.Conditions = append(in.HPA.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type), Status: corev1.ConditionStatus(c.Status), Reason: c.Reason,
		})
	}
	for i := range b.spec.Metrics {
		in.Answers = append(in.Answers, b.buildReplayAnswer(&b.spec.Metrics[i], pods, replicas, recorded))
	}
	return in
}

// buildReplayAnswer returns the answer to the read of a metric.
func (b *inputBuilder) buildReplayAnswer(m *autoscalingv2.MetricSpec, pods []*corev1.Pod, replicas, recorded int32) hpa.Answer {
	at := b.findRecordedMetric(m)
	if m.Resource != nil || m.ContainerResource != nil {
		return b.buildUsageAnswer(m, at, pods, replicas, recorded)
	}
	read := b.findReplayedRead(at)
	if read == nil { // the controller did not look at metrics
		return hpa.Answer{}
	}
	answer := hpa.Answer{}
	if read.Error != "" {
		answer.Err = errors.New(read.Error)
		return answer
	}
	total := int64(0)
	for _, v := range read.Values {
		total += v.Milli
	}
	switch {
	case m.External != nil:
		for _, v := range read.Values {
			answer.External = append(answer.External, v.Milli)
		}
	case m.Object != nil:
		answer.Object = total
	case replicas != recorded:
		answer.Pods = spreadEvenly(pods, total)
	default:
		answer.Pods = make(map[string]hpa.PodValue, len(read.Values))
		for _, v := range read.Values {
			answer.Pods[v.Pod] = hpa.PodValue{Value: v.Milli, Time: read.Time, Window: hpa.ConvertWindow(v.WindowSeconds)}
		}
	}
	return answer
}

// buildUsageAnswer returns an answer for a resource's usage, which another API serves: each pod has the mean of the status.
func (b *inputBuilder) buildUsageAnswer(m *autoscalingv2.MetricSpec, at int, pods []*corev1.Pod, replicas, recorded int32) hpa.Answer {
	if at < 0 || at >= len(b.decision.Status.Current) {
		return hpa.Answer{}
	}
	mean := b.decision.Status.Current[at]
	target := autoscalingv2.MetricTarget{}
	if m.Resource != nil {
		target = m.Resource.Target
	} else {
		target = m.ContainerResource.Target
	}
	if target.AverageUtilization != nil {
		mean = mean * replayedRequest / 100
	}
	if replicas > 0 {
		mean = mean * int64(recorded) / int64(replicas)
	}
	answer := hpa.Answer{Pods: map[string]hpa.PodValue{}}
	for _, p := range pods {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			answer.Pods[p.Name] = hpa.PodValue{Value: mean, Time: b.decision.Time}
		}
	}
	return answer
}

// spreadEvenly gives each pod its share of a total; the first pods have the rest of the division.
func spreadEvenly(pods []*corev1.Pod, total int64) map[string]hpa.PodValue {
	values := make(map[string]hpa.PodValue, len(pods))
	n := int64(len(pods)) // 0 after a scale to zero
	for i, p := range pods {
		v := total / n
		if int64(i) < total%n {
			v++
		}
		values[p.Name] = hpa.PodValue{Value: v}
	}
	return values
}

func (b *inputBuilder) buildRecordedPods() []*corev1.Pod {
	pods := make([]*corev1.Pod, len(b.decision.Pods))
	for i, p := range b.decision.Pods {
		pods[i] = b.buildReplayedPod(p.Name, p.State, p.Created, p.Readied)
	}
	return pods
}

// buildEvenPods returns a number of ready pods.
func (b *inputBuilder) buildEvenPods(count int32) []*corev1.Pod {
	pods := make([]*corev1.Pod, count)
	old := b.decision.Time.Add(-time.Hour)
	for i := range pods {
		pods[i] = b.buildReplayedPod(fmt.Sprintf("pod-%d", i+1), explainapi.PodReady, old, old)
	}
	return pods
}

func (b *inputBuilder) buildReplayedPod(name, state string, created, readied time.Time) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: created}}}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Time{Time: cmp.Or(readied, created)}}
	switch state {
	case explainapi.PodReady:
		ready.Status = corev1.ConditionTrue
	case explainapi.PodPending:
		p.Status.Phase = corev1.PodPending
	case explainapi.PodCompleted:
		p.Status.Phase = corev1.PodSucceeded
	case explainapi.PodDeparted:
		p.DeletionTimestamp = &metav1.Time{Time: b.decision.Time}
	}
	p.Status.Conditions = []corev1.PodCondition{ready}
	b.setReplayedRequests(&p.Spec)
	return p
}

// setReplayedRequests gives a pod the requests of the spec's metrics: the pod as a whole, and each container by itself.
func (b *inputBuilder) setReplayedRequests(pod *corev1.PodSpec) {
	request := func(r *corev1.ResourceRequirements, name corev1.ResourceName) {
		if r.Requests == nil {
			r.Requests = corev1.ResourceList{}
		}
		r.Requests[name] = *resource.NewMilliQuantity(replayedRequest, resource.DecimalSI)
	}
	for _, m := range b.spec.Metrics {
		switch {
		case m.Resource != nil:
			if pod.Resources == nil {
				pod.Resources = &corev1.ResourceRequirements{}
			}
			request(pod.Resources, m.Resource.Name)
		case m.ContainerResource != nil:
			at := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == m.ContainerResource.Container })
			if at < 0 {
				at, pod.Containers = len(pod.Containers), append(pod.Containers, corev1.Container{Name: m.ContainerResource.Container})
			}
			request(&pod.Containers[at].Resources, m.ContainerResource.Name)
		}
	}
}

func countPresentPods(pods []*corev1.Pod) int32 {
	n := int32(0)
	for _, p := range pods {
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded {
			n++
		}
	}
	return n
}

// nameReplayedMetric returns the name of a metric, for people.
func nameReplayedMetric(m *autoscalingv2.MetricSpec) string {
	switch {
	case m.Pods != nil:
		return m.Pods.Metric.Name
	case m.Object != nil:
		return m.Object.Metric.Name
	case m.External != nil:
		return m.External.Metric.Name
	case m.Resource != nil:
		return m.Resource.Name.String()
	case m.ContainerResource != nil:
		return m.ContainerResource.Name.String()
	}
	return "of an unknown type"
}
