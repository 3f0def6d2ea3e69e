package e2e

import (
	"bytes"
	"fmt"
	"testing"
	"time"

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
	installSurgeLane(t, surge.ModeAct)
	queue := serveQueue(t)
	addRules(t, queue.formatRule("queue_messages_ready", messagesQuery, ""))
	newWorkers(t, workers{name: "workers", replicas: 1, metric: queueMetric(5), annotations: map[string]string{surge.Annotation: ""}})
	for range min(*surgeSteps, keptSurges) {
		awaitWorkers(t, "workers", 0)
		idle := startLookTimer(t)
		waitForSurge(t, 70*time.Second) // good answers for a minute, at any time of the HPA's period
		began := wakeWorkers(t, "workers", queue, idle())
		awaitWorkers(t, "workers", 8)
		t.Logf("the eighth pod was asked for %.1f s after the first item", time.Since(began).Seconds())
		queue.messages.Store(0)
	}
	awaitWorkers(t, "workers", 0)
	queue.messages.Store(40)
	awaitWorkers(t, "workers", 8)
	stopWorkers(t, "workers")
	waitForSurge(t, 40*time.Second) // two periods of the HPA controller
	stayStopped(t, "workers")
}

// wakeWorkers puts messages into the queue, and expects the first pod to be asked for in time. It returns the time of the first message. period is
// the time of a look of the lane before.
func wakeWorkers(t *testing.T, name string, queue queuePage, period time.Duration) (began time.Time) {
	t.Helper()
	queue.messages.Store(40)
	began, waking := time.Now(), startLookTimer(t)
	awaitWorkers(t, name, 1)
	first := time.Since(began)
	bound := max(surgeWakeBound, surgeWakeLooks*max(period, waking()))
	t.Logf("the first pod was asked for after %.1f s, want %.1f s; the lane looks each %.2f s", first.Seconds(), bound.Seconds(), period.Seconds())
	if first > bound {
		t.Error("the first pod was asked for too late")
	}
	return began
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
	for _, page := range readScalerPages(t) {
		looks += page.Sum("tachometer_scaler_surge_looks_total")
	}
	return looks
}

// readScalerPages returns the self-metrics of all pods of the scaler.
func readScalerPages(t *testing.T) (pages []metricspage.Page) {
	t.Helper()
	pods, err := s.Client.CoreV1().Pods(stack.AdapterNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-scaler"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		text, err := s.Get(t.Context(), fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8080/proxy/metrics", stack.AdapterNamespace, pods.Items[i].Name))
		if err != nil {
			t.Fatal(err)
		}
		page, err := metricspage.Parse(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}
	return pages
}
