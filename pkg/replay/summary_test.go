package replay_test

import (
	"slices"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// TestSecondsShort: from the second minute on, a load for 8 pods comes to 2 for six minutes, and goes again.
func TestSecondsShort(t *testing.T) {
	t.Parallel()
	rise := slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(400, 24), replaytest.Repeat(90, 2))
	failing := slices.Clone(rise)
	failing[10] = -1
	onePodAMinute := &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
		Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 60}},
	}}
	for name, tc := range map[string]struct {
		loads  []float64
		change func(*autoscalingv2.HorizontalPodAutoscalerSpec)
		want   float64
	}{
		"enough pods":                 {replaytest.Repeat(90, 8), func(*autoscalingv2.HorizontalPodAutoscalerSpec) {}, 0},
		"a load within the tolerance": {replaytest.Repeat(108, 8), func(*autoscalingv2.HorizontalPodAutoscalerSpec) {}, 0},
		"more pods than asked for":    {rise, func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.MinReplicas = new(int32(9)) }, 0},
		"a target that 2 pods meet": {rise, func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
			s.Metrics[0].Pods.Target.AverageValue = new(resource.MustParse("200"))
		}, 0},
		"the controller's rate: 4, then 8":         {rise, func(*autoscalingv2.HorizontalPodAutoscalerSpec) {}, 15},
		"a slow policy: 3 at once, 8 in 5 minutes": {rise, func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.Behavior = onePodAMinute }, 300},
		"a window of a minute, then 6, then 8": {rise, func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
			s.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))}}
		}, 60},
		"maxReplicas below the need": {rise, func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.MaxReplicas = 6 }, 360},
		"a failed read in between":   {failing, func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.MaxReplicas = 6 }, 345},
		"a need until the last look": {rise[:8], func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.MaxReplicas = 6 }, 45},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := replaytest.Spec("request_per_second")
			tc.change(&spec)
			looks, err := replay.Simulate(replaytest.Log(replaytest.Spec("request_per_second"), tc.loads...), &spec, replay.Settings())
			if err != nil {
				t.Fatal(err)
			}
			if got := replay.Summarize(looks, func(l replay.Look) int32 { return l.Computed }).SecondsShort; got != tc.want {
				t.Errorf("%v seconds short, want %v", got, tc.want)
			}
		})
	}
}

// TestRecordedSecondsShort: the record is short by its own wishes, as its replay is.
func TestRecordedSecondsShort(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("request_per_second")
	spec.MaxReplicas = 6
	looks := replay.Reproduce(replaytest.Log(spec, slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(400, 8), replaytest.Repeat(90, 2))...), replay.Settings())
	if got := replay.Summarize(looks, func(l replay.Look) int32 { return l.Recorded }).SecondsShort; got != 120 {
		t.Errorf("%v seconds short, want 120", got)
	}
}
