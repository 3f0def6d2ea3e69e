package verify

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, url string
		edit      func(p *corev1.Pod)
		ready     string // of the first container; empty: none
		load      string
		err       string
	}{
		{"port by name", "/work?ms=1", func(*corev1.Pod) {}, "http://10.0.0.1:8080/healthz", "http://10.0.0.1:8080/work?ms=1", ""},
		{"port by number", "/", func(p *corev1.Pod) { readinessProbe(p).Port = intstr.FromInt32(9090) }, "http://10.0.0.1:9090/healthz", "http://10.0.0.1:9090/", ""},
		{"IPv6", "/", func(p *corev1.Pod) { p.Status.PodIP = "fd00::7" }, "http://[fd00::7]:8080/healthz", "http://[fd00::7]:8080/", ""},
		{"TLS", "/", func(p *corev1.Pod) { readinessProbe(p).Scheme = corev1.URISchemeHTTPS }, "https://10.0.0.1:8080/healthz", "https://10.0.0.1:8080/", ""},
		{"path without slash", "", func(p *corev1.Pod) { readinessProbe(p).Path = "up" }, "http://10.0.0.1:8080/up", "", ""},
		{"path that is no URL", "", func(p *corev1.Pod) { readinessProbe(p).Path = "/100%?a=b" }, "http://10.0.0.1:8080/100%25%3Fa=b", "", ""},
		{"whole URL", "http://shop.example/x", func(*corev1.Pod) {}, "http://10.0.0.1:8080/healthz", "http://10.0.0.1:80/x", ""},
		{"whole URL, TLS", "https://shop.example/x", func(*corev1.Pod) {}, "http://10.0.0.1:8080/healthz", "https://10.0.0.1:443/x", ""},
		{"probe of another host", "/", func(p *corev1.Pod) { readinessProbe(p).Host = "127.0.0.1" }, "", "http://10.0.0.1:8080/", ""},
		{"TCP probe", "/", func(p *corev1.Pod) {
			p.Spec.Containers[0].ReadinessProbe.ProbeHandler = corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("web")}}
		}, "", "http://10.0.0.1:8080/", ""},
		{"no probe", "", func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = nil }, "", "", ""},
		{"no probe, path", "/", func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = nil }, "", "", "pod web-0 has no readiness probe to take the port from"},
		{"no such port", "", func(p *corev1.Pod) { readinessProbe(p).Port = intstr.FromString("admin") }, "", "", `names the unknown port "admin"`},
		{"no port", "", func(p *corev1.Pod) { readinessProbe(p).Port = intstr.FromInt32(0) }, "", "", "has no port"},
		{"no address", "", func(p *corev1.Pod) { p.Status.PodIP = "" }, "", "", "pod web-0 has no IP address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProbedPod("web-0", "10.0.0.1", 8080)
			c.edit(&p)
			a, err := resolveVerifiedPodChecks(Spec{URL: c.url}.WithDefaults(), &p)
			if err != nil || c.err != "" {
				if err == nil || c.err == "" || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			var ready, load string
			if len(a.readiness) > 0 {
				ready = a.readiness[0].url
			}
			if a.load != nil {
				load = a.load.url
			}
			if ready != c.ready || load != c.load {
				t.Errorf("asks %q and %q, want %q and %q", ready, load, c.ready, c.load)
			}
		})
	}
}

func TestRunWithoutPods(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}).Run(t.Context(), Spec{}, nil, nil); err == nil {
		t.Error("no pods were verified")
	}
	p := newProbedPod("web-0", "10.0.0.1", 8080)
	if _, err := New(Options{}).Run(t.Context(), Spec{Success: 2}, []corev1.Pod{p}, nil); err == nil || !strings.Contains(err.Error(), "success") {
		t.Errorf("error %v, want one about success", err)
	}
}
