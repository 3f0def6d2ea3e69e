package verify

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compareGoldenReport compares text with a file of testdata, or rewrites the file.
func compareGoldenReport(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	golden.Compare(t, file, got)
}

// specDuration converts a duration to the type of a spec.
func specDuration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

// newProbedPod returns a ready pod with a probe of /healthz on its port "web".
func newProbedPod(name, ip string, port int) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name:  "app",
			Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(port)}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("web")},
			}},
		}}},
		Status: corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

// readinessProbe returns the probe of a pod's only container.
func readinessProbe(p *corev1.Pod) *corev1.HTTPGetAction {
	return p.Spec.Containers[0].ReadinessProbe.HTTPGet
}

// servePod starts a server on a loopback address, as a pod of that address.
func servePod(t *testing.T, name, ip string, h http.HandlerFunc) corev1.Pod {
	t.Helper()
	s := newPodServer(t, ip, h)
	s.Start()
	return podOfServer(t, name, s)
}

func newPodServer(t *testing.T, ip string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	t.Cleanup(s.Close)
	return s
}

func podOfServer(t *testing.T, name string, s *httptest.Server) corev1.Pod {
	t.Helper()
	ip, text, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	p := newProbedPod(name, ip, port)
	p.Spec.Containers[0].ReadinessProbe.TimeoutSeconds = int32(maxReadinessTimeout / time.Second)
	return p
}

// mustVerify runs a verification, by default with the longest timeout, and fails the test on an error: a busy machine takes its time.
func mustVerify(t *testing.T, spec Spec, now, old []corev1.Pod) Report {
	t.Helper()
	if spec.Timeout.Duration == 0 {
		spec.Timeout.Duration = maxTimeout
	}
	r, err := New(Options{}).Run(t.Context(), spec, now, old)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
