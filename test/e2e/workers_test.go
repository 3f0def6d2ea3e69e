package e2e

import (
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

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// needScaleToZero skips the test on a Kubernetes whose HPAs do not go to zero.
func needScaleToZero(t *testing.T) {
	t.Helper()
	if !scalesToZero(t) {
		t.Skip("SKIPPED: needs Kubernetes 1.37, where HPAs go to zero")
	}
}

// scalesToZero reports whether the HPAs of this Kubernetes go to zero.
func scalesToZero(t *testing.T) bool {
	t.Helper()
	v, err := s.Client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	minor, err := strconv.Atoi(v.Minor)
	return err == nil && minor >= 37
}

// queuePage is the page of a queue, on this machine.
type queuePage struct {
	messages *atomic.Int64 // of queue_messages_ready{queue="worker_tasks"}
	lag      *atomic.Int64 // of queue_consumer_lag{name="worker_tasks"}
	server   *http.Server
	url      string
}

// serveQueue serves the page of a queue until the test ends.
func serveQueue(t *testing.T) queuePage {
	t.Helper()
	var messages, lag atomic.Int64
	listener, err := net.Listen("tcp", net.JoinHostPort(s.Cluster.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE queue_messages_ready gauge\nqueue_messages_ready{queue=\"worker_tasks\"} %d\n", messages.Load())
		fmt.Fprintf(w, "# TYPE queue_consumer_lag gauge\nqueue_consumer_lag{name=\"worker_tasks\"} %d\n", lag.Load())
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return queuePage{&messages, &lag, server, fmt.Sprintf("http://%s/metrics", listener.Addr())}
}

// formatRule returns the rule of an external metric on the page, with further keys.
func (p queuePage) formatRule(metric, query, keys string) string {
	return fmt.Sprintf("- metric: %s\n  external: true\n  targets: {addresses: [%q]}\n  query: %s\n%s", metric, p.url, query, keys)
}

const messagesQuery = "sum by (queue) (queue_messages_ready)"

// addRules gives the adapter further rules and a scrape interval of a second, until the test ends: a wake is no sooner than the scrape.
func addRules(t *testing.T, rules ...string) {
	t.Helper()
	original := configuration(t)
	t.Cleanup(func() { configure(context.Background(), t, original) })
	configure(t.Context(), t, strings.Replace(original, "interval: 2s", "interval: 1s", 1)+strings.Join(rules, ""))
}

// workers are a Deployment of the sample, and an HPA of the same name that may take it to zero, and is quick to do so.
type workers struct {
	name        string
	replicas    int32 // at first
	maxReplicas int32 // 0: 10
	annotations map[string]string
	metric      autoscalingv2.MetricSpec
}

// externalMetric returns an external metric with a target for each pod.
func externalMetric(name string, selector map[string]string, target int64) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name, Selector: &metav1.LabelSelector{MatchLabels: selector}},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(target, resource.DecimalSI)},
	}}
}

// queueMetric returns the metric of a queue's messages, with a number of messages for each worker.
func queueMetric(messages int64) autoscalingv2.MetricSpec {
	return externalMetric("queue_messages_ready", map[string]string{"queue": "worker_tasks"}, messages)
}

// newWorkers creates workers, until the test ends.
func newWorkers(t *testing.T, w workers) {
	t.Helper()
	if w.maxReplicas == 0 {
		w.maxReplicas = 10
	}
	ctx, labels := t.Context(), map[string]string{"app": w.name}
	meta := metav1.ObjectMeta{Name: w.name, Namespace: stack.SampleNamespace, Annotations: w.annotations}
	_, err := s.Client.AppsV1().Deployments(meta.Namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: &w.replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers: []corev1.Container{{
				Name: "worker", Image: stack.SampleImage, ImagePullPolicy: corev1.PullNever,
				Env: []corev1.EnvVar{{Name: "START_JITTER", Value: "0s"}}, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			}},
		}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeWorkers(t, w.name) })
	_, err = s.Client.AutoscalingV2().HorizontalPodAutoscalers(meta.Namespace).Create(ctx, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: meta,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: meta.Name},
			MinReplicas:    new(int32(0)), MaxReplicas: w.maxReplicas, Metrics: []autoscalingv2.MetricSpec{w.metric},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// removeWorkers deletes workers, and shows them if the test failed.
func removeWorkers(t *testing.T, name string) {
	t.Helper()
	if t.Failed() {
		out, err := s.Kubectl(context.Background(), "-n", stack.SampleNamespace, "get", "hpa/"+name, "deploy/"+name, "-o", "yaml", "--show-managed-fields")
		t.Logf("%s (%v)", out, err)
	}
	if _, err := s.Kubectl(context.Background(), "-n", stack.SampleNamespace, "delete", "hpa/"+name, "deploy/"+name); err != nil {
		t.Error(err)
	}
}

// countWorkers returns the workers that are asked for.
func countWorkers(ctx context.Context, name string) (int32, error) {
	d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return *d.Spec.Replicas, nil
}

// awaitWorkers waits until that many workers are asked for, or more if there shall be any.
func awaitWorkers(t *testing.T, name string, want int32) {
	t.Helper()
	awaitWorkersFor(t, name, want, surgeWait)
}

// awaitWorkersFor is awaitWorkers with the longest wait.
func awaitWorkersFor(t *testing.T, name string, want int32, atMost time.Duration) {
	t.Helper()
	err := stack.Wait(t.Context(), atMost, func(ctx context.Context) error {
		n, err := countWorkers(ctx, name)
		if err == nil && (n < want || want == 0 && n > 0) {
			err = fmt.Errorf("%d of %s are asked for, want %d", n, name, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stopWorkers sets the replicas to 0, as a person does.
func stopWorkers(t *testing.T, name string) {
	t.Helper()
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: stack.SampleNamespace}}
	if _, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).UpdateScale(t.Context(), name, scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// stayStopped expects that workers which a person stopped are still at zero.
func stayStopped(t *testing.T, name string) {
	t.Helper()
	if n, err := countWorkers(t.Context(), name); err != nil || n != 0 {
		t.Errorf("a person's zero: %d of %s, %v; want 0", n, name, err)
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
