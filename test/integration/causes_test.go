package integration

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// TestIncompleteSum: the sum over a Service's pods is an error with its cause while one of them does not answer, and never the sum of the others.
func TestIncompleteSum(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	_, err := client.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	steady, other, silent := newCounter(1200), newCounter(800), atomic.Bool{}
	newPod(t, namespace, "steady", map[string]string{"app": "web"}, steady)
	newPod(t, namespace, "other", map[string]string{"app": "web"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			<-r.Context().Done()
			return
		}
		other.ServeHTTP(w, r)
	}))
	path, whole := stack.CustomMetrics+"/namespaces/"+namespace+"/services/web/"+requests, map[string]float64{"web": 2000}
	eventually(t, 60*time.Second, func(ctx context.Context) error { return reach(ctx, t, path, whole) })
	silent.Store(true)
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		err := reach(ctx, t, path, whole) // an answer is the whole sum
		return rejected(err, http.StatusServiceUnavailable, "a sum over 2 pods needs them all: 1 scrape failed (")
	})
}

// TestOldValue: a value older than maxAge, by the page's own timestamp, is an error with its cause.
func TestOldValue(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	page := func(age time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "# TYPE depth gauge\ndepth 5 %d\n", time.Now().Add(-age).UnixMilli())
		}
	}
	newPod(t, namespace, "fresh", map[string]string{"age": "fresh"}, page(0))
	newPod(t, namespace, "old", map[string]string{"age": "old"}, page(time.Minute))
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		return reach(ctx, t, podsPath(namespace, "depth", "", ""), map[string]float64{"fresh": 5})
	})
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		_, err := admin.values(ctx, podsPath(namespace, "depth", "age=old", ""))
		return rejected(err, http.StatusServiceUnavailable, "1 pod: 1 stale (")
	})
}
