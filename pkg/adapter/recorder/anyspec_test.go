package recorder

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// newRandomMetric returns a metric of any type that the adapter serves, by its index.
func newRandomMetric(random *rand.Rand, i int) autoscalingv2.MetricSpec {
	id := autoscalingv2.MetricIdentifier{Name: fmt.Sprint("metric_", i)}
	amount := resource.NewMilliQuantity(int64(10_000+random.IntN(200_000)), resource.DecimalSI)
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: amount}
	kind := random.IntN(5)
	if kind >= 3 {
		target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: amount}
	}
	switch kind {
	case 0:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: id, Target: target}}
	case 1, 3:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: id, Target: target}}
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"}, Metric: id, Target: target,
	}}
}

// newRandomRules returns the rules of a direction: a window, policies, their selection and a tolerance, or the defaults of each.
func newRandomRules(random *rand.Rand) *autoscalingv2.HPAScalingRules {
	if random.IntN(4) == 0 {
		return nil
	}
	rules := &autoscalingv2.HPAScalingRules{}
	if random.IntN(2) == 0 {
		rules.StabilizationWindowSeconds = new(int32([]int{0, 15, 60, 300, 900}[random.IntN(5)]))
	}
	for range random.IntN(4) {
		rules.Policies = append(rules.Policies, autoscalingv2.HPAScalingPolicy{
			Type:  []autoscalingv2.HPAScalingPolicyType{autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy}[random.IntN(2)],
			Value: int32(1 + random.IntN(60)), PeriodSeconds: int32([]int{1, 15, 60, 300}[random.IntN(4)]),
		})
	}
	if random.IntN(3) == 0 {
		rules.SelectPolicy = new([]autoscalingv2.ScalingPolicySelect{
			autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect,
		}[random.IntN(3)])
	}
	if random.IntN(3) == 0 {
		rules.Tolerance = new(resource.MustParse([]string{"0", "20m", "300m"}[random.IntN(3)]))
	}
	return rules
}

// setRandomSpec gives a service's autoscaler any spec: one to three metrics, with a behavior, down to zero where a metric outlives the
// pods.
func setRandomSpec(random *rand.Rand, s *loadedService) {
	spec := &s.hpa.Spec
	spec.Metrics = nil
	least := 1
	for i := range 1 + random.IntN(3) {
		m := newRandomMetric(random, i)
		if m.Pods == nil {
			least = 0
		}
		spec.Metrics = append(spec.Metrics, m)
	}
	spec.MinReplicas = new(int32(least + random.IntN(3)))
	spec.MaxReplicas = *spec.MinReplicas + 1 + int32(random.IntN(40))
	spec.Behavior = nil
	if random.IntN(5) > 0 {
		spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: newRandomRules(random), ScaleDown: newRandomRules(random)}
	}
}

// changeSpecSometimes changes limits, behavior or a target, as a person does between two looks. It returns the number of changes.
func changeSpecSometimes(random *rand.Rand, s *loadedService) int {
	if random.IntN(12) != 0 {
		return 0
	}
	spec := s.hpa.Spec.DeepCopy()
	switch random.IntN(4) {
	case 0:
		spec.MaxReplicas = max(1, *spec.MinReplicas) + int32(random.IntN(40))
	case 1:
		spec.MinReplicas = new(min(spec.MaxReplicas, *spec.MinReplicas+1+int32(random.IntN(4))))
	case 2:
		spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: newRandomRules(random), ScaleDown: newRandomRules(random)}
	case 3:
		spec.Metrics[0] = newRandomMetric(random, 0)
		spec.MinReplicas = new(max(1, *spec.MinReplicas))
	}
	s.hpa.Spec = *spec
	s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
	return 1
}

// TestAnySpecIsReproduced: the record of an autoscaler with any spec, which a person changes now and then, gives each of its decisions
// again. Metrics fail together or alone.
func TestAnySpecIsReproduced(t *testing.T) {
	t.Parallel()
	decided, atZero, changes, edits := 0, 0, 0, 0
	for seed := range uint64(24) {
		random := newRandom(seed)
		s := newLoadedService(t, "web", Options{MaxRecordBytes: 1 << 20})
		s.scaleToZero = seed%2 == 0
		setRandomSpec(random, s)
		s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
		var want []int32
		for range 80 {
			switch random.IntN(12) {
			case 0:
				s.load = 0
			case 1, 2, 3, 4, 5:
				s.load = float64(random.IntN(2_000_000))
			}
			edits += changeSpecSometimes(random, s)
			s.missing, s.err, s.failing = 0, nil, ""
			switch random.IntN(15) {
			case 0:
				s.err = errNoValue
			case 2, 3:
				s.err, s.failing = errNoValue, fmt.Sprint("metric_", random.IntN(3))
			case 1:
				s.missing = random.IntN(len(s.pods) + 1)
			}
			d := s.look()
			want = append(want, d.Status.DesiredReplicas)
			if d.Status.DesiredReplicas == 0 {
				atZero++
			}
			if n := len(want); n > 1 && want[n-2] != want[n-1] {
				changes++
			}
		}
		log := logOf(t, s, noon)
		looks := replay.Reproduce(log, replay.Settings())
		var got []int32
		for _, l := range looks[1:] { // the first is the status before the first look
			if l.Missing != "" || l.Differs() {
				t.Errorf("seed %d, look at %s: recorded %d, computed %d; missing: %q", seed, l.Time, l.Recorded, l.Computed, l.Missing)
			}
			got = append(got, l.Recorded)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: decisions (-made +recorded):\n%s", seed, diff)
		}
		decided += len(got)
	}
	t.Logf("%d decisions, %d of them at zero pods, %d changes, %d edits", decided, atZero, changes, edits)
	if atZero < 20 || changes < 150 || edits < 60 {
		t.Errorf("%d decisions at zero pods, %d changes and %d edits prove too little", atZero, changes, edits)
	}
}
