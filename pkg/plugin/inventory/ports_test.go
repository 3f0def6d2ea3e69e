package inventory

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestScrapedPort(t *testing.T) {
	t.Parallel()
	always := corev1.ContainerRestartPolicyAlways
	container := func(ports ...corev1.ContainerPort) corev1.Container { return corev1.Container{Ports: ports} }
	named := func(name string, number int32) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, ContainerPort: number}
	}
	sidecar := container(named("metrics", 15090))
	sidecar.RestartPolicy = &always
	for name, tc := range map[string]struct {
		annotation string
		spec       corev1.PodSpec
		want       int32
		err        string
	}{
		"the only port":                 {"", corev1.PodSpec{Containers: []corev1.Container{container(named("", 8080))}}, 8080, ""},
		"a native sidecar's":            {"", corev1.PodSpec{Containers: []corev1.Container{container()}, InitContainers: []corev1.Container{sidecar}}, 15090, ""},
		"a native sidecar's by name":    {"", corev1.PodSpec{Containers: []corev1.Container{container(named("", 8080))}, InitContainers: []corev1.Container{sidecar}}, 15090, ""},
		"an init container has none":    {"", corev1.PodSpec{InitContainers: []corev1.Container{container(named("metrics", 1))}}, 0, "no container declares a port, and none is annotated"},
		"the annotated number":          {" 9090 ", corev1.PodSpec{Containers: []corev1.Container{container(named("metrics", 8080))}}, 9090, ""},
		"the annotated name":            {"web", corev1.PodSpec{Containers: []corev1.Container{container(named("metrics", 9090), named("web", 8080))}}, 8080, ""},
		"the annotated name of no port": {"web", corev1.PodSpec{}, 0, `annotation prometheus.io/port is "web", neither a port number nor the name of one declared port`},
		"the annotated name of two": {"web", corev1.PodSpec{Containers: []corev1.Container{container(named("web", 80)), container(named("web", 81))}}, 0,
			`annotation prometheus.io/port is "web", neither a port number nor the name of one declared port`},
	} {
		got, err := ScrapedPort(map[string]string{AnnotationPort: tc.annotation}, tc.spec)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got.ContainerPort != tc.want || text != tc.err {
			t.Errorf("%s: ScrapedPort = %d, %q, want %d, %q", name, got.ContainerPort, text, tc.want, tc.err)
		}
	}
}

// TestScrapedPage: the annotations decide the path, and none of them leaves the pod.
func TestScrapedPage(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}}}
	pod.Namespace, pod.Name = "shop", "web-1"
	for path, want := range map[string]string{
		"": "web-1:8080/proxy/metrics", "stats": "web-1:8080/proxy/stats", " /stats?all=1 ": "web-1:8080/proxy/stats?all=1", "/a%2Fc": "web-1:8080/proxy/a%2Fc", "/a b": "web-1:8080/proxy/a%20b",
		"/../../../secrets": "", "/..": "", "/a/..?x": "", "/%2e%2e/x": "", "/..x": "web-1:8080/proxy/..x",
	} {
		pod.Annotations = map[string]string{AnnotationPath: path}
		got, err := ScrapedPage(pod)
		if (err != nil) != (want == "") || err == nil && got != "/api/v1/namespaces/shop/pods/"+want {
			t.Errorf("%q: page %q, %v, want %q", path, got, err, want)
		}
	}
	pod.Annotations = map[string]string{AnnotationScheme: "HTTPS"}
	if got, err := ScrapedPage(pod); err != nil || got != "/api/v1/namespaces/shop/pods/https:web-1:8080/proxy/metrics" {
		t.Errorf("page %q, %v", got, err)
	}
	pod.Annotations = map[string]string{AnnotationScheme: "ftp"}
	if got, err := ScrapedPage(pod); err == nil {
		t.Errorf("page %q of scheme ftp", got)
	}
}
