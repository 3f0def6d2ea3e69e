package integration

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestZero: a plain HPA on a queue's length scales its workers to zero, wakes them for messages, and wakes them when the queue can no
// longer be asked. Workers that a person has stopped, under an HPA that may not go to zero, stay stopped.
func TestZero(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	queue := newQueue(t, namespace, map[string]string{"prometheus.io/scrape": "true"})
	newWorkers(t, namespace, "workers", externalMessages("queue_messages"), 0)
	newWorkers(t, namespace, "stopped", externalMessages("queue_messages"), 1)

	awaitWorkers(t, namespace, "workers", 0)
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "stopped", Namespace: namespace}}
	if _, err := client.AppsV1().Deployments(namespace).UpdateScale(t.Context(), "stopped", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	queue.messages.Store(12) // 5 a worker
	awaitWorkers(t, namespace, "workers", 3)
	queue.messages.Store(0)
	awaitWorkers(t, namespace, "workers", 0)
	queue.page.close()
	awaitWorkers(t, namespace, "workers", 2) // for the 8 messages of the rule's fallback
	awaitWorkers(t, namespace, "stopped", 0)
}

// queueNamespace is the namespace of the queue that the adapter's configuration names as a Service.
const queueNamespace = "queues"

// TestZeroByService: the same with a queue in another namespace that the rule names as a Service, and whose pod has no annotation. While the
// Service is not there, the metric is an error and then its fallback; the queue's death wakes the workers. Consumers with a metric of their
// Service, which has no pods at zero, do the same.
func TestZeroByService(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkers(t, namespace, "workers", externalMessages("queue_messages_by_service"), 0)
	newWorkers(t, namespace, "consumers", messagesOfService("consumers"), 0)
	await := func(want int32) {
		t.Helper()
		awaitWorkers(t, namespace, "workers", want)
		awaitWorkers(t, namespace, "consumers", want)
	}
	await(2) // for the 8 messages of the rules' fallback

	_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: queueNamespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	queue := newQueue(t, queueNamespace, nil)
	queue.labels.Store(fmt.Sprintf(`{consumer="consumers",namespace=%q}`, namespace))
	_, err = client.CoreV1().Services(queueNamespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "queue"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "queue"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(0)
	queue.messages.Store(12) // 5 a worker
	await(3)
	queue.messages.Store(0)
	await(0)
	queue.page.close()
	await(2)
}

// queue is the page of a queue.
type queue struct {
	messages atomic.Int64
	labels   atomic.Value // text, of the series
	page     *page
}

func newQueue(t *testing.T, namespace string, annotations map[string]string) *queue {
	t.Helper()
	q := &queue{}
	q.labels.Store("")
	began := time.Now()
	var err error
	q.page, err = serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE queue_messages gauge\nqueue_messages%s %d\n", q.labels.Load(), q.messages.Load())
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.page.close)
	pod, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "queue", Annotations: annotations, Labels: map[string]string{"app": "queue"}},
		Spec:       podSpec(),
	}, metav1.CreateOptions{})
	if err == nil {
		err = markRunning(t.Context(), pod, q.page.ip, began)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// messagesTarget is the number of messages a worker.
func messagesTarget() autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(5, resource.DecimalSI)}
}

// externalMessages is a queue's length as an external metric.
func externalMessages(metric string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: metric}, Target: messagesTarget(),
	}}
}

// messagesOfService is a queue's length as a metric of the Service of its consumers.
func messagesOfService(service string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: service},
		Metric:          autoscalingv2.MetricIdentifier{Name: "messages_of_service"}, Target: messagesTarget(),
	}}
}

// newWorkers creates a Deployment with a replica, and an HPA on a queue's length.
func newWorkers(t *testing.T, namespace, name string, metric autoscalingv2.MetricSpec, minReplicas int32) {
	t.Helper()
	newDeployment(t, namespace, name, 1, corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "none"}}})
	createAutoscaler(t, namespace, name, autoscalingv2.HorizontalPodAutoscalerSpec{
		MinReplicas: &minReplicas, MaxReplicas: 10,
		Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{
			ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))},
		},
		Metrics: []autoscalingv2.MetricSpec{metric},
	})
}

// awaitWorkers waits until a Deployment is asked for that many replicas.
func awaitWorkers(t *testing.T, namespace, name string, want int32) {
	t.Helper()
	eventually(t, 40*time.Second, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if *d.Spec.Replicas != want {
			return fmt.Errorf("%s has %d replicas, want %d", name, *d.Spec.Replicas, want)
		}
		return nil
	})
}
