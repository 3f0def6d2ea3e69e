package hpa

import (
	"errors"
	"fmt"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var testNow = time.Date(2026, 11, 28, 12, 8, 0, 0, time.UTC)

// newPodsHPA returns an HPA from 1 to 20 pods with a target of 50 per pod.
func newPodsHPA() *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 20, Metrics: []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.PodsMetricSourceType,
			Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(50, resource.DecimalSI)},
			},
		}}},
	}
}

// newExternalHPA returns an HPA from low to 20 pods with a share of 10 of an external metric per pod.
func newExternalHPA(low int32) *autoscalingv2.HorizontalPodAutoscaler {
	h := newPodsHPA()
	h.Spec.MinReplicas = &low
	h.Spec.Metrics = []autoscalingv2.MetricSpec{{
		Type: autoscalingv2.ExternalMetricSourceType,
		External: &autoscalingv2.ExternalMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting"},
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(10, resource.DecimalSI)},
		},
	}}
	return h
}

// newPodsInput returns running pods, each with the value of its place; a negative value is none.
func newPodsInput(h *autoscalingv2.HorizontalPodAutoscaler, values ...int64) Input {
	in := Input{HPA: h, SpecReplicas: int32(len(values)), StatusReplicas: int32(len(values)), Now: testNow, Answers: []Answer{{Pods: map[string]PodValue{}}}}
	for i, v := range values {
		name := fmt.Sprintf("web-%d", i)
		in.Pods = append(in.Pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: corev1.PodRunning}})
		if v >= 0 {
			in.Answers[0].Pods[name] = PodValue{Value: v * 1000}
		}
	}
	return in
}

func TestMetricStages(t *testing.T) {
	for _, c := range []struct {
		name    string
		values  []int64
		stage   Stage
		missing Assumption
		wish    int32
	}{
		{"343 over 7 pods lies within 10 % of 50", []int64{49, 49, 49, 49, 49, 49, 49}, StageTolerated, "", 7},
		{"above the tolerance", []int64{60, 60, 60, 60}, StageScaled, "", 5},
		{"a missing pod damps the way up", []int64{90, 90, -1}, StageScaled, AssumedZero, 4},
		{"missing pods turn the ratio", []int64{60, -1, -1}, StageRatioReversed, AssumedZero, 3},
		{"a missing pod counts as the target on the way down", []int64{10, 10, 10, -1}, StageScaled, AssumedTarget, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Decide(newPodsInput(newPodsHPA(), c.values...), DefaultSettings(37))
			m := d.Metrics[0]
			if m.Stage != c.stage || m.Missing != c.missing || m.Replicas != c.wish {
				t.Errorf("stage %s, missing at %q, wish %d; want %s, %q, %d", m.Stage, m.Missing, m.Replicas, c.stage, c.missing, c.wish)
			}
		})
	}
}

func TestStabilizationHolds(t *testing.T) {
	in := newPodsInput(newPodsHPA(), 10, 10, 10, 10, 10, 10, 10)
	at := testNow.Add(-4 * time.Minute)
	in.History.Recommendations = []Recommendation{{15, testNow.Add(-6 * time.Minute)}, {7, at}}
	d := Decide(in, DefaultSettings(37))
	if d.Rescale || d.Wanted != 2 || d.Stabilization.Holding == nil || *d.Stabilization.Holding != (Recommendation{7, at}) {
		t.Errorf("rescale %v, wanted %d, stabilization %+v; want the 7 of four minutes ago to hold", d.Rescale, d.Wanted, d.Stabilization)
	}
	if got := d.History.Recommendations; len(got) != 2 || got[0] != (Recommendation{2, testNow}) || in.History.Recommendations[0].Replicas != 15 {
		t.Errorf("history %v (input %v); want the old entry reused in a copy", got, in.History.Recommendations)
	}
}

func TestPolicyLimits(t *testing.T) {
	h := newPodsHPA()
	h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
		Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 3, PeriodSeconds: 60}},
	}}
	in := newPodsInput(h, 200, 200, 200, 200)
	in.History.ScaleUps = []ScaleEvent{{Change: 2, Time: testNow.Add(-30 * time.Second)}}
	d := Decide(in, DefaultSettings(37))
	if d.Replicas != 5 || d.Limit.Reason != "ScaleUpLimit" || d.Limit.Policies[0].PeriodStart != 2 {
		t.Errorf("%d replicas, limit %+v; want 5: 3 more than the 2 of a minute ago", d.Replicas, d.Limit)
	}
}

func TestErrorsKeepReplicas(t *testing.T) {
	in := newPodsInput(newPodsHPA(), 10, 10, 10)
	cause := errors.New("503")
	in.Answers = []Answer{{Err: cause}}
	in.HPA.Status.DesiredReplicas = 9
	d := Decide(in, DefaultSettings(37))
	if d.Rescale || d.Replicas != 3 || d.Status.DesiredReplicas != 9 || !errors.Is(d.Err, cause) {
		t.Errorf("rescale %v to %d, status %d, error %v; want nothing to change", d.Rescale, d.Replicas, d.Status.DesiredReplicas, d.Err)
	}
}

func TestScaledToZero(t *testing.T) {
	in := Input{HPA: newExternalHPA(0), Now: testNow, Answers: []Answer{{External: []int64{25000}}}}
	if d := Decide(in, DefaultSettings(37)); d.Rescale || d.Metrics != nil {
		t.Errorf("a person's 0 is scaled: %+v", d)
	}
	in.HPA.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue}}
	if d := Decide(in, DefaultSettings(37)); !d.Rescale || d.Replicas != 3 {
		t.Errorf("the controller's own 0 becomes %d, want 3", d.Replicas)
	}
	if d := Decide(in, DefaultSettings(36)); d.Rescale {
		t.Errorf("1.36 wakes a target to %d", d.Replicas)
	}
}

// TestIncompleteMetrics: a metric that kube-apiserver rejects, such as one of a file, is an error and no panic.
func TestIncompleteMetrics(t *testing.T) {
	t.Parallel()
	specs := []autoscalingv2.MetricSpec{{}, {Type: "Load"}, {Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{}}}
	for _, kind := range []autoscalingv2.MetricSourceType{
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType,
		autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
	} {
		specs = append(specs, autoscalingv2.MetricSpec{Type: kind})
	}
	for _, spec := range specs {
		in := newPodsInput(newPodsHPA(), 60, 60)
		in.HPA.Spec.Metrics[0] = spec
		d := Decide(in, DefaultSettings(36))
		if d.Err == nil || d.Replicas != 2 || d.Rescale {
			t.Errorf("type %q: %d replicas, error %v", spec.Type, d.Replicas, d.Err)
		}
	}
}
