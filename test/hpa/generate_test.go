package hpa

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// caseGenerator makes random HPAs, pods and answers, with a liking for edges: ratios of exactly 1, ends of tolerances, limits.
type caseGenerator struct{ *rand.Rand }

// pick returns one of its arguments.
func pick[T any](g caseGenerator, of ...T) T { return of[g.IntN(len(of))] }

// maybe is true in one of n cases.
func (g caseGenerator) maybe(n int) bool { return g.IntN(n) == 0 }

func (g caseGenerator) generateHPA(s hpa.Settings) *autoscalingv2.HorizontalPodAutoscaler {
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "h", Namespace: "n", Generation: g.Int64N(9)}}
	h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"}
	g.changeSpec(h)
	h.Status.DesiredReplicas = g.Int32N(9)
	if g.maybe(3) {
		h.Status.ObservedGeneration = new(g.Int64N(9))
	}
	if g.maybe(3) {
		h.Status.Conditions = append(h.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: autoscalingv2.ScaledToZero, Status: pick(g, corev1.ConditionTrue, corev1.ConditionFalse),
		})
	}
	return h
}

func (g caseGenerator) changeSpec(h *autoscalingv2.HorizontalPodAutoscaler) {
	h.Spec.MinReplicas = pick(g, nil, new(int32(0)), new(int32(1)), new(g.Int32N(6)))
	h.Spec.MaxReplicas = max(1, pick(g, 3, 10, 50, g.Int32N(20)))
	if g.maybe(30) {
		h.Spec.MaxReplicas = pick[int32](g, 1000, math.MaxInt32)
	}
	if h.Spec.MinReplicas != nil {
		h.Spec.MaxReplicas = max(h.Spec.MaxReplicas, *h.Spec.MinReplicas)
	}
	h.Spec.Behavior = nil
	if !g.maybe(3) {
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: g.generateRules(true), ScaleDown: g.generateRules(false)}
	}
	h.Spec.Metrics = nil
	for range 1 + g.IntN(pick(g, 1, 3, 3, 6)) {
		h.Spec.Metrics = append(h.Spec.Metrics, g.generateMetric())
	}
}

func (g caseGenerator) generateRules(isUp bool) *autoscalingv2.HPAScalingRules {
	rules := &autoscalingv2.HPAScalingRules{
		SelectPolicy: new(pick(g, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect)),
	}
	for range 1 + g.IntN(3) {
		rules.Policies = append(rules.Policies, autoscalingv2.HPAScalingPolicy{
			Type:          pick(g, autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy),
			Value:         pick(g, 1, 2, 4, 10, 50, 100, 1+g.Int32N(200), g.generateExtreme(1+g.Int32N(200))),
			PeriodSeconds: pick(g, 15, 60, 300, 1+g.Int32N(1800)),
		})
	}
	if isUp || !g.maybe(3) {
		rules.StabilizationWindowSeconds = new(pick(g, 0, 0, 60, 300, g.Int32N(3600)))
	}
	if g.maybe(3) {
		rules.Tolerance = resource.NewMilliQuantity(pick(g, 0, 50, 100, 200, g.Int64N(500)), resource.DecimalSI)
		if g.maybe(4) {
			rules.Tolerance = new(resource.MustParse(pick(g, "100e-3", "100000u", "0.1000001", "99999999n", "1", "1Ki", "1E")))
		}
	}
	return rules
}

// generateExtreme returns the number, and in rare cases the largest or the second largest one.
func (g caseGenerator) generateExtreme(number int32) int32 {
	if g.maybe(20) {
		return math.MaxInt32 - g.Int32N(2)
	}
	return number
}

func (g caseGenerator) generateMetric() autoscalingv2.MetricSpec {
	if g.maybe(80) { // kube-apiserver rejects it, and the controller has words for it
		return autoscalingv2.MetricSpec{Type: "Wrong"}
	}
	id := autoscalingv2.MetricIdentifier{Name: pick(g, "a", "b")}
	switch {
	case g.maybe(3):
		id.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"k": "v"}}
	case g.maybe(30):
		id.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: "Wrong"}}}
	}
	amount := g.generateTarget()
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: amount}
	value := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: amount}
	usage := average
	if !g.maybe(3) {
		usage = autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(g.generateExtreme(pick(g, 50, 80, 100, 150, 1+g.Int32N(300))))}
	}
	name := pick(g, corev1.ResourceCPU, corev1.ResourceCPU, corev1.ResourceMemory)
	switch g.IntN(20) {
	case 0, 1, 2, 3, 4:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: id, Target: average}}
	case 5, 6, 7, 8:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: usage}}
	case 9, 10, 11:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
			Name: name, Container: pick(g, "main", "main", "main", "side", "other"), Target: usage,
		}}
	case 12, 13, 14, 15:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "s"}, Metric: id, Target: pick(g, average, value),
		}}
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: id, Target: pick(g, average, value)}}
}

// generateTarget returns a target: of thousandths, and in rare cases with another suffix, finer than a thousandth or beyond the range of thousandths.
func (g caseGenerator) generateTarget() *resource.Quantity {
	if g.maybe(10) {
		return new(resource.MustParse(pick(g, "1Ki", "64Mi", "1500u", "1n", "0.0005", "1e3", "12E-1", "5P", "1E", "8Ei", "10Ei")))
	}
	return resource.NewMilliQuantity(pick(g, 1, 100, 1000, 10000, 50000, 1+g.Int64N(100000)), resource.DecimalSI)
}

// generatePods returns pods around the wanted number of replicas.
func (g caseGenerator) generatePods(replicas int32, now time.Time) []*corev1.Pod {
	count := int(min(replicas, 30))
	switch {
	case g.maybe(10):
		count = g.IntN(12)
	case g.maybe(5):
		count += g.IntN(3)
	}
	isCalm := g.maybe(2) // all pods run, are ready and have requests
	pods := make([]*corev1.Pod, 0, count)
	for i := range count {
		pods = append(pods, g.generatePod(fmt.Sprintf("p%d", i), isCalm, now))
	}
	if g.maybe(12) {
		g.disturbAll(pods, now)
	}
	return pods
}

// disturbAll gives all pods one trouble: an outage, a rollout that never ends, a drained node.
func (g caseGenerator) disturbAll(pods []*corev1.Pod, now time.Time) {
	trouble := g.IntN(5)
	for _, p := range pods {
		switch trouble {
		case 0:
			p.Status.Phase = corev1.PodFailed
		case 1:
			p.Status.Phase = corev1.PodPending
		case 2:
			p.DeletionTimestamp = &metav1.Time{Time: now}
		case 3:
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Time{Time: now.Add(-time.Second)}}}
		case 4:
			p.Status.StartTime = &metav1.Time{Time: now.Add(time.Minute)} // clocks apart
		}
	}
}

func (g caseGenerator) generatePod(name string, isCalm bool, now time.Time) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n", Labels: map[string]string{"app": "a"}}}
	p.Spec.Containers = []corev1.Container{g.generateContainer("main", isCalm)}
	started := metav1.Time{Time: now.Add(-g.generateSpan(900, 5*time.Minute))} // the CPU initialization period's edge
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &started, Conditions: []corev1.PodCondition{{
		Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Time{Time: started.Add(g.generateSpan(90, 30*time.Second))}, // and the readiness delay's
	}}}
	if isCalm {
		return p
	}
	if g.maybe(3) {
		p.Spec.Containers = append(p.Spec.Containers, g.generateContainer("side", false))
	}
	if g.maybe(6) {
		init := g.generateContainer(pick(g, "init", "side"), false)
		if g.maybe(2) {
			init.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, init)
	}
	if g.maybe(8) {
		p.Spec.Resources = &corev1.ResourceRequirements{Requests: g.generateRequests(false)}
	}
	if g.maybe(10) {
		p.Spec.Overhead = g.generateRequests(false)
	}
	g.disturbStatus(p, now)
	return p
}

// generateSpan returns whole seconds below a number; in one of four cases the edge, or a nanosecond beside it.
func (g caseGenerator) generateSpan(seconds int, edge time.Duration) time.Duration {
	if g.maybe(4) {
		return edge + pick[time.Duration](g, -1, 0, 0, 1)
	}
	return time.Duration(g.IntN(seconds)) * time.Second
}

func (g caseGenerator) generateContainer(name string, isCalm bool) corev1.Container {
	return corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Requests: g.generateRequests(isCalm)}}
}

func (g caseGenerator) generateRequests(isCalm bool) corev1.ResourceList {
	requests := corev1.ResourceList{}
	if isCalm || !g.maybe(25) {
		requests[corev1.ResourceCPU] = *resource.NewMilliQuantity(pick(g, 100, 500, 1000, 1+g.Int64N(4000)), resource.DecimalSI)
	}
	if !isCalm && g.maybe(40) {
		requests[corev1.ResourceCPU] = resource.Quantity{}
	}
	if isCalm || !g.maybe(25) {
		requests[corev1.ResourceMemory] = *resource.NewQuantity(1+g.Int64N(1<<30), resource.BinarySI)
	}
	return requests
}

func (g caseGenerator) disturbStatus(p *corev1.Pod, now time.Time) {
	if g.maybe(8) {
		p.DeletionTimestamp = &metav1.Time{Time: now}
	}
	if g.maybe(4) {
		p.Status.Phase = pick(g, corev1.PodPending, corev1.PodPending, corev1.PodFailed, corev1.PodSucceeded)
	}
	if g.maybe(4) {
		p.Status.Conditions[0].Status = pick(g, corev1.ConditionFalse, corev1.ConditionFalse, corev1.ConditionUnknown)
	}
	if g.maybe(20) {
		p.Status.Conditions = nil
	}
	if g.maybe(20) {
		p.Status.StartTime = nil
	}
}

var errGenerated = errors.New("the API answers 503")

func (g caseGenerator) generateAnswer(spec autoscalingv2.MetricSpec, pods []*corev1.Pod, current int32, now time.Time) hpa.Answer {
	if g.maybe(25) {
		return hpa.Answer{Err: errGenerated}
	}
	if spec.Type == "Wrong" {
		return hpa.Answer{}
	}
	level := pick(g, 0, 0.5, 0.9, 1, 1, 1.1, 1.5, 3, g.Float64()*2, g.Float64()*20) // of the target
	if spec.Object == nil && spec.External == nil {
		return g.generatePodAnswer(spec, level, pods, now)
	}
	target := autoscalingv2.MetricTarget{}
	if spec.Object != nil {
		target = spec.Object.Target
	} else {
		target = spec.External.Target
	}
	total := 0.0
	if target.Value != nil {
		total = level * float64(target.Value.MilliValue())
	} else {
		total = level * float64(target.AverageValue.MilliValue()) * float64(max(current, 1))
	}
	answer := hpa.Answer{Object: int64(total)}
	if g.maybe(60) {
		answer.Object = pick[int64](g, math.MaxInt64, math.MinInt64, -1, 1<<40, 1<<52)
	}
	answer.External = []int64{answer.Object}
	if g.maybe(3) {
		first := g.Int64N(max(1, answer.Object/2))
		answer.External = []int64{first, answer.Object - first}
	}
	if g.maybe(40) {
		answer.External = append(answer.External, pick[int64](g, math.MaxInt64, -5, math.MinInt64))
	}
	if g.maybe(80) {
		answer.External = nil
	}
	return answer
}

func (g caseGenerator) generatePodAnswer(spec autoscalingv2.MetricSpec, level float64, pods []*corev1.Pod, now time.Time) hpa.Answer {
	target := autoscalingv2.MetricTarget{}
	switch {
	case spec.Pods != nil:
		target = spec.Pods.Target
	case spec.Resource != nil:
		target = spec.Resource.Target
	default:
		target = spec.ContainerResource.Target
	}
	base, missing, isEven := int64(0), pick(g, 1000, 1000, 1000, 8, 8, 3, 3, 1), g.maybe(2) // 1: no pod has a value
	answer := hpa.Answer{Pods: map[string]hpa.PodValue{}}
	for _, p := range pods {
		if g.maybe(missing) {
			continue
		}
		if target.AverageValue != nil {
			base = target.AverageValue.MilliValue()
		} else if request, ok := p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU]; ok {
			base = request.MilliValue() * int64(*target.AverageUtilization) / 100
		}
		value := level * float64(base)
		if !isEven {
			value *= 0.7 + 0.6*g.Float64()
		}
		read := hpa.PodValue{Value: int64(value), Time: now.Add(-time.Duration(g.IntN(60)) * time.Second), Window: time.Duration(g.IntN(40)) * time.Second}
		if len(p.Status.Conditions) > 0 && g.maybe(8) { // the window begins with the readiness, or a nanosecond beside it
			read.Time = p.Status.Conditions[0].LastTransitionTime.Add(read.Window + pick[time.Duration](g, -1, 0, 1))
		}
		answer.Pods[p.Name] = read
	}
	if g.maybe(20) {
		answer.Pods["unknown"] = hpa.PodValue{Value: base}
	}
	if g.maybe(200) {
		for name, v := range answer.Pods {
			v.Value, v.Time = -v.Value, now.Add(time.Minute)
			answer.Pods[name] = v
		}
	}
	if g.maybe(200) {
		answer.Pods["p0"] = hpa.PodValue{Value: pick[int64](g, math.MaxInt64, math.MinInt64, 1<<45, -1000)}
	}
	return answer
}
