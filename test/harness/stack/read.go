package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// CustomMetrics is the path of the API that the HPA reads.
const CustomMetrics = "/apis/custom.metrics.k8s.io/v1beta2"

// Get returns the API server's response to a path, which may have a query, like `kubectl get --raw`.
func (s *Stack) Get(ctx context.Context, path string) ([]byte, error) {
	result := s.Client.Discovery().RESTClient().Get().RequestURI(path).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err // unlike Raw's error, it has the server's message
	}
	return result.Raw()
}

// Custom reads a path of custom.metrics.k8s.io and parses the response.
func (s *Stack) Custom(ctx context.Context, path string) ([]custom.MetricValue, error) {
	data, err := s.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	var list custom.MetricValueList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parse the answer of %s: %w", path, err)
	}
	return list.Items, nil
}

// PodsMetric returns the path of a metric on the sample's pods.
func PodsMetric(metric string) string {
	return fmt.Sprintf("%s/namespaces/%s/pods/*/%s?labelSelector=app.kubernetes.io%%2Fname%%3Dsample", CustomMetrics, SampleNamespace, metric)
}

// ReadyPods returns the sample's pods that are ready and not terminating.
func (s *Stack) ReadyPods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := s.Client.CoreV1().Pods(SampleNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=sample"})
	if err != nil {
		return nil, fmt.Errorf("list the sample's pods: %w", err)
	}
	var ready []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && isStackPodReady(&pod) {
			ready = append(ready, pod)
		}
	}
	return ready, nil
}

func isStackPodReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Reason returns the API server's message in err, without the client's words around it.
func Reason(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

// Wait polls done until it returns nil. At the timeout it returns the last error from before the timeout.
func Wait(ctx context.Context, atMost time.Duration, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // an error caused by the timeout hides the cause
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", atMost, last)
		case <-tick.C:
		}
	}
}
