package discovery

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// newHPA returns an autoscaler of Deployment target in the namespace.
func newHPA(namespace, name, target string, metrics ...autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: target},
			Metrics:        metrics,
		},
	}
}

func podsMetric(metric string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.PodsMetricSourceType,
		Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: metric}},
	}
}

func objectMetric(metric, version, kind, name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ObjectMetricSourceType,
		Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: version, Kind: kind, Name: name},
			Metric:          autoscalingv2.MetricIdentifier{Name: metric},
		},
	}
}

func externalMetric(metric string, selector *metav1.LabelSelector) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ExternalMetricSourceType,
		External: &autoscalingv2.ExternalMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: metric, Selector: selector},
		},
	}
}

func resourceMetric() autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}}
}

func TestNewAutoscaler(t *testing.T) {
	t.Parallel()
	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	for name, tc := range map[string]struct {
		metrics []autoscalingv2.MetricSpec
		want    []namedMetric
	}{
		"pods": {
			[]autoscalingv2.MetricSpec{podsMetric("rps")},
			[]namedMetric{{source: autoscalingv2.PodsMetricSourceType, metric: "rps"}},
		},
		"object": {
			[]autoscalingv2.MetricSpec{objectMetric("rps", "v1", "Service", "front")},
			[]namedMetric{{source: autoscalingv2.ObjectMetricSourceType, metric: "rps", object: objectReference{schema.GroupKind{Kind: "Service"}, "front"}}},
		},
		"external with selector": {
			[]autoscalingv2.MetricSpec{externalMetric("waiting", &metav1.LabelSelector{
				MatchLabels:      map[string]string{"queue": "orders"},
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "zone", Operator: metav1.LabelSelectorOpExists}},
			})},
			[]namedMetric{{source: autoscalingv2.ExternalMetricSourceType, metric: "waiting", selector: "queue=orders,zone"}},
		},
		"malformed selector": {
			[]autoscalingv2.MetricSpec{externalMetric("waiting", &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "zone", Operator: "Near"}},
			})},
			[]namedMetric{{source: autoscalingv2.ExternalMetricSourceType, metric: "waiting"}},
		},
		"served elsewhere": {
			[]autoscalingv2.MetricSpec{resourceMetric(), {Type: autoscalingv2.ContainerResourceMetricSourceType}, {Type: autoscalingv2.PodsMetricSourceType}},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := &storedAutoscaler{namespace: "shop", name: "web", scaleTarget: objectReference{deployment, "web"}, metrics: tc.want}
			got, err := stripAutoscaler(newHPA("shop", "web", "web", tc.metrics...))
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(storedAutoscaler{}, objectReference{}, namedMetric{}, rejectedMetrics{})); err != nil || diff != "" {
				t.Errorf("stripWatchedAutoscaler: %v (-want +got):\n%s", err, diff)
			}
		})
	}
	if _, err := stripAutoscaler(apiPod("shop", "web-1")); err == nil {
		t.Error("stripWatchedAutoscaler(pod) = nil error")
	}
}

func TestAutoscalersReportChanges(t *testing.T) {
	t.Parallel()
	strip := newStoredAutoscaler
	read := newHPA("shop", "web", "web", podsMetric("rps"))
	read.Status.CurrentReplicas = 7
	all := newWatchedAutoscalerTable()
	steps := []struct {
		what string
		got  bool
		want bool
	}{
		{"new", all.upsertWatchedObject(strip(newHPA("shop", "web", "web", podsMetric("rps")))), true},
		{"new status", all.upsertWatchedObject(strip(read)), false},
		{"equal list", all.replaceWatchedObjects([]*storedAutoscaler{strip(read)}), false},
		{"other metric", all.upsertWatchedObject(strip(newHPA("shop", "web", "web", podsMetric("errors")))), true},
		{"other target", all.replaceWatchedObjects([]*storedAutoscaler{strip(newHPA("shop", "web", "api", podsMetric("errors")))}), true},
		{"removed", all.removeWatchedObject(strip(read)), true},
		{"removed, not there", all.removeWatchedObject(strip(read)), false},
		{"empty list", all.replaceWatchedObjects(nil), false},
	}
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: changed = %v, want %v", s.what, s.got, s.want)
		}
	}
}
