package families

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

const page = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200"} 90
http_requests_total{code="500"} 10
# TYPE orders_total counter
orders_total 7
# TYPE in_flight gauge
in_flight 3
# TYPE request_seconds histogram
request_seconds_bucket{le="+Inf"} 100
request_seconds_sum 5
request_seconds_count 100
# TYPE go_goroutines gauge
go_goroutines 12
legacy 4
`

// pageReader has one page.
type pageReader map[string]string

func (r pageReader) Read(_ context.Context, path string) ([]byte, error) {
	text, ok := r[path]
	if !ok {
		return nil, errors.New("no such path: " + path)
	}
	return []byte(text), nil
}

func newPod(annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
	}
}

func TestReadPod(t *testing.T) {
	t.Parallel()
	report, err := ReadPod(t.Context(), pageReader{"/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics": page}, newPod(nil))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.Print(&out, output.TableOptions{NoHeaders: true}); err != nil {
		t.Fatal(err)
	}
	want := `go_goroutines   gauge   1/1   1   12   go_goroutines
http_requests_total   counter   1/1   2   100   request_per_second
in_flight   gauge   1/1   1   3   in_flight
legacy   untyped   1/1   1   4   <none>
orders_total   counter   1/1   1   7   orders_per_second
request_seconds   histogram   1/1   1   100   request_seconds_p50,request_seconds_p90,request_seconds_p95,request_seconds_p99
`
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(out.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	hpa, err := report.Suggest("Deployment", "web", "")
	if err != nil || hpa.Spec.Metrics[0].Pods.Metric.Name != "request_per_second" {
		t.Errorf("suggested %+v, error %v; want the rate of requests", hpa, err)
	}
}

func TestReadPodElsewhere(t *testing.T) {
	t.Parallel()
	pod := newPod(map[string]string{"prometheus.io/port": "9102", "prometheus.io/path": "/stats/prometheus"})
	report, err := ReadPod(t.Context(), pageReader{"/api/v1/namespaces/shop/pods/web-1:9102/proxy/stats/prometheus": "go_goroutines 1\n"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report.Suggest("Deployment", "web", ""); err == nil {
		t.Error("an autoscaler was suggested on nothing")
	}
}

func TestReadPodErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reader pageReader
		pod    *corev1.Pod
		want   string
	}{
		"no port":    {nil, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}, "find the metrics page of pod web-1: no port is declared: annotate prometheus.io/port or name a container port metrics"},
		"no page":    {nil, newPod(nil), "read the metrics page of pod web-1: no such path"},
		"not a page": {pageReader{"/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics": "<html>"}, newPod(nil), "parse the metrics page of pod web-1: "},
		"odd port":   {nil, newPod(map[string]string{"prometheus.io/port": "web"}), `find the metrics page of pod web-1: annotation prometheus.io/port is "web", not a port number, and no port has this name`},
	} {
		if _, err := ReadPod(t.Context(), tc.reader, tc.pod); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}
