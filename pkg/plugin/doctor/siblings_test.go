package doctor

import (
	"net/http"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// setAbsentMetric names a metric of the autoscaler that no page has, beside pages with the families of the metrics.
func (w *world) setAbsentMetric(name string, served ...string) {
	w.hpa.Spec.Metrics[0].Pods.Metric.Name = name
	w.answers[strings.Replace(podsMetricPath, "request_per_second", name, 1)] = newAdapterStatus(http.StatusServiceUnavailable,
		metav1.StatusReasonServiceUnavailable, "2 pods: 2 absent (no such family on its page)", causeAbsent)
	list := &explainapi.MetricList{}
	for _, metric := range served {
		list.Items = append(list.Items, explainapi.Metric{
			ObjectMeta: metav1.ObjectMeta{Name: metric + "_family"}, Type: "counter", Metrics: []explainapi.ServedMetric{{Name: metric, Resource: "pods"}},
		})
	}
	w.answers["/apis/"+explainapi.GroupVersion.String()+"/namespaces/shop/"+explainapi.Metrics] = list
}

// TestSiblings: instances of the prepared breakages beside the prepared ones, each with its cause first.
func TestSiblings(t *testing.T) {
	t.Parallel()
	const listing = "kubectl tachometer metrics deployment/web -n shop"
	for name, tc := range map[string]struct {
		spoil func(w *world)
		want  Check // Message is a part of it
	}{
		"a typo in the family, which a pattern would serve": {
			func(w *world) {
				w.setAbsentMetric("http_reqests_per_second", "http_errors_per_second", "http_requests_per_second", "go_goroutines")
			},
			Check{"metric", "shop/web", StatusFail, "2 absent (no such family on its page); nearest on the pages: http_requests_per_second", listing},
		},
		"a metric of pods with the type External": {
			func(w *world) {
				m := &w.hpa.Spec.Metrics[0]
				m.Type, m.External = autoscalingv2.ExternalMetricSourceType, &autoscalingv2.ExternalMetricSource{Metric: m.Pods.Metric, Target: m.Pods.Target}
				m.Pods = nil
				w.answers["/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/request_per_second"] = newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound,
					`no rule for external metric "request_per_second"; it is a metric of pods`)
			},
			Check{"metric", "shop/web", StatusFail, "it is a metric of pods", listing},
		},
		"a scheme that is none": {
			func(w *world) {
				w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationScheme: "tls"}
				w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
					`2 pods: 2 not scraped (annotation prometheus.io/scheme is "tls", neither "http" nor "https")`, causeNotScraped)
			},
			Check{"metric", "shop/web", StatusFail, `annotation prometheus.io/scheme is "tls"`,
				`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/scheme":null}}}}}'`},
		},
		"a mistyped path without a slash": {
			func(w *world) {
				w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationPath: "metrix"}
				w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
					"2 pods: 2 scrape failed (HTTP 404)", causeScrapeFailed)
			},
			Check{"metric", "shop/web", StatusFail, "HTTP 404", "kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrix"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			w.checkFirst(w.run("web"), tc.want)
		})
	}
}

// TestNearestServedMetric: few edits are a typo, more are another metric, as is any other short name.
func TestNearestServedMetric(t *testing.T) {
	t.Parallel()
	list := &explainapi.MetricList{Items: []explainapi.Metric{
		{Type: "counter", Metrics: []explainapi.ServedMetric{
			{Name: "orders_per_second", Resource: "pods"}, {Name: "depth", Resource: "pods"}, {Name: "orders_external", External: true}, {Name: "orders_services", Resource: "services"},
			{Name: "queue_pattern_.+", Resource: "pods", Pattern: true},
		}},
		{Metrics: []explainapi.ServedMetric{{Name: "demanded_alone", Resource: "pods"}}},
	}}
	for name, want := range map[string]string{
		"order_per_second": "orders_per_second", "odrers_per_secondd": "orders_per_second", "errors_per_second": "",
		"users_per_second": "", "depht": "", "orders_externa": "", "orders_service": "", "queue_pattern_.": "", "demanded_alon": "", "orders_per_second": "",
	} {
		if got := findNearestServedMetric(list, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
