package discovery

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// TestMetricsPages: pods that are annotated, or behind an autoscaler that names a metric, have pages; no others, none of another namespace, and
// none at an address that is not scraped.
func TestMetricsPages(t *testing.T) {
	t.Parallel()
	d := New(Clients{}, Options{})
	ofReplicaSet := func(p *corev1.Pod) {
		p.Labels["pod-template-hash"] = "7d9f"
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-7d9f", Controller: new(true)}}
	}
	scraped := withAnnotations(podpage.AnnotationScrape, "true", podpage.AnnotationPort, "8080")
	for _, p := range []*corev1.Pod{
		apiPod("shop", "web-2", withLabels(map[string]string{"app": "web"}), scraped, ofReplicaSet),
		apiPod("shop", "web-1", withLabels(map[string]string{"app": "web"}), scraped, ofReplicaSet),
		apiPod("shop", "job", withLabels(map[string]string{"app": "job"}), scraped),
		apiPod("shop", "quiet"),
		apiPod("shop", "barred", withAnnotations(podpage.AnnotationScrape, "false")),
		apiPod("shop", "node-local", scraped, func(p *corev1.Pod) { p.Status.PodIP = "127.0.0.1" }),
		apiPod("shop", "metadata", scraped, func(p *corev1.Pod) { p.Status.PodIP = "169.254.10.1" }),
		apiPod("shop", "leaving", scraped, func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }),
		apiPod("shop", "kubelet", scraped, func(p *corev1.Pod) {
			p.Spec.HostNetwork, p.Annotations[podpage.AnnotationPort] = true, "10250"
		}),
		apiPod("bank", "vault", scraped),
	} {
		d.pods.upsertWatchedObject(d.endpoints.newStoredPod(p))
	}
	list := func(namespace string, selector labels.Selector) string {
		var pages []string
		for _, p := range d.MetricsPages(namespace, selector) {
			pages = append(pages, p.Name+" of "+p.Workload())
		}
		return strings.Join(pages, ", ")
	}
	for name, tc := range map[string][2]string{
		"all":                 {list("shop", nil), "job of Pod/job, web-1 of ReplicaSet/web, web-2 of ReplicaSet/web"},
		"selected":            {list("shop", parseSelector(t, "app=web")), "web-1 of ReplicaSet/web, web-2 of ReplicaSet/web"},
		"no namespace":        {list("", nil), ""},
		"another namespace":   {list("bank", nil), "vault of Pod/vault"},
		"an unknown one":      {list("none", nil), ""},
		"a selector of none":  {list("shop", parseSelector(t, "app=none")), ""},
		"everything selected": {list("bank", labels.Everything()), "vault of Pod/vault"},
	} {
		if diff := cmp.Diff(tc[1], tc[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
