package top

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

var topTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// metricsAPI answers 90 in two values, and an error for metrics named broken.
type metricsAPI struct{}

func (metricsAPI) Read(_ context.Context, path string) ([]byte, error) {
	if strings.Contains(path, "broken") {
		return nil, errors.New("2 pods: 2 stale")
	}
	if strings.HasPrefix(path, "/apis/metrics.k8s.io/") {
		return []byte(`{"items":[{"metadata":{"name":"web-1"},"timestamp":"2026-11-28T11:59:30Z","containers":[{"name":"web","usage":{"cpu":"72m"}}]}]}`), nil
	}
	return []byte(`{"items":[
		{"describedObject":{"name":"web-1"},"timestamp":"2026-11-28T11:59:50Z","value":"60"},
		{"describedObject":{"name":"web-2"},"timestamp":"2026-11-28T11:59:58Z","value":"30"}]}`), nil
}

func podsMetric(name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: autoscalingv2.MetricTarget{AverageValue: new(resource.MustParse("50"))},
	}}
}

func externalMetric(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "orders"}, Target: target}}
}

// newScaled returns an inventory with one autoscaler of two pods.
func newScaled(status autoscalingv2.HorizontalPodAutoscalerStatus, metrics ...autoscalingv2.MetricSpec) *inventory.Inventory {
	labels := map[string]string{"app": "web"}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: labels}}
	pod.Spec.Containers = []corev1.Container{{Name: "web", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
	}}}
	started := metav1.NewTime(topTime.Add(-time.Hour))
	pod.Status = corev1.PodStatus{StartTime: &started, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(topTime)}}}
	ready := *pod.DeepCopy()
	ready.Name, ready.Status.Conditions = "web-2", []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return &inventory.Inventory{
		HPAs: []autoscalingv2.HorizontalPodAutoscaler{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "web"}, MaxReplicas: 10, Metrics: metrics,
			},
			Status: status,
		}},
		Workloads: []inventory.Workload{{Kind: "Deployment", Namespace: "shop", Name: "web", Selector: &metav1.LabelSelector{MatchLabels: labels}}},
		Pods:      []corev1.Pod{pod, ready},
	}
}

// atZero takes the pods away.
func atZero(objects *inventory.Inventory) *inventory.Inventory {
	objects.Pods = nil
	return objects
}

// going lets the second pod be deleted: its value does not count.
func going(objects *inventory.Inventory) *inventory.Inventory {
	objects.Pods[1].DeletionTimestamp = &metav1.Time{Time: topTime}
	return objects
}

// withoutRequests takes the requests of the pods away.
func withoutRequests(objects *inventory.Inventory) *inventory.Inventory {
	for i := range objects.Pods {
		objects.Pods[i].Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}
	}
	return objects
}

// TestRows: a value is in the terms of its target, and the state is the worst that is true.
func TestRows(t *testing.T) {
	t.Parallel()
	status := func(now, wanted int32, conditions ...autoscalingv2.HorizontalPodAutoscalerCondition) autoscalingv2.HorizontalPodAutoscalerStatus {
		return autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: now, DesiredReplicas: wanted, Conditions: conditions}
	}
	reason := func(r string) autoscalingv2.HorizontalPodAutoscalerCondition {
		return autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: r}
	}
	cpu := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu", Target: autoscalingv2.MetricTarget{AverageUtilization: new(int32(60))}}}
	measured := status(2, 2)
	measured.CurrentMetrics = []autoscalingv2.MetricStatus{{Resource: &autoscalingv2.ResourceMetricStatus{
		Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: new(int32(72))},
	}}}
	for name, tc := range map[string]struct {
		objects *inventory.Inventory
		want    string
	}{
		"mean over pods":        {newScaled(status(2, 2), podsMetric("rps")), "web|rps: 45/50|2|2|1|10s|steady"},
		"total shared by pods":  {newScaled(status(4, 4), externalMetric(autoscalingv2.MetricTarget{AverageValue: new(resource.MustParse("20"))})), "web|orders, external: 22.5/20|4|4|1|10s|steady"},
		"total":                 {newScaled(status(4, 4), externalMetric(autoscalingv2.MetricTarget{Value: new(resource.MustParse("100"))})), "web|orders, external: 90/100|4|4|1|10s|steady"},
		"utilization":           {newScaled(measured, cpu), "web|cpu: 72%/60%|2|2|1|30s|steady"},
		"a metric without any":  {newScaled(measured, autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "memory"}}, podsMetric("rps")), "web|memory: ?/?, rps: 45/50|2|2|1|10s|partial"},
		"no value":              {newScaled(status(2, 2), podsMetric("broken")), "web|broken: ?/50|2|2|1|<unknown>|broken"},
		"no value of one":       {newScaled(status(2, 2), podsMetric("broken"), podsMetric("rps")), "web|broken: ?/50, rps: 45/50|2|2|1|10s|partial"},
		"rising":                {newScaled(status(2, 3), podsMetric("rps")), "web|rps: 45/50|2|3|1|10s|rising"},
		"falling":               {newScaled(status(3, 2), podsMetric("rps")), "web|rps: 45/50|3|2|1|10s|falling"},
		"limited, though equal": {newScaled(status(2, 2, reason("TooManyReplicas")), podsMetric("rps")), "web|rps: 45/50|2|2|1|10s|limited"},
		"held":                  {newScaled(status(2, 2, reason("ScaleDownStabilized")), podsMetric("rps")), "web|rps: 45/50|2|2|1|10s|held"},
		"minimum":               {newScaled(status(2, 2, reason("TooFewReplicas")), podsMetric("rps")), "web|rps: 45/50|2|2|1|10s|minimum"},
		"new":                   {newScaled(status(0, 0), podsMetric("rps")), "web|rps: 45/50|0|0|1|10s|new"},
		"deleted workload":      {newScaled(status(2, 2, autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionFalse, Reason: "FailedGetScale"}), podsMetric("rps")), "web|rps: 45/50|2|2|1|10s|broken"},
		"a seventh of a total":  {newScaled(status(7, 7), externalMetric(autoscalingv2.MetricTarget{AverageValue: new(resource.MustParse("20"))})), "web|orders, external: 12.858/20|7|7|1|10s|steady"},
		"a total at zero":       {atZero(newScaled(status(0, 0, reason("TooFewReplicas")), externalMetric(autoscalingv2.MetricTarget{AverageValue: new(resource.MustParse("20"))}), podsMetric("broken"))), "web|orders, external: 90/20, broken: ?/50|0|0|0|10s|minimum"},
		"a pod that goes":       {going(newScaled(status(2, 2), podsMetric("rps"))), "web|rps: 60/50|2|2|1|10s|steady"},
		"a request is missing":  {withoutRequests(newScaled(measured, cpu)), "web|cpu: ?/60%|2|2|1|<unknown>|broken"},
		"off":                   {newScaled(status(0, 0, reason("ScalingDisabled")), podsMetric("broken")), "web|broken: ?/50|0|0|1|<unknown>|off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := Read(t.Context(), tc.objects, reading.MetricReader{Reader: metricsAPI{}}, topTime)
			if diff := cmp.Diff(tc.want, strings.Join(report.Items[0].formatRowCells(topTime), "|")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownPods: without the right to read the workload, the row has what the status says.
func TestUnknownPods(t *testing.T) {
	t.Parallel()
	objects := newScaled(autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 2, DesiredReplicas: 2}, podsMetric("rps"))
	objects.HPAs[0].Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Pods: &autoscalingv2.PodsMetricStatus{
		Current: autoscalingv2.MetricValueStatus{AverageValue: new(resource.MustParse("44"))},
	}}}
	objects.Workloads = nil
	row := Read(t.Context(), objects, reading.MetricReader{Reader: metricsAPI{}}, topTime).Items[0]
	if got := strings.Join(row.formatRowCells(topTime), "|"); got != "web|rps: 44/50|2|2|?|<unknown>|steady" {
		t.Errorf("got %s", got)
	}
}
