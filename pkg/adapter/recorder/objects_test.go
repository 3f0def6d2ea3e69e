package recorder

import (
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// TestObjectsOfOneName: a metric of two objects with one name is read for each by its kind. A kind with an irregular plural gets both reads.
func TestObjectsOfOneName(t *testing.T) {
	t.Parallel()
	object := func(version, kind string) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			Metric:          autoscalingv2.MetricIdentifier{Name: "request_per_second"},
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: version, Kind: kind, Name: "front"},
		}}
	}
	services, ingresses := schema.GroupResource{Resource: "services"}, schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}
	for name, tc := range map[string]struct {
		metrics []autoscalingv2.MetricSpec
		reads   []schema.GroupResource // 1/s the first, 2/s the second
		want    []int64                // of each metric
	}{
		"a Service and an Ingress": {
			[]autoscalingv2.MetricSpec{object("v1", "Service"), object("networking.k8s.io/v1", "Ingress")},
			[]schema.GroupResource{services, ingresses}, []int64{1000, 2000},
		},
		"one kind of two groups": {
			[]autoscalingv2.MetricSpec{object("example.com/v1", "Service"), object("v1", "Service")},
			[]schema.GroupResource{services, {Group: "example.com", Resource: "services"}}, []int64{2000, 1000},
		},
		"another version of the API": {
			[]autoscalingv2.MetricSpec{object("v1", "Service"), object("networking.k8s.io/v1beta1", "Ingress")},
			[]schema.GroupResource{services, ingresses}, []int64{1000, 2000},
		},
		"an irregular plural": {
			[]autoscalingv2.MetricSpec{object("example.com/v1", "Person"), object("v1", "Service")},
			[]schema.GroupResource{{Group: "example.com", Resource: "people"}}, []int64{1000, 1000},
		},
		"after a change of kind": { // the autoscaler is observed with the Service first
			[]autoscalingv2.MetricSpec{object("networking.k8s.io/v1", "Ingress"), object("v1", "Service")},
			[]schema.GroupResource{services, ingresses}, []int64{2000, 1000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLoadedService(t, "web", Options{})
			s.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{object("v1", "Service"), object("networking.k8s.io/v1", "Ingress")}
			s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
			s.hpa.Spec.Metrics = tc.metrics
			s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
			for i, r := range tc.reads {
				s.load = float64(1000 * (i + 1))
				info := metricsprovider.CustomMetricInfo{GroupResource: r, Namespaced: true, Metric: "request_per_second"}
				if _, err := s.recorded.GetMetricByName(s.context(), types.NamespacedName{Namespace: "shop", Name: "front"}, info, labels.Everything()); err != nil {
					t.Fatal(err)
				}
			}
			log, err := s.recorder.Log(types.NamespacedName{Namespace: "shop", Name: "web"}, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			var reads []int64
			got := map[int]int64{}
			for _, d := range log.Decisions {
				for _, r := range d.Reads {
					reads, got[r.Metric] = append(reads, r.Values[0].Milli), r.Values[0].Milli
				}
			}
			if len(reads) != len(tc.want) || got[0] != tc.want[0] || got[1] != tc.want[1] {
				t.Errorf("reads %v, by metric %v, want %v", reads, got, tc.want)
			}
		})
	}
}
