package inventory

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// TestScrapedPage: the annotations decide the path, and none of them leaves the pod.
func TestScrapedPage(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}}}
	pod.Namespace, pod.Name = "shop", "web-1"
	for path, want := range map[string]string{
		"": "web-1:8080/proxy/metrics", "stats": "web-1:8080/proxy/stats", " /stats?all=1 ": "web-1:8080/proxy/stats?all=1", "/a%2Fc": "web-1:8080/proxy/a%2Fc", "/a b": "web-1:8080/proxy/a%20b",
		"/../../../secrets": "", "/..": "", "/a/..?x": "", "/%2e%2e/x": "", "/..x": "web-1:8080/proxy/..x",
		"/a?b#c d": "web-1:8080/proxy/a?b%23c%20d",
	} {
		pod.Annotations = map[string]string{podpage.AnnotationPath: path}
		got, err := ScrapedPage(pod)
		if (err != nil) != (want == "") || err == nil && got != "/api/v1/namespaces/shop/pods/"+want {
			t.Errorf("%q: page %q, %v, want %q", path, got, err, want)
		}
	}
	pod.Annotations = map[string]string{podpage.AnnotationScheme: "HTTPS", podpage.AnnotationParam + "_format": "prometheus"}
	if got, err := ScrapedPage(pod); err != nil || got != "/api/v1/namespaces/shop/pods/https:web-1:8080/proxy/metrics?format=prometheus" {
		t.Errorf("page %q, %v", got, err)
	}
	pod.Annotations = map[string]string{podpage.AnnotationScheme: "ftp"}
	if got, err := ScrapedPage(pod); err == nil {
		t.Errorf("page %q of scheme ftp", got)
	}
}
