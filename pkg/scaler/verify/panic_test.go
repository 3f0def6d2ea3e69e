package verify

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// panickingTransport panics over a response, as a bug in its reading would.
type panickingTransport struct{ path string }

func (t panickingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == t.path {
		panic("text of a response")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// TestPanicsReachTheCaller: a panic over a pod's response, in whatever goroutine, is one of the caller, who ends it. It does not end the program.
func TestPanicsReachTheCaller(t *testing.T) {
	t.Parallel()
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(8080)}}}
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Status: corev1.PodStatus{PodIP: "10.0.0.1"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", ReadinessProbe: probe}}},
	}
	for _, path := range []string{"/readyz", "/orders"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			checker := New(Options{Transport: panickingTransport{path}})
			defer func() {
				if recover() == nil {
					t.Error("the caller had no panic")
				}
			}()
			spec := Spec{URL: "http://web:8080/orders", Requests: 10, Concurrency: 2, Timeout: metav1.Duration{Duration: time.Second}}
			report, err := checker.Run(t.Context(), spec, []corev1.Pod{pod}, []corev1.Pod{pod})
			t.Errorf("%+v %v", report, err)
		})
	}
}
