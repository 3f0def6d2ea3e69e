// Package replaytest makes records of simulated autoscalers, for the tests of their readers.
package replaytest

import (
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// Begin is the time of the first look.
var Begin = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const (
	// Period is the time between two looks.
	Period = 15 * time.Second
	// start is the time that a new pod takes to become ready.
	start = 6 * time.Second
)

// Spec returns the spec of an autoscaler of 2 to 10 pods with a target of 50 a second for each.
func Spec(metric string) autoscalingv2.HorizontalPodAutoscalerSpec {
	return autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		MinReplicas:    new(int32(2)), MaxReplicas: 10,
		Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: metric},
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
		}}},
	}
}

// Log returns the complete record of hpa/web in namespace shop, which began with 2 pods under a load for each look. A load below 0 is a
// read that failed.
func Log(spec autoscalingv2.HorizontalPodAutoscalerSpec, loads ...float64) *explainapi.DecisionLog {
	steps := make([]Step, len(loads))
	for i, load := range loads {
		steps[i].Load = load
	}
	return LogSteps(spec, steps...)
}

// Step is a look, with the changes right before it.
type Step struct {
	// Load is as in Log.
	Load float64
	// Spec is the new spec; nil: as before.
	Spec *autoscalingv2.HorizontalPodAutoscalerSpec
	// Recreate gives each pod another name, as a rollout does.
	Recreate bool
}

// LogSteps is Log with changes of the spec and of the pods between the looks.
func LogSteps(spec autoscalingv2.HorizontalPodAutoscalerSpec, steps ...Step) *explainapi.DecisionLog {
	log := &explainapi.DecisionLog{
		Source: explainapi.Source{Replica: "tachometer-adapter-1", Time: Begin.Add(time.Duration(len(steps)) * Period), UnknownBefore: Begin},
		Specs:  []explainapi.SpecVersion{{From: Begin, Spec: spec}}, Decisions: []explainapi.Decision{},
	}
	log.Name, log.Namespace = "web", "shop"
	s := simulation{spec: spec, status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 2, DesiredReplicas: 2}}
	s.scaleSimulatedPods(2, Begin.Add(-time.Hour))
	for i, step := range steps {
		now := Begin.Add(time.Duration(i) * Period)
		if step.Spec != nil {
			s.spec = *step.Spec
			log.Specs = append(log.Specs, explainapi.SpecVersion{From: now.Add(-time.Second), Spec: s.spec})
		}
		if n := len(s.pods); step.Recreate {
			s.pods = nil
			s.scaleSimulatedPods(n, now.Add(-time.Second))
		}
		d := s.takeSimulatedLook(now, step.Load)
		d.Spec = len(log.Specs) - 1
		log.Decisions = append(log.Decisions, d)
	}
	return log
}

// simulation is an autoscaler and its pods.
type simulation struct {
	spec    autoscalingv2.HorizontalPodAutoscalerSpec
	status  autoscalingv2.HorizontalPodAutoscalerStatus
	history hpa.History
	pods    []explainapi.Pod
	made    int
}

// scaleSimulatedPods makes or ends pods.
func (s *simulation) scaleSimulatedPods(replicas int, now time.Time) {
	s.pods = append([]explainapi.Pod(nil), s.pods[:min(len(s.pods), replicas)]...)
	for len(s.pods) < replicas {
		s.made++
		s.pods = append(s.pods, explainapi.Pod{Name: fmt.Sprintf("web-%d", s.made), State: explainapi.PodReady, Created: now, Readied: now.Add(start)})
	}
}

// takeSimulatedLook is one look of the HPA controller under a load.
func (s *simulation) takeSimulatedLook(now time.Time, load float64) explainapi.Decision {
	read := explainapi.Read{Time: now}
	in := hpa.Input{
		HPA:          &autoscalingv2.HorizontalPodAutoscaler{Spec: s.spec, Status: s.status},
		SpecReplicas: int32(len(s.pods)), StatusReplicas: int32(len(s.pods)), History: s.history, Now: now,
	}
	answer := hpa.Answer{Pods: map[string]hpa.PodValue{}}
	for i, p := range s.pods {
		in.Pods = append(in.Pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Status: corev1.PodStatus{Phase: corev1.PodRunning}})
		v := explainapi.Value{Pod: p.Name, Milli: int64(load * 1000 / float64(len(s.pods))), AgeMillis: int64(300 + 100*i), WindowSeconds: 10}
		read.Values = append(read.Values, v)
		answer.Pods[p.Name] = hpa.PodValue{Value: v.Milli}
	}
	if load < 0 {
		read.Values, read.Error = nil, "2 pods: 2 scrape failed (connection refused)"
		answer = hpa.Answer{Err: fmt.Errorf("%s", read.Error)}
	}
	in.Answers = []hpa.Answer{answer}
	d := hpa.Decide(in, hpa.DefaultSettings(36))
	s.history, s.status = d.History, d.Status
	out := explainapi.Decision{
		Time: now, Reads: []explainapi.Read{read}, Pods: s.pods, WrittenAfter: &metav1.Duration{Duration: 40 * time.Millisecond},
		Status: &explainapi.Status{CurrentReplicas: d.Status.CurrentReplicas, DesiredReplicas: d.Status.DesiredReplicas},
	}
	for _, c := range d.Status.Conditions {
		out.Status.Conditions = append(out.Status.Conditions, explainapi.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason})
	}
	s.scaleSimulatedPods(int(d.Replicas), now.Add(time.Second))
	return out
}

// Repeat returns a load for a number of looks.
func Repeat(load float64, looks int) []float64 {
	loads := make([]float64, looks)
	for i := range loads {
		loads[i] = load
	}
	return loads
}

// ZeroLog returns the complete record of one look at an autoscaler that has scaled itself to 0, and reads the total of an external metric,
// in thousandths, with a target of 50 for each pod.
func ZeroLog(total int64) *explainapi.DecisionLog {
	spec := Spec("")
	spec.MinReplicas = new(int32(0))
	spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting"}, Target: spec.Metrics[0].Pods.Target,
	}}
	slept := []explainapi.Condition{{Type: string(autoscalingv2.ScaledToZero), Status: string(corev1.ConditionTrue), Reason: "ScaledToZero"}}
	wanted := min(4, int32((total+49_999)/50_000)) // the controller takes at most 4 pods at a time from 0
	return &explainapi.DecisionLog{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Source:     explainapi.Source{Replica: "tachometer-adapter-1", Time: Begin.Add(Period), UnknownBefore: Begin},
		Specs:      []explainapi.SpecVersion{{From: Begin, Spec: spec}},
		Decisions: []explainapi.Decision{
			{Time: Begin, Status: &explainapi.Status{Conditions: slept}},
			{
				Time: Begin.Add(Period), Reads: []explainapi.Read{{Time: Begin.Add(Period), Values: []explainapi.Value{{Milli: total}}}},
				WrittenAfter: &metav1.Duration{Duration: time.Millisecond}, Status: &explainapi.Status{DesiredReplicas: wanted, Conditions: slept},
			},
		},
	}
}
