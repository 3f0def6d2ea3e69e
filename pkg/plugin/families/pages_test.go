package families

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestReadManyPods: of many pods ten are read, the oldest and the newest with them, and sums are over these.
func TestReadManyPods(t *testing.T) {
	t.Parallel()
	reader, pods := pageReader{}, []*corev1.Pod(nil)
	for n := range 40 {
		pod := newPod(nil)
		pod.Name, pod.CreationTimestamp = fmt.Sprint("web-", n), metav1.NewTime(time.Unix(int64(1000-n), 0))
		reader["/api/v1/namespaces/shop/pods/"+pod.Name+":8080/proxy/metrics"] = "a 1\n"
		pods = append(pods, pod)
	}
	reader["/api/v1/namespaces/shop/pods/web-0:8080/proxy/metrics"] = "a +Inf\nb 2\nc 1\n"
	delete(reader, "/api/v1/namespaces/shop/pods/web-39:8080/proxy/metrics")
	report, failed := ReadWorkload(t.Context(), reader, pods)
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "pod web-39: ") {
		t.Errorf("errors %v, want that of the oldest pod", failed)
	}
	report.Workload, report.Pods = "deployment/web", len(pods)
	if want := "9 of the 40 ready pods of deployment/web: SERIES and VALUE are sums over these 9"; report.describePages() != want {
		t.Errorf("%s, want %s", report.describePages(), want)
	}
	var rows []string
	for _, f := range report.Families {
		rows = append(rows, fmt.Sprint(f.Name, " ", report.formatFamilyPods(f.Pods), " ", f.Series, " ", formatFamilyValue(f.Value)))
	}
	if diff := cmp.Diff([]string{"a 9/9 9 <none>", "b 1/9 1 2", "c 1/9 1 1"}, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
