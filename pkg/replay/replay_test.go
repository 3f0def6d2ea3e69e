package replay_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// wave is a load that rises, falls for longer than the window, and fails in between.
func wave() []float64 {
	return slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(400, 8), []float64{-1}, replaytest.Repeat(120, 40))
}

// TestReproduce: the recorded spec gives every recorded decision again.
func TestReproduce(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), wave()...)
	highest := int32(0)
	for _, l := range replay.Reproduce(log, replay.Settings()) {
		if l.Missing != "" || l.Differs() {
			t.Errorf("look at %s: recorded %d, computed %d, missing %q", l.Time, l.Recorded, l.Computed, l.Missing)
		}
		highest = max(highest, l.Recorded)
	}
	if highest != 8 {
		t.Errorf("at most %d pods, want 8: the load moved nothing", highest)
	}
}

// TestReproduceTellsDifferences: a decision that the inputs do not give is told.
func TestReproduceTellsDifferences(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), wave()...)
	log.Decisions[3].Status.DesiredReplicas = 9
	looks := replay.Reproduce(log, replay.Settings())
	if !looks[3].Differs() || looks[3].Computed != 2 {
		t.Errorf("look %+v does not differ", looks[3])
	}
	log.Decisions[5].Reads = nil
	if looks = replay.Reproduce(log, replay.Settings()); looks[5].Missing != "no read of request_per_second is in the record" {
		t.Errorf("look without a read: %q", looks[5].Missing)
	}
}

// TestUsageOfSeveralContainers: the usage of two containers and of the whole pod, side by side.
func TestUsageOfSeveralContainers(t *testing.T) {
	t.Parallel()
	usage := func(percent int32) autoscalingv2.MetricTarget {
		return autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}
	}
	container := func(name string, percent int32) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
			Name: corev1.ResourceCPU, Container: name, Target: usage(percent),
		}}
	}
	log := replaytest.Log(replaytest.Spec("request_per_second"), 90, 90)
	pods := int32(len(log.Decisions[1].Pods))
	log.Specs[0].Spec.Metrics = []autoscalingv2.MetricSpec{container("app", 60), container("proxy", 50), {
		Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: usage(60)},
	}}
	log.Decisions[1].Reads, log.Decisions[1].Status.Current = nil, []int64{90, 20, 60}
	look := replay.Reproduce(log, replay.Settings())[1]
	if look.Missing != "" || len(look.Decision.Metrics) != 3 {
		t.Fatalf("look %+v", look)
	}
	for i, want := range []int32{(pods*3 + 1) / 2, (pods*2 + 4) / 5, pods} {
		if m := look.Decision.Metrics[i]; m.Err != nil || m.Replicas != want {
			t.Errorf("metric %d wants %d (%v), want %d", i, m.Replicas, m.Err, want)
		}
	}
}

// TestSimulate: another spec runs freely on the recorded load. The same spec gives the record.
func TestSimulate(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("request_per_second")
	log := replaytest.Log(spec, wave()...)
	same, err := replay.Simulate(log, &spec, replay.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range same {
		if l.Recorded != l.Computed {
			t.Errorf("look at %s: recorded %d, computed %d", l.Time, l.Recorded, l.Computed)
		}
	}
	fast := replaytest.Spec("request_per_second")
	fast.MaxReplicas = 6
	fast.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}}
	other, err := replay.Simulate(log, &fast, replay.Settings())
	if err != nil {
		t.Fatal(err)
	}
	recorded := replay.Summarize(other, func(l replay.Look) int32 { return l.Recorded })
	computed := replay.Summarize(other, func(l replay.Look) int32 { return l.Computed })
	if recorded.Highest != 8 || computed.Highest != 6 || computed.PodMinutes >= recorded.PodMinutes || computed.Lowest != 2 {
		t.Errorf("recorded %+v, other %+v", recorded, computed)
	}
}

// TestSimulateRejectsLatency: what a latency would be with other pods is not in the record.
func TestSimulateRejectsLatency(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("http_request_duration_p95")
	log := replaytest.Log(spec, wave()...)
	if _, err := replay.Simulate(log, &spec, replay.Settings()); err != nil {
		t.Errorf("the recorded spec is rejected: %v", err)
	}
	other := replaytest.Spec("http_request_duration_p95")
	other.MaxReplicas = 3
	if _, err := replay.Simulate(log, &other, replay.Settings()); err == nil || !strings.Contains(err.Error(), "http_request_duration_p95 depends on the number of pods") {
		t.Errorf("error %v", err)
	}
}

// TestSimulatedMetrics: a rate, a queue and the rate of a histogram's counter are loads; a quantile, a duration and a share are none.
func TestSimulatedMetrics(t *testing.T) {
	t.Parallel()
	summary := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "quantile", Operator: metav1.LabelSelectorOpIn, Values: []string{"0.9"}}}}
	for name, tc := range map[string]struct {
		metric   string
		selector *metav1.LabelSelector
		isLoad   bool
	}{
		"a rate":                            {"request_per_second", nil, true},
		"a queue":                           {"jobs_waiting", nil, true},
		"the rate of a histogram's counter": {"http_request_duration_seconds_count_per_second", nil, true},
		"a rate by another ending":          {"checkout_latency_probe_rps", nil, true},
		"a name with p":                     {"http_p2p_requests", nil, true},
		"a quantile":                        {"request_p99", nil, false},
		"a quantile with its unit":          {"request_p99_ms", nil, false},
		"a quantile in front":               {"p95_of_requests", nil, false},
		"a time":                            {"response_time_avg", nil, false},
		"a time in other letters":           {"requestLatency", nil, false},
		"milliseconds":                      {"queue_wait_milliseconds", nil, false},
		"a share":                           {"busy_worker_ratio", nil, false},
		"a summary by its label":            {"rpc", summary, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec, other := replaytest.Spec(tc.metric), replaytest.Spec(tc.metric)
			spec.Metrics[0].Pods.Metric.Selector, other.Metrics[0].Pods.Metric.Selector = tc.selector, tc.selector
			other.MaxReplicas = 3
			if _, err := replay.Simulate(replaytest.Log(spec, wave()...), &other, replay.Settings()); (err == nil) != tc.isLoad {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestIncompleteReads: a read of which the record has a part decides nothing.
func TestIncompleteReads(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), wave()...)
	log.Decisions[3].Reads[0].Truncated = true
	look := replay.Reproduce(log, replay.Settings())[3]
	if want := "the record has only the first 2 values of request_per_second"; look.Missing != want {
		t.Errorf("missing %q, want %q", look.Missing, want)
	}
}

// TestUsageOfAnotherType: the record of CPU is in the terms of its target.
func TestUsageOfAnotherType(t *testing.T) {
	t.Parallel()
	cpu := func(target autoscalingv2.MetricTarget) []autoscalingv2.MetricSpec {
		return []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: target}}}
	}
	log := replaytest.Log(replaytest.Spec("request_per_second"), wave()...)
	log.Specs[0].Spec.Metrics = cpu(autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))})
	other := replaytest.Spec("request_per_second")
	other.Metrics = cpu(autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("1"))})
	looks, err := replay.Simulate(log, &other, replay.Settings())
	if want := "the record has cpu in the terms of the recorded target alone, and the other target is of another type"; err != nil || looks[3].Missing != want {
		t.Errorf("missing %q (%v), want %q", looks[3].Missing, err, want)
	}
}

// TestCompute: the newest decision has the wish that a window holds, and its end.
func TestCompute(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), slices.Concat(replaytest.Repeat(400, 4), replaytest.Repeat(120, 4))...)
	c := replay.Compute(log, replay.Settings())
	if c == nil || c.Holding == nil || c.Holding.Replicas != 8 || c.Wanted != 3 || !c.Holding.Time.Equal(replaytest.Begin.Add(3*replaytest.Period)) || c.Holding.Until.Sub(c.Holding.Time) != replay.Settings().DownscaleStabilization {
		t.Errorf("computed %+v, holding %+v", c, c.Holding)
	}
}

// TestUtilization: a CPU metric, which another API serves, is taken from the status.
func TestUtilization(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("request_per_second")
	log := replaytest.Log(spec, replaytest.Repeat(90, 2)...)
	log.Specs[0].Spec.Metrics = append(log.Specs[0].Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: "cpu", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
	}})
	for i := range log.Decisions {
		log.Decisions[i].Status = &explainapi.Status{CurrentReplicas: 2, DesiredReplicas: 4, Current: []int64{45_000, 120}, Conditions: log.Decisions[i].Status.Conditions}
	}
	looks := replay.Reproduce(log, replay.Settings())
	if m := looks[1].Decision.Metrics; looks[1].Missing != "" || len(m) != 2 || m[1].Usage != 120 || m[1].Replicas != 4 || looks[1].Differs() {
		t.Errorf("look %+v", looks[1])
	}
}

// TestNewAutoscaler: a record that begins before the controller's first look holds no decision of it, which the looks after it would
// remember.
func TestNewAutoscaler(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("request_per_second")
	log := replaytest.Log(spec, slices.Concat(replaytest.Repeat(400, 2), replaytest.Repeat(90, 30))...)
	log.Decisions = slices.Insert(log.Decisions, 0, explainapi.Decision{Time: replaytest.Begin.Add(-time.Second), Status: &explainapi.Status{}})
	looks := replay.Reproduce(log, replay.Settings())
	if looks[0].Missing != "the controller has not looked yet" {
		t.Errorf("before the first look: %+v", looks[0])
	}
	same, err := replay.Simulate(log, &spec, replay.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range looks[1:] {
		if l.Missing != "" || l.Differs() || same[i+1].Computed != l.Recorded {
			t.Errorf("look at %s: recorded %d, computed %d, simulated %d; missing %q", l.Time, l.Recorded, l.Computed, same[i+1].Computed, l.Missing)
		}
	}
}

// TestSimulateToZero: a spec that goes to zero wakes by the metric that outlives the pods.
func TestSimulateToZero(t *testing.T) {
	t.Parallel()
	recorded := replaytest.Spec("request_per_second")
	loads := slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(0, 30), replaytest.Repeat(90, 4))
	log := replaytest.Log(recorded, loads...)
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: recorded.Metrics[0].Pods.Target.AverageValue}
	recorded.Metrics = append(recorded.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: target,
	}})
	log.Specs[0].Spec = recorded
	for i := range log.Decisions {
		log.Decisions[i].Reads = append(log.Decisions[i].Reads, explainapi.Read{Metric: 1, Values: []explainapi.Value{{Milli: int64(loads[i] * 1000)}}})
	}
	other := *recorded.DeepCopy()
	other.MinReplicas = new(int32(0))
	looks, err := replay.Simulate(log, &other, replay.Settings())
	if err != nil {
		t.Fatal(err)
	}
	if slept, woken := looks[33], looks[35]; slept.Computed != 0 || woken.Computed != 2 {
		t.Errorf("without a load %d pods, want 0; after it %d, want 2", slept.Computed, woken.Computed)
	}
}

// TestComputedFromZero: with no pods a share of the total has no ratio. The computed decision is JSON all the same.
func TestComputedFromZero(t *testing.T) {
	t.Parallel()
	for total, want := range map[int64]int32{330_000: 7, 0: 0} {
		log := replaytest.ZeroLog(total)
		c := replay.Compute(log, replay.Settings())
		if _, err := json.Marshal(c); err != nil {
			t.Fatal(err)
		}
		if len(c.Metrics) != 1 || c.Metrics[0].Wish != want || c.Metrics[0].Usage != total {
			t.Errorf("%+v, want a wish of %d for %d", c, want, total)
		}
	}
}

// TestSummarize: flaps are changes that are taken back within five minutes.
func TestSummarize(t *testing.T) {
	t.Parallel()
	var looks []replay.Look
	for i, n := range []int32{2, 4, 3, 3, 5} {
		looks = append(looks, replay.Look{Time: replaytest.Begin.Add(time.Duration(i) * time.Minute), Computed: n, Decision: hpa.Decision{Wanted: 4}})
	}
	looks[4].Time = looks[3].Time.Add(time.Hour) // a gap: nothing is known of it
	got := replay.Summarize(looks, func(l replay.Look) int32 { return l.Computed })
	if want := (replay.Summary{Lowest: 2, Highest: 5, PodMinutes: 9, SecondsShort: 120, Changes: 3, Flaps: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestSummarizeKnown: looks whose numbers are not known are no 0 pods, and a clock that is set back takes no time away.
func TestSummarizeKnown(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), replaytest.Repeat(90, 9)...)
	for i := range 3 {
		log.Decisions[i].Status = nil
	}
	looks := replay.Reproduce(log, replay.Settings())
	looks[5].Time = looks[5].Time.Add(-time.Hour)
	got := replay.Summarize(looks, func(l replay.Look) int32 { return l.Recorded })
	if want := (replay.Summary{Lowest: 2, Highest: 2, PodMinutes: 1.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestReproduceCompletedPod: a pod that has ended well damps a scale-up, as a pod without a value does, and is none of the present pods of a total.
func TestReproduceCompletedPod(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*autoscalingv2.HorizontalPodAutoscalerSpec)
		load   float64
	}{
		"of pods":    {func(*autoscalingv2.HorizontalPodAutoscalerSpec) {}, 120},
		"of a total": {func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { *s = *ordersSpec() }, 110},
	} {
		log := replaytest.Log(replaytest.Spec("request_per_second"), c.load)
		c.change(&log.Specs[0].Spec)
		d := &log.Decisions[0]
		d.Pods = append(slices.Clone(d.Pods), explainapi.Pod{Name: "job", State: explainapi.PodCompleted})
		if look := replay.Reproduce(log, replay.Settings())[0]; look.Missing != "" || look.Computed != 2 {
			t.Errorf("%s: computed %d (%s), want 2", name, look.Computed, look.Missing)
		}
	}
}

// ordersSpec returns an autoscaler on an external metric with a target for each pod.
func ordersSpec() *autoscalingv2.HorizontalPodAutoscalerSpec {
	spec := replaytest.Spec("")
	spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "orders"}, Target: spec.Metrics[0].Pods.Target,
	}}
	return &spec
}

// TestLooksAfterGap: a look is soon after a gap for as long as the controller may remember a wish of the gap: one that a replica names, looks that are
// missing between two others, and a look without its inputs.
func TestLooksAfterGap(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("request_per_second")
	memory := int(replay.Memory(&spec) / replaytest.Period) // in looks
	for name, tc := range map[string]struct {
		spoil       func(log *explainapi.DecisionLog)
		first, last int // looks soon after a gap
	}{
		"none": {func(*explainapi.DecisionLog) {}, 0, -1},
		"a replica's own gap": {func(log *explainapi.DecisionLog) {
			log.Source.Gaps = []explainapi.Gap{{From: log.Decisions[8].Time.Add(time.Second), Until: log.Decisions[10].Time}}
		}, 9, 10 + memory - 1},
		"another replica's gap": {func(log *explainapi.DecisionLog) {
			log.Source.Replicas = []explainapi.ReplicaRecord{{Name: "a"}, {Name: "b", Gaps: []explainapi.Gap{{From: log.Decisions[8].Time, Until: log.Decisions[10].Time}}}}
		}, 8, 10 + memory - 1},
		"two looks are missing": {func(log *explainapi.DecisionLog) {
			log.Decisions = slices.Delete(log.Decisions, 10, 12)
		}, 10, 10 + memory - 1},
		"a look without its read": {func(log *explainapi.DecisionLog) { log.Decisions[10].Reads = nil }, 10, 11 + memory - 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := replaytest.Log(spec, replaytest.Repeat(90, 60)...)
			tc.spoil(log)
			for i, l := range replay.Reproduce(log, replay.Settings()) {
				if want := tc.first <= i && i <= tc.last; l.AfterGap != want {
					t.Errorf("look %d: soon after a gap is %v, want %v", i, l.AfterGap, want)
				}
			}
		})
	}
}
