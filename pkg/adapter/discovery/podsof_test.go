package discovery

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// TestServiceThatSelectsOthers has a Service switch from blue to green pods: the next read must not add up pods without
// traffic.
func TestServiceThatSelectsOthers(t *testing.T) {
	objects := []runtime.Object{
		newHPA("shop", "web", "web", objectMetric("rps", "v1", "Service", "front")), newService("front", map[string]string{"app": "blue"}),
		apiPod("shop", "blue-1", withLabels(map[string]string{"app": "blue"})), apiPod("shop", "green-1", withLabels(map[string]string{"app": "green"})),
	}
	runInWorld(t, objects, nil, nil, func(w *clusterWorld) {
		read := func(when, want string) {
			t.Helper()
			pods, err := w.PodsOf(w.ctx, schema.GroupResource{Resource: "services"}, metric.Object{Namespace: "shop", Name: "front"})
			if got := describePods(pods); err != nil || got != want {
				t.Errorf("%s: PodsOf = %q, %v; want %q", when, got, err, want)
			}
		}
		sleepAndSettle(time.Second)
		read("at start", "blue-1")
		sleepAndSettle(maxReadAge)
		if _, err := w.kube.CoreV1().Services("shop").Update(w.ctx, newService("front", map[string]string{"app": "green"}), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		read("after the switch", "green-1")
		sleepAndSettle(minComputeInterval)
		w.expectTargets("after the switch", "shop/green-1: services_rps")
	})
}

func TestPodsOf(t *testing.T) {
	objects := []runtime.Object{
		apiPod("shop", "web-1"), apiPod("shop", "api-1", withLabels(map[string]string{"app": "api"})),
		apiPod("other", "web-1", func(p *corev1.Pod) { p.Spec.NodeName = "node-2" }),
		newService("front", map[string]string{"app": "web"}), newService("headless", nil),
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web", "other/web": "app=web"}, nil, func(w *clusterWorld) {
		for name, tc := range map[string]struct {
			resource string
			object   metric.Object
			want     string
			wantErr  metric.Kind
		}{
			"namespace":              {"namespaces", metric.Object{Name: "shop"}, "shop/api-1 shop/web-1", 0},
			"namespace without pods": {"namespaces", metric.Object{Name: "empty"}, "", 0},
			"node":                   {"nodes", metric.Object{Name: "node-2"}, "other/web-1", 0},
			"no name":                {"namespaces", metric.Object{}, "", metric.KindInvalid},
			"pod":                    {"pods", metric.Object{Namespace: "shop", Name: "api-1"}, "shop/api-1", 0},
			"no such pod":            {"pods", metric.Object{Namespace: "shop", Name: "gone"}, "", metric.KindNotFound},
			"service":                {"services", metric.Object{Namespace: "shop", Name: "front"}, "shop/web-1", 0},
			"headless service":       {"services", metric.Object{Namespace: "shop", Name: "headless"}, "", metric.KindInvalid},
			"deployment":             {"deployments.apps", metric.Object{Namespace: "other", Name: "web"}, "other/web-1", 0},
			"no such deployment":     {"deployments.apps", metric.Object{Namespace: "shop", Name: "gone"}, "", metric.KindNotFound},
		} {
			pods, err := w.PodsOf(w.ctx, schema.ParseGroupResource(tc.resource), tc.object)
			var got []string
			for _, p := range pods {
				got = append(got, p.Object().String())
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%s: PodsOf = %v (%v), want %s", name, got, err, tc.want)
			}
			if (err != nil) != (tc.wantErr != 0) || err != nil && metric.KindOf(err) != tc.wantErr {
				t.Errorf("%s: PodsOf = %v, want kind %v (0 is no error)", name, err, tc.wantErr)
			}
		}
	})
}

func TestObjectDemandOfReader(t *testing.T) {
	objects := []runtime.Object{
		apiPod("shop", "web-1", withAnnotations(podpage.AnnotationScrape, "true")),
		apiPod("shop", "api-1", withAnnotations(podpage.AnnotationScrape, "true"), withLabels(map[string]string{"app": "api"})),
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		w.Demand(Demand{Resource: "deployments.apps", Metric: "rps", Namespace: "shop", Object: "web"})
		if _, err := w.PodsOf(w.ctx, schema.GroupResource{Group: "apps", Resource: "deployments"}, metric.Object{Namespace: "shop", Name: "web"}); err != nil {
			t.Fatal(err)
		}
		sleepAndSettle(minComputeInterval)
		w.expectTargets("after a read", "shop/web-1: deployments.apps_rps")
	})
}
