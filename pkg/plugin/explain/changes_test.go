package explain

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

var announcedChange = regexp.MustCompile(`^(above|at|below) ([^ /]+)(?:/s)?(?: or less)? .+ asks for (\d+)$`)

// TestAnnouncedChangesAreTrue: with the printed total of any metric and target the controller asks for the announced number, and beside it for another.
func TestAnnouncedChangesAreTrue(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(14, 11))
	seen := 0
	for range 500 {
		l, totalOf := newRandomChangeLoad(random)
		for _, text := range l.explain(t).Changes {
			parts := announcedChange.FindStringSubmatch(text)
			if parts == nil {
				t.Fatalf("not understood: %q", text)
			}
			seen++
			at, step, rounded := resource.MustParse(parts[2]), int64(1), int64(0)
			if l.external == "" {
				step = int64(len(l.rates)) // a thousandth of each pod
			}
			switch { // a thousandth of the unit, twice
			case strings.HasSuffix(parts[2], "Mi"):
				rounded = 2 << 20
			case strings.HasSuffix(parts[2], "Gi"):
				rounded = 2 << 30
			}
			wishes := map[string]int32{}
			for words, total := range map[string]int64{"at": at.MilliValue(), "above": at.MilliValue() + step, "below": at.MilliValue() - step} {
				wishes[words] = l.wishAt(t, totalOf, total)
			}
			beside := at.MilliValue() - rounded
			if parts[1] == "at" {
				beside = at.MilliValue() + step + rounded
			} else if parts[1] == "below" {
				beside += 2 * rounded
			}
			if other := fmt.Sprint(l.wishAt(t, totalOf, beside)); fmt.Sprint(wishes[parts[1]]) != parts[3] || other == parts[3] {
				t.Errorf("%d pods, target %s: %q, and the controller wants %v, and %s at %dm", len(l.rates), l.describeTarget(t), text, wishes, other, beside)
			}
		}
	}
	if seen < 500 {
		t.Errorf("%d changes in all", seen)
	}
}

// wishAt returns the wish of the controller for another total.
func (l load) wishAt(t *testing.T, totalOf func(l *load, milli int64), milli int64) int32 {
	t.Helper()
	totalOf(&l, milli)
	l.decided = &hpa.Decision{}
	l.explain(t)
	return l.decided.Metrics[0].Replicas
}

func (l load) describeTarget(t *testing.T) string {
	t.Helper()
	return l.explain(t).Metrics[0].Target
}

// newRandomChangeLoad returns a load on a metric of any kind without utilization, and a function that changes its total.
func newRandomChangeLoad(random *rand.Rand) (l load, totalOf func(l *load, milli int64)) {
	targets := []string{"1", "1m", "333m", "0.5", "7", "12.5", "50", "1234567m", "3k", "64Mi", "100M", "1.5Gi"}
	amount := resource.MustParse(targets[random.IntN(len(targets))])
	pods := 1 + random.IntN(12)
	share := int64(float64(amount.MilliValue()) * (0.2 + 1.6*random.Float64()))
	tolerances := []string{"0", "10m", "200m", "333m", "1"}
	up, down := resource.MustParse(tolerances[random.IntN(len(tolerances))]), resource.MustParse(tolerances[random.IntN(len(tolerances))])
	kind, hasBehavior := random.IntN(4), random.IntN(2) == 0
	value := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &amount}
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &amount}
	object := autoscalingv2.ObjectMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting"}}
	object.DescribedObject = autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Namespace", Name: "shop"}
	l.change = func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.MinReplicas, h.Spec.MaxReplicas = new(int32(1)), 30
		m := &h.Spec.Metrics[0]
		switch kind {
		case 0:
			m.Pods.Target.AverageValue = &amount
		case 1:
			m.External.Target = average
		case 2:
			m.External.Target = value
		case 3:
			object.Target = average
			*m = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &object}
		}
		if hasBehavior {
			h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: &up}, ScaleDown: &autoscalingv2.HPAScalingRules{Tolerance: &down}}
		}
	}
	if kind == 0 {
		l.rates = times(pods, fmt.Sprintf("%dm", share))
		return l, func(l *load, milli int64) { l.rates = times(pods, fmt.Sprintf("%dm", milli/int64(pods))) }
	}
	if kind == 2 {
		share /= int64(pods)
	}
	l.rates, l.external = times(pods, ""), fmt.Sprintf("%dm", share*int64(pods))
	return l, func(l *load, milli int64) { l.external = strings.TrimSpace(fmt.Sprintf("%dm", milli)) }
}
