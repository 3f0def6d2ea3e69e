// Package world is a cluster of fakes with believable autoscalers: their load moves, and the HPA's own arithmetic decides.
package world

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

const (
	controlPeriod = 15 * time.Second // of the HPA controller
	startTime     = 12 * time.Second // from the creation of a pod to ready
	sampleAge     = 2 * time.Second  // of every value
)

// World is a cluster whose time moves with Advance. It may be used concurrently.
type World struct {
	mu      sync.Mutex // guards all fields
	started time.Time
	now     time.Time
	apps    []*app
	lost    string // the cause for which autoscalers cannot be listed
	older   bool   // the adapter has no record
}

// app is a workload with its autoscaler.
type app struct {
	namespace, name string
	metrics         []metricModel
	cpuRequest      string
	mute            int // so many ready pods have no value
	autoscaler      autoscalingv2.HorizontalPodAutoscaler
	history         hpa.History
	pods            []appPod
	created         int
	record          []explainapi.Decision
}

type appPod struct {
	name    string
	created time.Time
}

// metricModel is a metric of an autoscaler and its load over time.
type metricModel struct {
	spec  autoscalingv2.MetricSpec
	load  func(t time.Duration) float64 // of all pods, since the world's start
	fails func(t time.Duration) string  // the error of a read; nil: none
}

// New returns a cluster at a time, before its first decision.
func New(started time.Time) *World {
	w := &World{started: started, now: started, apps: newApps()}
	for _, a := range w.apps {
		a.scalePods(a.autoscaler.Status.CurrentReplicas, started.Add(-time.Hour))
	}
	return w
}

// Now returns the world's time.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance moves the time, and lets the HPA controller decide whenever its period is over.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		if w.now.Sub(w.started)%controlPeriod == 0 {
			for _, a := range w.apps {
				a.decideReplicas(w.now, w.now.Sub(w.started))
			}
		}
	}
}

// LoseAutoscalers makes every list of autoscalers fail with a cause; empty: they can be listed again.
func (w *World) LoseAutoscalers(cause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = cause
}

// RemoveRecord makes the adapter an older one, which records nothing.
func (w *World) RemoveRecord() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.older = true
}

// SetFailure makes the metrics of an autoscaler fail with a cause.
func (w *World) SetFailure(namespace, name, cause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.apps {
		if a.namespace == namespace && a.name == name {
			for i := range a.metrics {
				a.metrics[i].fails = func(time.Duration) string { return cause }
			}
		}
	}
}

// decideReplicas takes the controller's decision and its consequences.
func (a *app) decideReplicas(now time.Time, t time.Duration) {
	replicas := int32(len(a.pods))
	in := hpa.Input{HPA: &a.autoscaler, SpecReplicas: replicas, StatusReplicas: replicas, Pods: a.listPods(now), History: a.history, Now: now}
	for _, m := range a.metrics {
		in.Answers = append(in.Answers, a.answerMetric(m, now, t))
	}
	d := hpa.Decide(in, hpa.DefaultSettings(36))
	a.recordDecision(now, in, d)
	a.autoscaler.Status, a.history = d.Status, d.History
	if d.Rescale {
		a.scalePods(d.Replicas, now)
	}
}

func (a *app) answerMetric(m metricModel, now time.Time, t time.Duration) hpa.Answer {
	if cause := m.failureAt(t); cause != "" {
		return hpa.Answer{Err: errors.New(cause)}
	}
	if m.spec.External != nil {
		return hpa.Answer{External: []int64{int64(1000 * m.load(t))}}
	}
	answer := hpa.Answer{Pods: map[string]hpa.PodValue{}}
	for name, value := range a.podValues(m, now, t) {
		answer.Pods[name] = hpa.PodValue{Value: value, Time: now.Add(-sampleAge), Window: 10 * time.Second}
	}
	return answer
}

func (m metricModel) failureAt(t time.Duration) string {
	if m.fails == nil {
		return ""
	}
	return m.fails(t)
}

// podValues returns the values of ready pods in thousandths: equal shares of the load, a little apart.
func (a *app) podValues(m metricModel, now time.Time, t time.Duration) map[string]int64 {
	var ready []string
	for _, p := range a.pods {
		if p.isReady(now) {
			ready = append(ready, p.name)
		}
	}
	values := map[string]int64{}
	for i, name := range ready {
		if i < a.mute {
			continue
		}
		wobble := 1 + 0.03*math.Sin(float64(i)*2.1+t.Seconds()/23)
		values[name] = int64(1000 * m.load(t) / float64(len(ready)) * wobble)
	}
	return values
}

func (p appPod) isReady(now time.Time) bool { return now.Sub(p.created) >= startTime }

// scalePods creates pods, or deletes the newest.
func (a *app) scalePods(replicas int32, now time.Time) {
	for int32(len(a.pods)) < replicas {
		a.created++
		a.pods = append(a.pods, appPod{fmt.Sprintf("%s-5d8f7c9b4-%s", a.name, podSuffix(a.name, a.created)), now})
	}
	a.pods = a.pods[:replicas]
}

// podSuffix returns five letters, the same in every run.
func podSuffix(name string, n int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	seed := uint32(2166136261)
	for _, b := range fmt.Appendf(nil, "%s/%d", name, n) {
		seed = (seed ^ uint32(b)) * 16777619
	}
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = letters[seed%uint32(len(letters))]
		seed = seed/uint32(len(letters)) ^ seed<<9
	}
	return string(suffix)
}

func (a *app) podLabels() map[string]string { return map[string]string{"app": a.name} }

func (a *app) listPods(now time.Time) []*corev1.Pod {
	pods := make([]*corev1.Pod, len(a.pods))
	for i, p := range a.pods {
		ready := corev1.ConditionFalse
		if p.isReady(now) {
			ready = corev1.ConditionTrue
		}
		container := corev1.Container{Name: a.name}
		if a.cpuRequest != "" {
			container.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(a.cpuRequest)}
		}
		pods[i] = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: p.name, Labels: a.podLabels(), CreationTimestamp: metav1.NewTime(p.created)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{container}},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: p.created},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.NewTime(p.created.Add(startTime))}},
			},
		}
	}
	return pods
}
