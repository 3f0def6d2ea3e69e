package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/test/harness/metricspage"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The bound of a wake: two seconds, and on a machine that is too busy for a look each half second as many looks.
const (
	surgeWakeBound = 2 * time.Second
	surgeWakeLooks = 4
)

// TestSurgeFromZero: workers at zero under a plain HPA on a queue, with the lane, have their first pod asked for as soon as the page shows
// an item. The HPA takes them back to zero; a person's zero stays.
func TestSurgeFromZero(t *testing.T) {
	needSurge(t)
	needScaleToZero(t)
	light(t)
	installSurgeLane(t)
	messages := serveQueue(t, "").messages
	newQueueWorkers(t, 5, map[string]string{surge.Annotation: ""})
	for range min(*surgeSteps, keptSurges) {
		awaitQueueWorkers(t, 0)
		idle := startLookTimer(t)
		waitForSurge(t, 70*time.Second) // good answers for a minute, at any time of the HPA's period
		period := idle()
		messages.Store(40)
		began, waking := time.Now(), startLookTimer(t)
		awaitQueueWorkers(t, 1)
		first := time.Since(began)
		bound := max(surgeWakeBound, surgeWakeLooks*max(period, waking()))
		t.Logf("the first pod was asked for after %.1f s, want %.1f s; the lane looks each %.2f s", first.Seconds(), bound.Seconds(), period.Seconds())
		if first > bound {
			t.Error("the first pod was asked for too late")
		}
		awaitQueueWorkers(t, 8)
		t.Logf("the eighth pod was asked for %.1f s after the first item", time.Since(began).Seconds())
		messages.Store(0)
	}
	awaitQueueWorkers(t, 0)
	messages.Store(40)
	awaitQueueWorkers(t, 8)
	stopQueueWorkers(t)
	waitForSurge(t, 40*time.Second) // two periods of the HPA controller
	if n, err := countQueueWorkers(t.Context()); err != nil || n != 0 {
		t.Errorf("a person's zero: %d workers, %v; want 0", n, err)
	}
}

// startLookTimer returns a function that returns the time of a look of the lane since the start.
func startLookTimer(t *testing.T) (period func() time.Duration) {
	t.Helper()
	began, before := time.Now(), countSurgeLooks(t)
	return func() time.Duration {
		return time.Duration(float64(time.Since(began)) / max(1, countSurgeLooks(t)-before))
	}
}

// countSurgeLooks returns the looks of the lane in all pods of the scaler.
func countSurgeLooks(t *testing.T) (looks float64) {
	t.Helper()
	pods, err := s.Client.CoreV1().Pods(stack.AdapterNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-scaler"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		page, err := s.Get(t.Context(), fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8080/proxy/metrics", stack.AdapterNamespace, pods.Items[i].Name))
		if err != nil {
			t.Fatal(err)
		}
		metrics, err := metricspage.Parse(bytes.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		looks += metrics.Sum("tachometer_scaler_surge_looks_total")
	}
	return looks
}

// needScaleToZero skips the test on a Kubernetes whose HPAs do not go to zero.
func needScaleToZero(t *testing.T) {
	t.Helper()
	if v, err := s.Client.Discovery().ServerVersion(); err != nil {
		t.Fatal(err)
	} else if minor, err := strconv.Atoi(v.Minor); err != nil || minor < 37 {
		t.Skipf("SKIPPED: needs Kubernetes 1.37, where HPAs go to zero; this is %s", v.GitVersion)
	}
}

// TestScaleToZero: an HPA with the external metric of Kubernetes' own example takes workers to zero and back, and wakes them when the
// queue's page is gone while they are at zero. No surge lane is there.
func TestScaleToZero(t *testing.T) {
	needNode(t)
	needScaleToZero(t)
	queue := serveQueue(t, "  fallback: {after: 10s, value: 60}\n")
	newQueueWorkers(t, 30, nil)
	awaitQueueWorkers(t, 0)
	began := time.Now()
	queue.messages.Store(1)
	awaitQueueWorkers(t, 1)
	t.Logf("the first worker is asked for %.1f s after the first message", time.Since(began).Seconds())
	queue.messages.Store(0)
	awaitQueueWorkers(t, 0)
	began = time.Now()
	if err := queue.server.Close(); err != nil {
		t.Fatal(err)
	}
	awaitQueueWorkers(t, 2)
	t.Logf("workers are asked for %.1f s after the queue's page was gone", time.Since(began).Seconds())
}

// queuePage is the page of a queue.
type queuePage struct {
	messages *atomic.Int64
	server   *http.Server
}

// serveQueue serves the page of a queue, and gives the adapter a rule for it with further keys, until the test ends.
func serveQueue(t *testing.T, keys string) queuePage {
	t.Helper()
	var messages atomic.Int64
	listener, err := net.Listen("tcp", net.JoinHostPort(s.Cluster.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE queue_messages_ready gauge\nqueue_messages_ready{queue=\"worker_tasks\"} %d\n", messages.Load())
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	original := configuration(t)
	t.Cleanup(func() { configure(context.Background(), t, original) })
	often := strings.Replace(original, "interval: 2s", "interval: 1s", 1) // the wake is no sooner than the scrape
	configure(t.Context(), t, fmt.Sprintf("%s- metric: queue_messages_ready\n  external: true\n  targets: {addresses: [\"http://%s/metrics\"]}\n  query: sum by (queue) (queue_messages_ready)\n%s",
		often, listener.Addr(), keys))
	return queuePage{&messages, server}
}

// newQueueWorkers creates the Deployment workers, and an HPA with that many messages a worker that may go to zero.
func newQueueWorkers(t *testing.T, messages int64, annotations map[string]string) {
	t.Helper()
	ctx, labels := t.Context(), map[string]string{"app": "workers"}
	meta := metav1.ObjectMeta{Name: "workers", Namespace: stack.SampleNamespace, Annotations: annotations}
	_, err := s.Client.AppsV1().Deployments(meta.Namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "worker", Image: stack.SampleImage, ImagePullPolicy: corev1.PullNever}},
		}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, err := s.Kubectl(context.Background(), "-n", meta.Namespace, "get", "hpa/workers", "deploy/workers", "-o", "yaml", "--show-managed-fields")
			t.Logf("%s (%v)", out, err)
		}
		if _, err := s.Kubectl(context.Background(), "-n", meta.Namespace, "delete", "hpa/workers", "deploy/workers"); err != nil {
			t.Error(err)
		}
	})
	_, err = s.Client.AutoscalingV2().HorizontalPodAutoscalers(meta.Namespace).Create(ctx, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: meta,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: meta.Name},
			MinReplicas:    new(int32(0)), MaxReplicas: 10,
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}},
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{
					Name: "queue_messages_ready", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"queue": "worker_tasks"}},
				},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(messages, resource.DecimalSI)},
			}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// countQueueWorkers returns the workers that are asked for.
func countQueueWorkers(ctx context.Context) (int32, error) {
	d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "workers", metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return *d.Spec.Replicas, nil
}

// awaitQueueWorkers waits until that many workers are asked for, or more if there shall be any.
func awaitQueueWorkers(t *testing.T, want int32) {
	t.Helper()
	err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error {
		n, err := countQueueWorkers(ctx)
		if err == nil && (n < want || want == 0 && n > 0) {
			err = fmt.Errorf("%d workers are asked for, want %d", n, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stopQueueWorkers sets the replicas to 0, as a person does.
func stopQueueWorkers(t *testing.T) {
	t.Helper()
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "workers", Namespace: stack.SampleNamespace}}
	if _, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).UpdateScale(t.Context(), "workers", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitForSurge waits for a time, unless the test ends.
func waitForSurge(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}
