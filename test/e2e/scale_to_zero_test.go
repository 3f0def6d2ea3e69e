package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The parts of TestScaleToZero.
const (
	documentedDir = "test/e2e/manifests/scale-to-zero"
	// laneStepBound is the longest time from a step until the lane has raised, on a busy machine. The HPA needs two periods for such a step, and
	// in this test it adds one pod.
	laneStepBound = 20 * time.Second
	// hpaPeriods are two periods of the HPA controller.
	hpaPeriods = 32 * time.Second
)

// whenNoPodsRule is a rule for the requests of a Deployment's own pods, with a value for a Deployment that has none.
func whenNoPodsRule(value int) string {
	return fmt.Sprintf("- metric: own_requests\n  resource: deployments.apps\n  query: sum by (namespace, pod) (rate(http_requests_total[20s]))\n  whenNoPods: {value: %d}\n", value)
}

// serviceRule is a rule for the requests of the pods behind the sample's Service.
const serviceRule = "- metric: sample_requests\n  external: true\n  targets: {service: " + stack.SampleNamespace + "/sample, port: 8080}\n" +
	"  query: sum(rate(http_requests_total[$window]))\n  window: auto\n"

// zeroWorld has the parts of TestScaleToZero.
type zeroWorld struct {
	queue    queuePage
	doomed   queuePage // of a rule with a fallback
	rules    []string  // without that of whenNoPods
	original string    // configuration
	load     *sending
}

// TestScaleToZero: plain HPAs go to zero and wake: Kubernetes' own example, a fallback, an object without pods, a Service. A person's zero stays.
// Meanwhile, as the example takes five minutes to zero, the surge lane first observes a step of the sample, and then acts.
func TestScaleToZero(t *testing.T) {
	needNode(t)
	needScaleToZero(t)
	light(t)
	w := newZeroWorld(t)
	for _, name := range []string{"sleepers", "fallback", "own", "followers"} {
		awaitWorkers(t, name, 0)
	}
	w.load = send(t, beforeSurge)
	w.expectFallback(t)
	w.expectWhenNoPods(t)
	awaitWorkers(t, "followers", 1)
	settleBeforeSurge(t, w.load, true)
	w.expectObservedSurge(t)
	w.expectSurgeLane(t)
	w.expectDocumentedExample(t)
	stayStopped(t, "paused")
	stayStopped(t, "sleepers")
}

// newZeroWorld gives the adapter the rules, and creates the workers and the lane, which observes.
func newZeroWorld(t *testing.T) *zeroWorld {
	t.Helper()
	w := &zeroWorld{queue: serveQueue(t), doomed: serveQueue(t), original: configuration(t)}
	w.rules = []string{
		w.queue.formatRule("queue_messages_ready", messagesQuery, ""),
		w.queue.formatRule("queue_consumer_lag", "sum by (name) (queue_consumer_lag)", ""),
		w.doomed.formatRule("doomed_messages", messagesQuery, "  fallback: {after: 10s, value: 60}\n"),
		serviceRule,
	}
	addRules(t, append(w.rules, whenNoPodsRule(0))...)
	reshapeForSurge(t)
	annotateForSurge(t, true)
	installSurgeLane(t, surge.ModeObserve)
	if err := s.Apply(t.Context(), documentedDir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeWorkers(t, "queue-worker") })
	inLane := map[string]string{surge.Annotation: ""}
	for _, of := range []workers{
		{name: "sleepers", replicas: 1, metric: queueMetric(5), annotations: inLane},
		{name: "paused", replicas: 0, metric: queueMetric(5), annotations: inLane},
		{name: "fallback", replicas: 1, metric: externalMetric("doomed_messages", map[string]string{"queue": "worker_tasks"}, 30)},
		{name: "followers", replicas: 1, maxReplicas: 1, metric: externalMetric("sample_requests", nil, 20)},
		{name: "own", replicas: 1, metric: ownRequests("own")},
	} {
		newWorkers(t, of)
	}
	return w
}

// ownRequests is the metric of a Deployment's own requests.
func ownRequests(deployment string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment},
		Metric:          autoscalingv2.MetricIdentifier{Name: "own_requests"},
		Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(20, resource.DecimalSI)},
	}}
}

// expectFallback ends the page of a queue whose workers are at zero: they wake.
func (w *zeroWorld) expectFallback(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := w.doomed.server.Close(); err != nil {
		t.Fatal(err)
	}
	awaitWorkers(t, "fallback", 2)
	t.Logf("workers are asked for %.1f s after the queue's page was gone", time.Since(began).Seconds())
}

// expectWhenNoPods: at zero the HPA has the rule's value of an object without pods, and not an error.
func (w *zeroWorld) expectWhenNoPods(t *testing.T) {
	t.Helper()
	err := stack.Wait(t.Context(), hpaPeriods, func(ctx context.Context) error {
		h, err := hpa(ctx, "own")
		if err != nil {
			return err
		}
		if active, zero := condition(h, autoscalingv2.ScalingActive), condition(h, autoscalingv2.ScaledToZero); active.Status != "True" || zero.Status != "True" {
			return fmt.Errorf("ScalingActive is %s (%s), ScaledToZero %s", active.Status, active.Message, zero.Status)
		}
		data, err := s.Get(ctx, stack.CustomMetrics+"/namespaces/"+stack.SampleNamespace+"/deployments.apps/own/own_requests")
		if err != nil {
			return err
		}
		var list custom.MetricValueList
		if err := json.Unmarshal(data, &list); err != nil || len(list.Items) != 1 || !list.Items[0].Value.IsZero() {
			return fmt.Errorf("the value without pods is %s (%w), want 0", data, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// expectWakeWithoutPods: another value of an object without pods wakes its workers.
func (w *zeroWorld) expectWakeWithoutPods(t *testing.T) {
	t.Helper()
	often := strings.Replace(w.original, "interval: 2s", "interval: 1s", 1) + strings.Join(w.rules, "")
	configure(t.Context(), t, often+whenNoPodsRule(40))
	awaitWorkers(t, "own", 1)
	configure(t.Context(), t, often+whenNoPodsRule(0)) // else they come and go
}

// expectObservedSurge steps the load: the lane tells what it would do, and by how many seconds the HPA is later. It changes nothing.
func (w *zeroWorld) expectObservedSurge(t *testing.T) {
	t.Helper()
	w.load.rate.Store(duringSurge)
	began := time.Now()
	if told := awaitSurgeEvent(t, "sample", surge.ReasonObserved); !strings.Contains(told, "would raise to") {
		t.Errorf("Event %q", told)
	}
	t.Logf("the lane tells the raise %.1f s after the step", time.Since(began).Seconds())
	told := awaitSurgeEvent(t, "sample", surge.ReasonFollowed)
	followed := time.Since(began).Seconds()
	t.Logf("the HPA comes to the pods %.1f s after the step: %s", followed, told)
	var replicas, raised int
	var lead float64
	if _, err := fmt.Sscanf(told, "%d replicas %f s after the lane would have raised to %d", &replicas, &lead, &raised); err != nil || lead <= 0 || lead > followed || replicas < raised || raised < surgeEnough {
		t.Errorf("Event %q %.1f s after the step (%v)", told, followed, err)
	}
	expectSurgeCounts(t, lead)
	if out, code := newScaler(t).run(t, "status"); code != 0 || !strings.Contains(out, "hpa/sample") || !strings.Contains(out, told) {
		t.Errorf("status has exit code %d, and no %q:\n%s", code, told, out)
	}
	if now, err := sampleStands(t.Context()); err != nil || now.Notes != "" || now.MinReplicas != 2 {
		t.Errorf("the lane observes, and changed %+v (%v)", now, err)
	}
	if raised := countSurgeEvents(t.Context(), t, surge.ReasonRaised); raised > 0 {
		t.Errorf("%d Events %s", raised, surge.ReasonRaised)
	}
}

// expectSurgeCounts expects the raises of the mode observe, and their leads, in the self-metrics as in the Events.
func expectSurgeCounts(t *testing.T, lead float64) {
	t.Helper()
	var raises, leads, leadSeconds, looks float64
	for _, page := range readScalerPages(t) {
		raises += page.Sum("tachometer_scaler_surge_raises_total", "mode", string(surge.ModeObserve))
		looks += page.Sum("tachometer_scaler_surge_looks_total", "outcome", "success")
		for _, m := range page["tachometer_scaler_surge_lead_seconds"].GetMetric() {
			leads += float64(m.GetHistogram().GetSampleCount())
			leadSeconds += m.GetHistogram().GetSampleSum()
		}
	}
	observed, followed := float64(countSurgeEvents(t.Context(), t, surge.ReasonObserved)), float64(countSurgeEvents(t.Context(), t, surge.ReasonFollowed))
	if raises != observed || leads != followed || leadSeconds < lead-0.1 || looks == 0 {
		t.Errorf("self-metrics: %g raises, %g leads of %g s, %g looks; want %g raises, %g leads, one of them of %g s", raises, leads, leadSeconds, looks, observed, followed, lead)
	}
}

// expectSurgeLane lets the lane act: it asks for the first worker and for the pods of a step, which the HPA does not. A person's zero stays.
func (w *zeroWorld) expectSurgeLane(t *testing.T) {
	t.Helper()
	w.load.rate.Store(beforeSurge)
	setSurgeMode(t, "test/e2e/manifests/surge")
	w.expectWakeWithoutPods(t)
	settleBeforeSurge(t, w.load, true)
	limitScaleUp(t)
	idle := startLookTimer(t)
	waitForSurge(t, 5*time.Second)
	wakeWorkers(t, "sleepers", w.queue, 2*idle()) // others are in the lane too
	awaitSurgeEvent(t, "sleepers", surge.ReasonRaised)
	w.load.rate.Store(duringSurge)
	m := watchSurge(t)
	t.Logf("with the lane: %d pods wanted after %.1f s, ready after %.1f s; wanted:%s", surgeEnough, m.wanted, m.ready, m.path)
	awaitSurgeEvent(t, "sample", surge.ReasonRaised)
	if m.wanted > laneStepBound.Seconds() {
		t.Errorf("%d pods wanted after %.1f s, want at most %s", surgeEnough, m.wanted, laneStepBound)
	}
	awaitWorkers(t, "sleepers", 8)
	awaitOwnScaling(t, "sleepers")
	stopWorkers(t, "sleepers")
	waitForSurge(t, hpaPeriods)
	stayStopped(t, "sleepers")
	stayStopped(t, "paused")
}

// awaitOwnScaling waits until an HPA has seen the wake by the lane: until then a person's zero looks like its own.
func awaitOwnScaling(t *testing.T, name string) {
	t.Helper()
	err := stack.Wait(t.Context(), hpaPeriods, func(ctx context.Context) error {
		h, err := hpa(ctx, name)
		if err == nil && condition(h, autoscalingv2.ScaledToZero).Status == corev1.ConditionTrue {
			err = fmt.Errorf("the HPA of %s has not seen the wake", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// setSurgeMode applies the scaler's configuration of a folder, and waits until the lane begins anew with it.
func setSurgeMode(t *testing.T, dir string) {
	t.Helper()
	before := countSurgeLooks(t)
	if err := s.Apply(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprintf("test/nudge=%d", time.Now().UnixNano())
	if _, err := s.Kubectl(t.Context(), "-n", stack.AdapterNamespace, "annotate", "--overwrite", "pods", "-l", "app.kubernetes.io/name=tachometer-scaler", stamp); err != nil {
		t.Fatal(err)
	}
	err := stack.Wait(t.Context(), time.Minute, func(context.Context) error {
		if looks := countSurgeLooks(t); looks >= before {
			return fmt.Errorf("%g looks: the lane has its configuration of before", looks)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// expectDocumentedExample: the workers of Kubernetes' example come to zero after its five minutes, and back for the first message.
func (w *zeroWorld) expectDocumentedExample(t *testing.T) {
	t.Helper()
	awaitWorkersFor(t, "queue-worker", 0, 6*time.Minute)
	w.queue.lag.Store(1)
	began := time.Now()
	awaitWorkers(t, "queue-worker", 1)
	t.Logf("the example: the first worker is asked for %.1f s after the first message", time.Since(began).Seconds())
}

// awaitSurgeEvent waits for an Event of the lane about an HPA, and returns its message.
func awaitSurgeEvent(t *testing.T, name, reason string) (message string) {
	t.Helper()
	err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error {
		list, err := s.Client.CoreV1().Events(stack.SampleNamespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason + ",involvedObject.name=" + name})
		if err != nil {
			return err
		}
		newest := corev1.Event{}
		for i := range list.Items {
			if e := list.Items[i]; e.LastTimestamp.After(newest.LastTimestamp.Time) {
				newest = e
			}
		}
		if message = newest.Message; message == "" {
			return fmt.Errorf("no Event %s about %s", reason, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return message
}
