package explain

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// TestSentencesAgree: after a look of the controller with the same inputs, the sentence names the number that it decided.
func TestSentencesAgree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(14, 9))
	for range 3000 {
		decided := &hpa.Decision{}
		l := load{rates: newRandomRates(random), change: newRandomSpec(random), past: newRandomPast(random), decided: decided}
		l.spoil, l.hasScaled, l.surging = newRandomSpoil(random), random.IntN(2) == 0, int32(random.IntN(3)*random.IntN(16))
		l.pending = min(random.IntN(3)*random.IntN(2), len(l.rates))
		checkSentence(t, l, decided)
	}
}

// TestSentencesOfAllKindsAgree: as above, for totals, shares and utilizations, alone and beside a metric of pods that may fail.
func TestSentencesOfAllKindsAgree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(14, 10))
	amounts := []string{"0", "-5", "1m", "333m", "50", "330", "1234", "9e14", "100G"}
	for range 3000 {
		decided := &hpa.Decision{}
		l := load{rates: make([]string, 1+random.IntN(12)), external: amounts[random.IntN(len(amounts))], past: newRandomPast(random), decided: decided}
		l.spoil, l.hasScaled, l.surging = newRandomSpoil(random), random.IntN(2) == 0, int32(random.IntN(3)*random.IntN(16))
		spec, isTotal, isBeside := newRandomSpec(random), random.IntN(2) == 0, random.IntN(2) == 0
		switch random.IntN(3) {
		case 0:
			l.external, l.cpu = "", fmt.Sprintf("%dm", random.IntN(130))
		case 1:
			l.rates, l.external = newRandomRates(random), fmt.Sprint(random.IntN(800))
			if isBeside && random.IntN(4) == 0 {
				l.broken = []string{"custom.metrics", "external.metrics"}[random.IntN(2)]
			}
		}
		isBeside = isBeside && l.rates[0] != ""
		l.pending = min(random.IntN(3)*random.IntN(2), len(l.rates))
		l.change = func(h *autoscalingv2.HorizontalPodAutoscaler) {
			spec(h)
			m := &h.Spec.Metrics[0]
			if m.External != nil && isTotal {
				m.External.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("50"))}
			}
			if isBeside && m.External != nil {
				h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
				}})
			}
		}
		checkSentence(t, l, decided)
	}
}

// checkSentence fails if the sentence does not name the number that the controller decided.
func checkSentence(t *testing.T, l load, decided *hpa.Decision) {
	t.Helper()
	sentence := strings.TrimSuffix(l.explain(t).Sentence, ".")
	if want := fmt.Sprint(decided.Replicas); !namesNumber(sentence, want) && !strings.HasSuffix(sentence, "keeps the number") {
		t.Fatalf("%v, external %q, cpu %q, %d pending: the controller decided %s (%v), and the sentence is %s", l.rates, l.external, l.cpu, l.pending, want, decided.Status.Conditions, sentence)
	}
	if strings.HasSuffix(sentence, "keeps the number") && decided.Rescale {
		t.Fatalf("%v, external %q: the controller decided %d, and the sentence is %s", l.rates, l.external, decided.Replicas, sentence)
	}
}

// namesNumber reports whether the last clause of a sentence has a number as a word.
func namesNumber(sentence, number string) bool {
	clause := sentence[strings.LastIndexAny(sentence, ";:")+1:]
	for word := range strings.FieldsSeq(strings.ReplaceAll(clause, ",", " ")) {
		if word == number {
			return true
		}
	}
	return false
}

func newRandomRates(random *rand.Rand) []string {
	rates := make([]string, 1+random.IntN(12))
	mean := random.IntN(110)
	for i := range rates {
		if random.IntN(8) > 0 {
			rates[i] = fmt.Sprintf("%dm", mean*1000+random.IntN(3000))
		}
	}
	return rates
}

// newRandomSpoil returns a change of pods: some have ended, go or are not ready.
func newRandomSpoil(random *rand.Rand) func(i int, p *corev1.Pod) {
	states := random.Perm(30)
	return func(i int, p *corev1.Pod) {
		switch states[i%len(states)] {
		case 0:
			p.Status.Phase = corev1.PodFailed
		case 1:
			p.Status.Phase = corev1.PodSucceeded
		case 2:
			p.DeletionTimestamp = &metav1.Time{Time: explainTime}
		case 3:
			p.Status.Conditions[0].Status = corev1.ConditionFalse
		}
	}
}

// newRandomSpec returns a change of an autoscaler's limits and behavior.
func newRandomSpec(random *rand.Rand) func(*autoscalingv2.HorizontalPodAutoscaler) {
	var behavior *autoscalingv2.HorizontalPodAutoscalerBehavior
	if random.IntN(2) == 0 {
		rules := func() *autoscalingv2.HPAScalingRules {
			r := &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(random.IntN(3) * 100))}
			r.Policies = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: int32(1 + random.IntN(4)), PeriodSeconds: 60}}
			if random.IntN(3) == 0 {
				r.Policies = append(r.Policies, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: int32(1 + random.IntN(80)), PeriodSeconds: 15})
				r.SelectPolicy = new(autoscalingv2.MinChangePolicySelect)
			}
			if random.IntN(6) == 0 {
				r.SelectPolicy = new(autoscalingv2.DisabledPolicySelect)
			}
			if random.IntN(4) == 0 {
				r.Tolerance = new(resource.MustParse("20m"))
			}
			return r
		}
		behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(), ScaleDown: rules()}
	}
	low := int32(1 + random.IntN(3))
	return func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.MinReplicas, h.Spec.MaxReplicas, h.Spec.Behavior = &low, 10, behavior
	}
}

func newRandomPast(random *rand.Rand) []hpa.Recommendation {
	var past []hpa.Recommendation
	for i := range random.IntN(3) {
		past = append(past, hpa.Recommendation{Replicas: int32(1 + random.IntN(12)), Time: explainTime.Add(-time.Minute * time.Duration(i+1))})
	}
	return past
}
