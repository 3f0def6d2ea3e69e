package explain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

var (
	explainTime = time.Date(2026, 11, 28, 12, 4, 0, 0, time.UTC)
)

// load is a workload of some pods with a rate each, and its autoscaler.
type load struct {
	rates     []string // of request_per_second; "" for a pod without value
	pending   int      // of the first pods
	failure   string   // of the read
	wanted    int32
	reasons   []string
	external  string // the total of an external metric in place of the rates; "none" for an answer without a value
	broken    string // the API group whose reads fail
	cpu       string // the usage of each pod, which requests 100m
	change    func(hpa *autoscalingv2.HorizontalPodAutoscaler)
	recorded  Recorded
	past      []hpa.Recommendation       // with decided: the controller's memory
	surging   int32                      // pods of the workload's status
	hasScaled bool                       // with decided: in the last minute
	spoil     func(i int, p *corev1.Pod) // changes the i-th pod
	decided   *hpa.Decision              // set to the controller's decision, whose status the autoscaler gets
}

// decide gives the autoscaler the status of the controller's decision from the same inputs.
func (l load) decide(t *testing.T, autoscaler *autoscalingv2.HorizontalPodAutoscaler, objects *inventory.Inventory) {
	t.Helper()
	var answers []reading.Answer
	for _, m := range autoscaler.Spec.Metrics {
		answers = append(answers, reading.MetricReader{Reader: l}.ReadMetric(t.Context(), "shop", "app=web", m, ""))
	}
	in := reading.NewDecisionInput(autoscaler, answers, objects.SelectedPodsOf(&objects.Workloads[0]), explainTime)
	in.History.Recommendations = l.past
	if l.surging > 0 {
		in.StatusReplicas = l.surging
	}
	if l.hasScaled {
		in.History.ScaleUps = []hpa.ScaleEvent{{Change: 3, Time: explainTime.Add(-30 * time.Second)}}
		in.History.ScaleDowns = []hpa.ScaleEvent{{Change: 1, Time: explainTime.Add(-20 * time.Second)}}
	}
	*l.decided = hpa.Decide(in, replay.Settings())
	autoscaler.Status = l.decided.Status
}

// Read implements reading.Reader.
func (l load) Read(_ context.Context, path string) ([]byte, error) {
	if l.failure != "" {
		return nil, errors.New(l.failure)
	}
	if l.broken != "" && strings.Contains(path, l.broken) {
		return nil, errors.New("the server is currently unable to handle the request")
	}
	if l.external == "none" {
		return []byte(`{"items":[]}`), nil
	}
	if l.external != "" && (len(l.rates) == 0 || l.rates[0] == "" && l.cpu == "" || strings.Contains(path, "external.metrics")) {
		return fmt.Appendf(nil, `{"items":[{"timestamp":"2026-11-28T12:03:58Z","value":%q}]}`, l.external), nil
	}
	var items []string
	for i := range l.rates {
		if l.cpu != "" {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":"web-%d"},"timestamp":"2026-11-28T12:03:50Z","window":"10s","containers":[{"name":"web","usage":{"cpu":%q}}]}`, i+1, l.cpu))
		}
	}
	for i, r := range l.rates {
		if r != "" {
			items = append(items, fmt.Sprintf(`{"describedObject":{"name":"web-%d"},"timestamp":"2026-11-28T12:03:58Z","windowSeconds":10,"value":%q}`, i+1, r))
		}
	}
	return []byte(`{"items":[` + strings.Join(items, ",") + `]}`), nil
}

func (l load) explain(t *testing.T) *Explanation {
	t.Helper()
	labels := map[string]string{"app": "web"}
	objects := &inventory.Inventory{Workloads: []inventory.Workload{{
		Kind: "Deployment", Namespace: "shop", Name: "web", Selector: &metav1.LabelSelector{MatchLabels: labels}, StatusReplicas: l.surging,
	}}}
	for i := range l.rates {
		ready, phase := corev1.ConditionTrue, corev1.PodRunning
		if i < l.pending {
			ready, phase = corev1.ConditionFalse, corev1.PodPending
		}
		objects.Pods = append(objects.Pods, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%d", i+1), Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
			}}}},
			Status: corev1.PodStatus{StartTime: new(metav1.NewTime(explainTime.Add(-time.Hour))), Phase: phase, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		})
	}
	for i := range objects.Pods {
		if l.spoil != nil {
			l.spoil(i, &objects.Pods[i])
		}
	}
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))}
	spec := autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"}, Target: target}}
	if l.external != "" {
		spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting"}, Target: target}}
	}
	if l.cpu != "" {
		spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
		}}
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(2)), MaxReplicas: 10, Metrics: []autoscalingv2.MetricSpec{spec},
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: int32(len(l.rates)), DesiredReplicas: l.wanted},
	}
	for _, r := range l.reasons {
		kind := autoscalingv2.AbleToScale
		if r == "ValidMetricFound" {
			kind = autoscalingv2.ScalingActive
		}
		hpa.Status.Conditions = append(hpa.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: r, LastTransitionTime: metav1.NewTime(explainTime.Add(-40 * time.Second)),
		})
	}
	if l.change != nil {
		l.change(hpa)
	}
	if l.decided != nil {
		l.decide(t, hpa, objects)
	}
	return Live(t.Context(), hpa, Options{Objects: objects, Metrics: reading.MetricReader{Reader: l}, Now: explainTime, Recorded: l.recorded})
}

// times returns n equal rates.
func times(n int, rate string) []string {
	rates := make([]string, n)
	for i := range rates {
		rates[i] = rate
	}
	return rates
}

// sleepAtZero makes an autoscaler one that has scaled itself to 0.
func sleepAtZero(hpa *autoscalingv2.HorizontalPodAutoscaler) {
	hpa.Spec.MinReplicas = new(int32(0))
	hpa.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue, Reason: "ScaledToZero"}}
}

// targetBytes makes the metric one of memory.
func targetBytes(hpa *autoscalingv2.HorizontalPodAutoscaler) {
	pods := hpa.Spec.Metrics[0].Pods
	pods.Metric.Name, pods.Target.AverageValue = "heap_bytes", new(resource.MustParse("500Mi"))
}

// targetTotal makes the target of the external metric one of its total.
func targetTotal(amount string) func(*autoscalingv2.HorizontalPodAutoscaler) {
	return func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
		hpa.Spec.Metrics[0].External.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse(amount))}
	}
}

// addExternalMetric adds a second metric to an autoscaler.
func addExternalMetric(hpa *autoscalingv2.HorizontalPodAutoscaler) {
	hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting"}, Target: hpa.Spec.Metrics[0].Pods.Target,
	}})
}

// TestSentences: the sentence names the pods, the value, the target, the quotient and the rule that holds.
func TestSentences(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load load
		want string
	}{
		"tolerated": {
			load{rates: times(7, "49"), wanted: 7},
			"7 pods: request_per_second is 343/s over 7 pods, target 50 → 6.9; within the tolerance, so it keeps 7.",
		},
		"held by the window": {
			load{rates: times(9, "38100m"), wanted: 9, reasons: []string{"ScaleDownStabilized"}},
			"9 pods: request_per_second is 342.9/s over 9 pods, target 50 → 6.9; scale-down waits: a higher wish of the last 5m holds 9.",
		},
		"on the way up": {
			load{rates: times(2, "120"), wanted: 5},
			"2 pods: request_per_second is 240/s over 2 pods, target 50 → 4.8; it goes to 5.",
		},
		"before the next look": {
			load{rates: times(2, "120"), wanted: 2},
			"2 pods: request_per_second is 240/s over 2 pods, target 50 → 4.8; it wants 5, from its next look on.",
		},
		"held by a policy": {
			load{rates: times(2, "200"), wanted: 6, reasons: []string{"ScaleUpLimit"}},
			"2 pods: request_per_second is 400/s over 2 pods, target 50 → 8.0; a scaleUp policy permits 6 for now.",
		},
		"beyond the maximum": {
			load{rates: times(10, "70"), wanted: 10, reasons: []string{"TooManyReplicas"}},
			"10 pods: request_per_second is 700/s over 10 pods, target 50 → 14.0; it wants 14, and maxReplicas is 10.",
		},
		"below the minimum": {
			load{rates: times(2, "0"), wanted: 2},
			"2 pods: request_per_second is 0/s over 2 pods, target 50 → 0.0; it wants 0, and minReplicas is 2.",
		},
		"an error": {
			load{rates: times(3, ""), failure: "3 pods: 3 stale", wanted: 3},
			"3 pods: request_per_second has no value (3 pods: 3 stale), so it keeps the number.",
		},
		"a pod without value, on the way up": {
			load{rates: []string{"60", "60", ""}, wanted: 3},
			"3 pods: request_per_second is 120/s over 2 pods, target 50 → 2.4, 1 pod without a value; with it the direction is not sure, so it keeps 3.",
		},
		"a pod without value, far up": {
			load{rates: []string{"160", "160", ""}, wanted: 7},
			"3 pods: request_per_second is 320/s over 2 pods, target 50 → 6.4, 1 pod without a value; it goes to 7.",
		},
		"a pod without value, on the way down": {
			load{rates: []string{"10", "10", "10", ""}, wanted: 2},
			"4 pods: request_per_second is 30/s over 3 pods, target 50 → 0.6, 1 pod without a value; it goes to 2.",
		},
		"a pending pod, on the way up": {
			load{rates: []string{"", "70", "70"}, pending: 1, wanted: 3},
			"3 pods: request_per_second is 140/s over 2 pods, target 50 → 2.8, 1 pod without a value; with it within the tolerance, so it keeps 3.",
		},
		"a pending pod, on the way down": {
			load{rates: []string{"", "20", "20"}, pending: 1, wanted: 2},
			"3 pods: request_per_second is 40/s over 2 pods, target 50 → 0.8; it wants 1, and minReplicas is 2.",
		},
		"a utilization": {
			load{rates: times(4, ""), cpu: "72m", wanted: 5},
			"4 pods: cpu is 72% over 4 pods, target 60% → 4.8; it goes to 5.",
		},
		"a utilization, while a pod starts": {
			load{rates: times(4, ""), cpu: "72m", pending: 1, wanted: 4},
			"4 pods: cpu is 72% over 3 pods, target 60% → 3.6, 1 pod without a value; with it within the tolerance, so it keeps 4.",
		},
		"switched off": {
			load{reasons: []string{"ScalingDisabled"}},
			"0 pods: Deployment/web is scaled to 0, which switches the autoscaler off.",
		},
		"exactly on target":  {load{rates: times(7, "50"), wanted: 7}, "7 pods: request_per_second is 350/s over 7 pods, target 50 → 7.0; within the tolerance, so it keeps 7."},
		"at the tolerance":   {load{rates: times(10, "55"), wanted: 10}, "10 pods: request_per_second is 550/s over 10 pods, target 50 → 11.0; within the tolerance, so it keeps 10."},
		"over the tolerance": {load{rates: times(9, "55001m"), wanted: 9}, "9 pods: request_per_second is 495.009/s over 9 pods, target 50 → 9.9; it wants 10, from its next look on."},
		"a pod without value, within the tolerance": {
			load{rates: []string{"80", "80", ""}, wanted: 3},
			"3 pods: request_per_second is 160/s over 2 pods, target 50 → 3.2, 1 pod without a value; with it within the tolerance, so it keeps 3.",
		},
		"a policy, on the way beyond the maximum": {
			load{rates: times(2, "400"), wanted: 6, reasons: []string{"ScaleUpLimit"}},
			"2 pods: request_per_second is 800/s over 2 pods, target 50 → 16.0; a scaleUp policy permits 6 for now.",
		},
		"a window, on the way beyond the maximum": {
			load{rates: times(4, "400"), wanted: 4, reasons: []string{"ScaleUpStabilized"}},
			"4 pods: request_per_second is 1600/s over 4 pods, target 50 → 32.0; scale-up waits: a lower wish of the last 0s holds 4.",
		},
		"an earlier wish, on the way up": {
			load{rates: times(2, "70"), wanted: 4, reasons: []string{"ScaleDownStabilized", "ScaleUpLimit"}},
			"2 pods: request_per_second is 140/s over 2 pods, target 50 → 2.8; a higher wish of the last 5m counts, so it goes to 4.",
		},
		"more pods than the maximum": {load{rates: times(12, "10"), wanted: 10}, "12 pods: maxReplicas is 10, so it goes to 10 whatever the metrics say."},
		"too many pods, and an error": {
			load{rates: times(12, ""), failure: "12 pods: 12 stale", wanted: 10},
			"12 pods: maxReplicas is 10, so it goes to 10 whatever the metrics say.",
		},
		"fewer pods than the minimum": {load{rates: times(1, "10"), wanted: 2}, "1 pod: minReplicas is 2, so it goes to 2 whatever the metrics say."},
		"created a second ago": {
			load{rates: times(2, "120"), change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
				hpa.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
			}},
			"2 pods: request_per_second is 240/s over 2 pods, target 50 → 4.8; it wants 5, from its first look on.",
		},
		"a scale that cannot be read": {
			load{rates: times(4, ""), external: "330", wanted: 4, reasons: []string{"FailedGetScale"}},
			"4 pods: the scale of Deployment/web cannot be read, so it keeps the number.",
		},
		"a scale that cannot be written": {
			load{rates: times(2, "120"), wanted: 2, reasons: []string{"FailedUpdateScale"}},
			"2 pods: request_per_second is 240/s over 2 pods, target 50 → 4.8; it wants 5, and the scale of Deployment/web cannot be written.",
		},
		"pods of two autoscalers": {
			load{rates: times(2, "120"), wanted: 2, reasons: []string{"AmbiguousSelector"}},
			"2 pods: the pods belong to more than one autoscaler, so it keeps the number.",
		},
		"an external metric without a value": {
			load{rates: times(4, ""), external: "none", wanted: 4},
			"4 pods: orders_waiting has no value (no metrics returned from external metrics API), so it keeps the number.",
		},
		"from zero, a share": {load{external: "330", change: sleepAtZero}, "0 pods: orders_waiting is 330 over 0 pods, target 50 → 6.6; it wants 7, from its next look on."},
		"at zero, with a metric of pods": {
			load{failure: "", external: "0", change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
				sleepAtZero(hpa)
				pods := autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"}, Target: hpa.Spec.Metrics[0].External.Target,
				}}
				hpa.Spec.Metrics = append([]autoscalingv2.MetricSpec{pods}, hpa.Spec.Metrics...)
			}, broken: "custom.metrics"},
			"0 pods: orders_waiting is 0 over 0 pods, target 50 → 0.0; rounded up, so it keeps 0.",
		},
		"shared by the pods of a rolling update": {
			load{rates: times(4, ""), external: "270", wanted: 4, surging: 5},
			"4 pods: orders_waiting is 270 over 5 pods, target 50 → 5.4; it wants 5, from its next look on.",
		},
		"from zero, a total": {
			load{external: "330", change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
				sleepAtZero(hpa)
				hpa.Spec.Metrics[0].External.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("50"))}
			}},
			"0 pods: orders_waiting is 330, target 50 → 6.6; it wants 7, from its next look on.",
		},
		"a total, multiplied with the ready pods": {
			load{rates: times(4, ""), pending: 1, external: "200", wanted: 6, change: targetTotal("100")},
			"4 pods: orders_waiting is 200 with 3 ready pods, target 100 → 6.0; it goes to 6.",
		},
		"a total, within the tolerance": {
			load{rates: times(4, ""), external: "105", wanted: 4, change: targetTotal("100")},
			"4 pods: orders_waiting is 105, target 100 → 4.2; within the tolerance, so it keeps 4.",
		},
		"one metric with two selectors": {
			load{rates: times(2, "60"), wanted: 3, change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
				second := *hpa.Spec.Metrics[0].DeepCopy()
				hpa.Spec.Metrics[0].Pods.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"code": "200", "method": "get"}}
				second.Pods.Metric.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "code", Operator: metav1.LabelSelectorOpIn, Values: []string{"500", "502"}}}}
				second.Pods.Target.AverageValue = new(resource.MustParse("5"))
				hpa.Spec.Metrics = append(hpa.Spec.Metrics, second)
				hpa.Spec.MaxReplicas = 3
			}},
			"2 pods: request_per_second{code in (500,502)} is 120/s over 2 pods, target 5 → 24.0; it wants 24, and maxReplicas is 3.",
		},
		"a total below zero": {
			load{rates: times(2, ""), external: "-1m", wanted: 2},
			"2 pods: orders_waiting is -0.001 over 2 pods, target 50 → 0.0; the HPA's arithmetic overflows, so it wants 2147483647, and maxReplicas is 10.",
		},
		"a huge total": {
			load{rates: times(2, ""), external: "9T", wanted: 2},
			"2 pods: orders_waiting is 9T over 2 pods, target 50 → 180000000000.0; the HPA's arithmetic overflows, so it wants 2147483647, and maxReplicas is 10.",
		},
		"below the minimum, before the next look": {
			load{rates: times(4, "0"), wanted: 4},
			"4 pods: request_per_second is 0/s over 4 pods, target 50 → 0.0; it wants 0, and minReplicas is 2, from its next look on.",
		},
		"two pods without value": {
			load{rates: []string{"60", "60", "", ""}, wanted: 4},
			"4 pods: request_per_second is 120/s over 2 pods, target 50 → 2.4, 2 pods without a value; with them the direction is not sure, so it keeps 4.",
		},
		"bytes": {
			load{rates: times(3, "536870912500m"), wanted: 3, change: targetBytes},
			"3 pods: heap_bytes is 1536Mi over 3 pods, target 500Mi → 3.1; within the tolerance, so it keeps 3.",
		},
		"one of two fails, and an earlier wish counts": {
			load{rates: times(2, "40"), wanted: 4, broken: "external.metrics", change: addExternalMetric},
			"2 pods: request_per_second is 80/s over 2 pods, target 50 → 1.6; a higher wish of the last 5m counts, so it goes to 4.",
		},
		"one of two fails, and the other wants less": {
			load{rates: times(7, "10"), wanted: 7, broken: "external.metrics", change: addExternalMetric},
			"7 pods: orders_waiting has no value (the server is currently unable to handle the request), so it keeps the number.",
		},
		"one of two fails, and the other wants more": {
			load{rates: times(7, "60"), wanted: 9, broken: "external.metrics", change: addExternalMetric},
			"7 pods: request_per_second is 420/s over 7 pods, target 50 → 8.4; it goes to 9.",
		},
		"external, shared by the pods": {
			load{rates: times(4, ""), external: "330", wanted: 7},
			"4 pods: orders_waiting is 330 over 4 pods, target 50 → 6.6; it goes to 7.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.load.explain(t).Sentence); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSteps: the steps are whole: each number follows from the ones before.
func TestSteps(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]load{
		"240/s over 2 pods is 120/s per pod; divided by the target 50: ratio 2.400; times 2 pods; rounded up: 5":                                                        {rates: times(2, "120")},
		"divided by the target 100: ratio 2.000; times 3 ready pods; rounded up: 6":                                                                                     {rates: times(4, ""), pending: 1, external: "200", change: targetTotal("100")},
		"330 over 4 pods is 82.5 per pod; divided by the target 50: ratio 1.650; rounded up: 7":                                                                         {rates: times(4, ""), external: "330"},
		"320/s over 2 pods is 160/s per pod; divided by the target 50: ratio 3.200; 1 pod without a value counted as 0: ratio 2.133; times 3 pods; rounded up: 7":       {rates: []string{"160", "160", ""}},
		"divided by the target 60%: ratio 1.200; times 4 pods; rounded up: 5":                                                                                           {rates: times(4, ""), cpu: "72m"},
		"343/s over 7 pods is 49/s per pod; divided by the target 50: ratio 0.980; within the tolerance, 0.9 to 1.1: keeps 7":                                           {rates: times(7, "49")},
		"120/s over 2 pods is 60/s per pod; divided by the target 50: ratio 1.200; 1 pod without a value counted as 0: ratio 0.800; the direction is not sure: keeps 3": {rates: []string{"60", "60", ""}},
	} {
		if got := strings.Join(l.explain(t).Metrics[0].Steps, "; "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestPodNotes: each pod whose own value does not count says why, and what counts in its place.
func TestPodNotes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load load
		want []string
	}{
		"all count":                  {load{rates: times(2, "49")}, []string{"", ""}},
		"missing, on the way up":     {load{rates: []string{"160", "160", ""}}, []string{"", "", "left out of the answer, counts as 0"}},
		"missing, on the way down":   {load{rates: []string{"10", "10", ""}}, []string{"", "", "left out of the answer, counts as the target"}},
		"missing, on target":         {load{rates: []string{"50", "50", ""}}, []string{"", "", "left out of the answer"}},
		"pending, on the way up":     {load{rates: []string{"90", "90"}, pending: 1}, []string{"starting, counts as 0", ""}},
		"pending, on the way down":   {load{rates: []string{"10", "10"}, pending: 1}, []string{"starting: left out", ""}},
		"all of them pending":        {load{rates: times(2, "90"), pending: 2}, []string{"starting: left out", "starting: left out"}},
		"an error":                   {load{rates: times(2, ""), failure: "2 pods: 2 stale"}, []string{"2 pods: 2 stale", "2 pods: 2 stale"}},
		"CPU, while a pod starts":    {load{rates: times(2, ""), cpu: "72m", pending: 1}, []string{"starting, counts as 0", ""}},
		"a total has no pods' notes": {load{rates: times(2, ""), external: "330"}, []string{}},
	} {
		got := []string{}
		for _, p := range tc.load.explain(t).Pods {
			for _, v := range p.Values {
				got = append(got, v.Note)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestMetricsAreToldApart: two metrics that differ in their container or object alone are named with it.
func TestMetricsAreToldApart(t *testing.T) {
	t.Parallel()
	e := load{rates: times(2, ""), cpu: "72m", change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
		hpa.Spec.Metrics = nil
		for _, name := range []string{"web", "proxy"} {
			hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
				Name: corev1.ResourceCPU, Container: name, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
			}})
		}
	}}.explain(t)
	if want := "2 pods: cpu of container web is 72% over 2 pods"; !strings.HasPrefix(e.Sentence, want) {
		t.Errorf("got %q, want %q …", e.Sentence, want)
	}
}

// TestUnreadMetricDecides: where the controller wants more than the readable metric does, the metric that was not read decides, and no earlier wish.
func TestUnreadMetricDecides(t *testing.T) {
	t.Parallel()
	for wanted, want := range map[int32]string{2: "readable", 3: "readable", 5: "unread"} {
		e := &Explanation{Replicas: 2, Wanted: wanted, Metrics: []MetricSteps{{Name: "readable", Wish: new(int32(3))}, {Name: "unread", Error: "forbidden", Unread: true}}}
		if got := e.findDecidingMetric().Name; got != want {
			t.Errorf("wanted %d: metric %s decides, want %s", wanted, got, want)
		}
	}
}

// TestRecordedOmissions: a pod that the answer leaves out has the reason of the newest recorded look, while it is young and about the same metric.
func TestRecordedOmissions(t *testing.T) {
	t.Parallel()
	spec := func(name string) autoscalingv2.HorizontalPodAutoscalerSpec {
		return autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{{Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}}}}
	}
	refused := explainapi.Omission{Pod: "web-3", Reason: "scrape_failed", Detail: "connection refused"}
	latest := func(age time.Duration, metric int) *explainapi.Decision {
		return &explainapi.Decision{Time: explainTime.Add(-age), Reads: []explainapi.Read{{Metric: metric, Omitted: []explainapi.Omission{refused, {Pod: "web-1", Reason: "stale"}}}}}
	}
	left := []string{"", "", "left out of the answer, counts as 0"}
	for name, tc := range map[string]struct {
		recorded explainapi.Explanation
		failure  string
		want     []string
	}{
		"of the last look":  {explainapi.Explanation{Spec: spec("request_per_second"), Latest: latest(15*time.Second, 0)}, "", []string{"", "", "scrape failed (connection refused), counts as 0"}},
		"of an old look":    {explainapi.Explanation{Spec: spec("request_per_second"), Latest: latest(2*time.Minute, 0)}, "", left},
		"of another metric": {explainapi.Explanation{Spec: spec("other"), Latest: latest(0, 0)}, "", left},
		"of no metric":      {explainapi.Explanation{Spec: spec("request_per_second"), Latest: latest(0, 7)}, "", left},
		"before a look":     {explainapi.Explanation{Spec: spec("request_per_second")}, "", left},
		"of the last look, by the adapter's clock": {
			explainapi.Explanation{Source: explainapi.Source{Time: explainTime.Add(-10 * time.Minute)}, Spec: spec("request_per_second"), Latest: latest(10*time.Minute+15*time.Second, 0)},
			"", []string{"", "", "scrape failed (connection refused), counts as 0"},
		},
		"an error of now": {
			explainapi.Explanation{Spec: spec("request_per_second"), Latest: latest(0, 0)}, "no backend", []string{"no backend", "no backend", "no backend"},
		},
	} {
		got := []string{}
		for _, p := range (load{rates: []string{"160", "160", ""}, failure: tc.failure, recorded: Recorded{Explanation: &tc.recorded}}).explain(t).Pods {
			got = append(got, p.Values[0].Note)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestChanges: the value at which the wish changes, beyond the tolerance.
func TestChanges(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load load
		want []string
	}{
		"from seven": {
			load{rates: times(7, "49")},
			[]string{"above 385/s request_per_second asks for 8", "at 300/s or less request_per_second asks for 6"},
		},
		"from two": {
			load{rates: times(2, "50")},
			[]string{"above 110/s request_per_second asks for 3"},
		},
		"at the maximum": {
			load{rates: times(10, "50")},
			[]string{"below 450/s request_per_second asks for 9"},
		},
		"a total, multiplied with the ready pods": {
			load{rates: times(4, ""), pending: 1, external: "200", change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
				hpa.Spec.Metrics[0].External.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("100"))}
			}},
			[]string{"above 200 orders_waiting asks for 7", "at 166.666 or less orders_waiting asks for 5"},
		},
		"far above the maximum": {load{rates: times(3, "123456")}, nil},
		"below the minimum":     {load{rates: times(2, "1")}, nil},
		"bytes": {
			load{rates: times(3, "536870912500m"), change: targetBytes},
			[]string{"above 1650Mi heap_bytes asks for 4", "at 1000Mi or less heap_bytes asks for 2"},
		},
		"narrow tolerance": {
			load{rates: times(7, "49"), change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
				hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: new(resource.MustParse("20m"))}}
			}},
			[]string{"above 357/s request_per_second asks for 8", "at 300/s or less request_per_second asks for 6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := tc.load.explain(t)
			if diff := cmp.Diff(tc.want, e.Changes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestChangesAreTrue: the wish stays between the announced totals, and is the announced one beyond them.
func TestChangesAreTrue(t *testing.T) {
	t.Parallel()
	autoscaler := &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		MinReplicas: new(int32(1)), MaxReplicas: 1000,
		Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: "rps"}, Target: autoscalingv2.MetricTarget{AverageValue: new(resource.MustParse("50"))},
		}}},
	}}
	for replicas := int64(1); replicas <= 20; replicas++ {
		for total := int64(0); total <= 2000; total += 137 {
			pods := make([]*corev1.Pod, replicas)
			answer := reading.Answer{}
			for i := range pods {
				pods[i] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
				answer.Values = append(answer.Values, reading.Value{Object: pods[i].Name, Value: *resource.NewMilliQuantity(total*1000/replicas, resource.DecimalSI)})
			}
			autoscaler.Status.CurrentReplicas = int32(replicas)
			in := reading.NewDecisionInput(autoscaler, []reading.Answer{answer}, pods, explainTime)
			e := &Explanation{Metrics: []MetricSteps{{Name: "rps"}}}
			e.explainMetricDecision(0, in)
			s := newWishSearch(&e.Metrics[0], 0, in)
			at, wish := s.wishAt, *e.Metrics[0].Wish
			up, above := s.findNextHigherWish()
			down, below, _ := s.findNextLowerWish()
			if got := at(above + 100); got != int32(up) {
				t.Fatalf("%d pods, %d: above %d the wish is %d, announced %d", replicas, total, above, got, up)
			}
			if got := at(below - 100); down >= 0 && got != int32(down) {
				t.Fatalf("%d pods, %d: below %d the wish is %d, announced %d", replicas, total, below, got, down)
			}
			for between := max(0, below+100); between < above; between += 7000 {
				if got := at(between); got != wish {
					t.Fatalf("%d pods, %d: the wish is %d, and at %d, between %d and %d, it is %d", replicas, total, wish, between, below, above, got)
				}
			}
		}
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	l := load{rates: append(times(8, "38100m"), "38"), wanted: 9, reasons: []string{"ScaleDownStabilized", "ValidMetricFound"}}
	var out bytes.Buffer
	if err := l.explain(t).Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "held.golden")
	golden.Compare(t, path, out.String())
}

// TestDisabledDirection: a disabled direction keeps the number, and shows no policies that are not in force.
func TestDisabledDirection(t *testing.T) {
	t.Parallel()
	disabled := &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)}
	for rate, want := range map[string]string{
		"10": "7 pods: request_per_second is 70/s over 7 pods, target 50 → 1.4; it wants 2, and scaleDown is disabled, so it keeps 7.",
		"90": "7 pods: request_per_second is 630/s over 7 pods, target 50 → 12.6; it wants 13, and scaleUp is disabled, so it keeps 7.",
	} {
		e := load{rates: times(7, rate), wanted: 7, change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
			hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: disabled, ScaleDown: disabled}
		}}.explain(t)
		if e.Sentence != want {
			t.Errorf("got  %s\nwant %s", e.Sentence, want)
		}
		if diff := cmp.Diff([]Policy{{"scaleUp", "disabled"}, {"scaleDown", "disabled"}}, e.Policies); diff != "" {
			t.Errorf("policies (-want +got):\n%s", diff)
		}
	}
}

// TestTolerance: the behavior shows the tolerance of each direction, the controller's own where the spec has none.
func TestTolerance(t *testing.T) {
	t.Parallel()
	e := load{rates: times(7, "50"), wanted: 7, change: func(hpa *autoscalingv2.HorizontalPodAutoscaler) {
		hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
			SelectPolicy: new(autoscalingv2.DisabledPolicySelect), Tolerance: new(resource.MustParse("20m")),
		}}
	}}.explain(t)
	if want := (Tolerance{ScaleUp: 0.02, ScaleDown: 0.1}); e.Tolerance != want {
		t.Errorf("tolerance = %+v, want %+v", e.Tolerance, want)
	}
	table := e.tabulateBehavior()
	shown := map[string]string{}
	for _, row := range table.Rows {
		shown[row[0]] = row[len(row)-1]
	}
	if diff := cmp.Diff(map[string]string{"scaleUp": "2%", "scaleDown": "10%"}, shown); diff != "" {
		t.Errorf("shown tolerances (-want +got):\n%s", diff)
	}
}

// TestMissingTarget: a scale target that does not exist is told from one that could not be read.
func TestMissingTarget(t *testing.T) {
	t.Parallel()
	autoscaler := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "wep"},
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
			}}},
		},
	}
	for want, unread := range map[string][]inventory.Unread{
		"0 pods: request_per_second has no value (its target Deployment/wep does not exist in namespace shop), so it keeps the number.": nil,
		"0 pods: request_per_second could not be read (the pods of Deployment/wep are unknown).":                                        {{Resource: "deployments", Reason: "forbidden"}},
	} {
		e := Live(t.Context(), autoscaler, Options{Objects: &inventory.Inventory{Unread: unread}, Now: explainTime})
		if e.Sentence != want {
			t.Errorf("got  %s\nwant %s", e.Sentence, want)
		}
	}
}

// TestCompletedPod: the HPA controller counts a pod that has ended well, as of a Job with the labels of a Deployment, as a pod without a value; failed
// pods are left out.
func TestCompletedPod(t *testing.T) {
	t.Parallel()
	decided := &hpa.Decision{}
	e := load{rates: []string{"60", "60", "", ""}, decided: decided, spoil: func(i int, p *corev1.Pod) {
		switch i {
		case 2:
			p.Status.Phase = corev1.PodSucceeded
		case 3:
			p.Status.Phase = corev1.PodFailed
		}
	}, change: func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Status.CurrentReplicas = 2 }}.explain(t)
	const want = "2 pods: request_per_second is 120/s over 2 pods, target 50 → 2.4, 1 pod without a value; with it the direction is not sure, so it keeps 2."
	if e.Sentence != want || decided.Replicas != 2 {
		t.Errorf("%s\nthe controller decided %d", e.Sentence, decided.Replicas)
	}
	if len(e.Pods) != 3 || e.Pods[2].Values[0].Note != "completed, counts as 0" {
		t.Errorf("pods %+v", e.Pods)
	}
}
