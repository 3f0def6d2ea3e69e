// Usages of a source as objects of the API: metadata, quantities, omissions.

package resourcemetrics

import (
	"context"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// listPodUsages returns the usages of pods, in their order, and the omitted pods with their reasons.
func (a *UsageAPI) listPodUsages(ctx context.Context, objects []*metav1.PartialObjectMetadata) ([]metrics.PodMetrics, []metric.Omission, error) {
	if len(objects) == 0 {
		return []metrics.PodMetrics{}, nil, nil
	}
	requested := make([]Pod, len(objects))
	for i, o := range objects {
		requested[i] = Pod{metric.Object{Namespace: o.Namespace, Name: o.Name}, o.CreationTimestamp.Time}
	}
	now := a.deps.Now()
	usages, omitted, err := a.deps.Source.GetPodUsages(ctx, requested, now)
	if err != nil {
		return nil, nil, err
	}
	byPod := make(map[metric.Object]metrics.PodMetrics, len(usages))
	for _, u := range usages {
		m, reason := convertPodUsage(u)
		if reason != "" {
			omitted = append(omitted, metric.Omission{Object: u.Object, Reason: reason})
			continue
		}
		byPod[u.Object] = m
	}
	items := make([]metrics.PodMetrics, 0, len(byPod))
	for i, o := range objects {
		if m, found := byPod[requested[i].Object]; found {
			m.ObjectMeta = newUsageObjectMeta(o, now)
			items = append(items, m)
			a.metrics.age.WithLabelValues(Pods).Observe(now.Sub(m.Timestamp.Time).Seconds())
		}
	}
	a.metrics.countUsageOmissions(Pods, omitted)
	return items, omitted, nil
}

// listNodeUsages returns the usages of nodes, like listPodUsages for pods.
func (a *UsageAPI) listNodeUsages(ctx context.Context, objects []*metav1.PartialObjectMetadata) ([]metrics.NodeMetrics, []metric.Omission, error) {
	if len(objects) == 0 {
		return []metrics.NodeMetrics{}, nil, nil
	}
	requested := make([]string, len(objects))
	for i, o := range objects {
		requested[i] = o.Name
	}
	now := a.deps.Now()
	usages, omitted, err := a.deps.Source.GetNodeUsages(ctx, requested, now)
	if err != nil {
		return nil, nil, err
	}
	byName := make(map[string]metrics.NodeMetrics, len(usages))
	for _, u := range usages {
		list, reason := u.toResourceList()
		if reason != "" {
			omitted = append(omitted, metric.Omission{Object: metric.Object{Name: u.Name}, Reason: reason})
			continue
		}
		byName[u.Name] = metrics.NodeMetrics{Timestamp: metav1.NewTime(u.Time), Window: metav1.Duration{Duration: u.Window}, Usage: list}
	}
	items := make([]metrics.NodeMetrics, 0, len(byName))
	for _, o := range objects {
		if m, found := byName[o.Name]; found {
			m.ObjectMeta = newUsageObjectMeta(o, now)
			items = append(items, m)
			a.metrics.age.WithLabelValues(Nodes).Observe(now.Sub(m.Timestamp.Time).Seconds())
		}
	}
	a.metrics.countUsageOmissions(Nodes, omitted)
	return items, omitted, nil
}

// newUsageObjectMeta returns the metadata of an object's usage. A usage is created by its request, at now.
func newUsageObjectMeta(o *metav1.PartialObjectMetadata, now time.Time) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, Labels: o.Labels, CreationTimestamp: metav1.NewTime(now)}
}

// convertPodUsage returns a usage in the API's type, without metadata; or a reason if the numbers of a container are unusable,
// which would spoil the autoscaler's sum.
func convertPodUsage(u PodUsage) (metrics.PodMetrics, metric.Reason) {
	m := metrics.PodMetrics{Timestamp: metav1.NewTime(u.Time), Window: metav1.Duration{Duration: u.Window}}
	for _, c := range u.Containers {
		list, reason := c.toResourceList()
		if reason != "" {
			return metrics.PodMetrics{}, reason
		}
		m.Containers = append(m.Containers, metrics.ContainerMetrics{Name: c.Name, Usage: list})
	}
	if len(m.Containers) == 0 {
		return metrics.PodMetrics{}, metric.ReasonAbsent
	}
	return m, ""
}

// toResourceList returns CPU in billionths of a core and memory in bytes, rounded to the nearest, halves away from zero; or the
// reason if a number is unusable.
func (u Usage) toResourceList() (corev1.ResourceList, metric.Reason) {
	cpu, reason := roundResourceUsage(u.CPU, 1e9)
	if reason != "" {
		return nil, reason
	}
	// The autoscaler reads memory in thousandths of a byte: these must fit an int64 too.
	memory, reason := roundResourceUsage(u.Memory, 1)
	if reason == "" && memory > math.MaxInt64/1000 {
		reason = metric.ReasonOutOfRange
	}
	if reason != "" {
		return nil, reason
	}
	q := resource.NewScaledQuantity(cpu, resource.Nano)
	q.Format = resource.DecimalSI
	return corev1.ResourceList{
		corev1.ResourceCPU:    *q,
		corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
	}, ""
}

// roundResourceUsage returns v in fractions of 1/units, or the reason if v has no such number. It accepts any v.
func roundResourceUsage(v, units float64) (int64, metric.Reason) {
	n := math.Round(v * units)
	switch {
	case math.IsNaN(n):
		return 0, metric.ReasonNotANumber
	case v < 0:
		return 0, metric.ReasonNegative
	case n >= 1<<63:
		return 0, metric.ReasonOutOfRange
	}
	return int64(n), ""
}
