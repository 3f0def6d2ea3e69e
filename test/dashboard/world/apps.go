package world

// This file holds the autoscalers of the world: one for each state that a person meets.

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func newApps() []*app {
	return []*app{
		newApp("auth", "sessions", 3, 12, 3, metricModel{spec: podsMetric("request_per_second", "40"), load: steadyLoad(61)}),
		newApp("media", "thumbnails", 2, 20, 4, metricModel{spec: podsMetric("jobs_running", "5"), load: steppedLoad(17, 19*time.Minute+52*time.Second, 34)}),
		newApp("payments", "gateway", 4, 16, 5, metricModel{spec: podsMetric("request_per_second", "80"), load: steadyLoad(372), fails: func(t time.Duration) string {
			if t < 17*time.Minute+40*time.Second {
				return ""
			}
			return "5 pods: 5 scrape failed (connection refused)"
		}}),
		newCPUApp(),
		newApp("shop", "orders-worker", 2, 8, 5, metricModel{spec: externalMetric("orders_waiting", "40"), load: steppedLoad(150, 5*time.Minute, 240, 11*time.Minute, 402)}),
		newMuteApp(),
		newApp("shop", "web", 3, 14, 5, metricModel{spec: podsMetric("request_per_second", "50"), load: steppedLoad(221, 6*time.Minute, 489, 17*time.Minute, 343)}),
	}
}

func newCPUApp() *app {
	cpu := metricModel{load: steadyLoad(0.79), spec: autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: "cpu", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
	}}}
	a := newApp("shop", "checkout", 3, 10, 5, cpu, metricModel{spec: podsMetric("request_per_second", "25"), load: steadyLoad(118)})
	a.cpuRequest = "250m"
	return a
}

func newMuteApp() *app {
	a := newApp("shop", "search", 2, 10, 4, metricModel{spec: podsMetric("queries_in_flight", "12"), load: steadyLoad(47)})
	a.mute = 1
	return a
}

func newApp(namespace, name string, low, high, replicas int32, metrics ...metricModel) *app {
	a := &app{namespace: namespace, name: name, metrics: metrics}
	a.autoscaler = autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MinReplicas:    new(low), MaxReplicas: high,
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: replicas, DesiredReplicas: replicas},
	}
	for _, m := range metrics {
		a.autoscaler.Spec.Metrics = append(a.autoscaler.Spec.Metrics, m.spec)
	}
	return a
}

func podsMetric(name, target string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: averageTarget(target),
	}}
}

func externalMetric(name, target string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: averageTarget(target),
	}}
}

func averageTarget(value string) autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse(value))}
}

// steadyLoad returns a load that moves by 3 % around a mean.
func steadyLoad(mean float64) func(time.Duration) float64 { return steppedLoad(mean) }

// steppedLoad returns a load that changes to another mean at given times: pairs of a time and a mean.
func steppedLoad(mean float64, changes ...any) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		now := mean
		for i := 0; i < len(changes); i += 2 {
			since := t - changes[i].(time.Duration)
			next, ok := changes[i+1].(float64)
			if !ok {
				next = float64(changes[i+1].(int))
			}
			if since >= 0 { // a step takes effect within seconds, not at once
				now += (next - now) * (1 - math.Exp(-since.Seconds()/8))
			}
		}
		return now * (1 + 0.02*math.Sin(t.Seconds()/17) + 0.012*math.Sin(t.Seconds()/5.3))
	}
}
