package integration

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// perPod is the tested HPA's target for one pod, in requests per second.
const perPod = 2000

// TestHPA: the real HPA controller follows a load up and down, and holds without its metric.
func TestHPA(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	k := newKubelet(t, namespace)
	k.load.Store(3000)
	newScaled(t, namespace)
	history := watchWishes(t, namespace)
	for _, load := range []int64{3000, 9500, 5500} {
		k.load.Store(load)
		if err := followed(t, k, load); err != nil {
			t.Fatalf("%d requests/s: %v", load, err)
		}
	}

	patch := `[{"op":"replace","path":"/spec/metrics/0/pods/metric/name","value":"never_seen_per_second"}]`
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if _, err := hpas.Patch(t.Context(), "web", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	k.load.Store(19_000) // a load that would need all ten
	eventually(t, 30*time.Second, func(ctx context.Context) error { return failing(ctx, namespace) })
	scaled, err := client.AppsV1().Deployments(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if *scaled.Spec.Replicas != 3 || k.running() != 3 {
		t.Errorf("without the metric the HPA went from 3 to %d replicas", *scaled.Spec.Replicas)
	}
	patch = fmt.Sprintf(`[{"op":"replace","path":"/spec/metrics/0/pods/metric/name","value":%q}]`, requests)
	if _, err := hpas.Patch(t.Context(), "web", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(ctx context.Context) error { return toldMetric(ctx, namespace) })
	checkDecisions(t, namespace, history)
}

// followed waits until the HPA has as many pods as the formula says, ceil(load / perPod), and has read each pod's share. On the way,
// the HPA must not exceed that number.
func followed(t *testing.T, k *kubelet, load int64) error {
	t.Helper()
	want := int32(math.Ceil(float64(load) / perPod))
	from := int32(k.running())
	return poll(t.Context(), 40*time.Second, func(ctx context.Context) error {
		h, err := client.AutoscalingV2().HorizontalPodAutoscalers(k.namespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		desired := h.Status.DesiredReplicas
		if from >= 2 && desired != 0 && (desired > max(from, want) || desired < min(from, want)) {
			t.Errorf("%d requests/s: from %d to %d pods by way of %d", load, from, want, desired)
		}
		if desired != want || h.Status.CurrentReplicas != want || k.running() != int(want) {
			return fmt.Errorf("the HPA has %d pods and asks for %d, want %d: %s", h.Status.CurrentReplicas, desired, want, conditions(h))
		}
		if len(h.Status.CurrentMetrics) != 1 || h.Status.CurrentMetrics[0].Pods == nil {
			return fmt.Errorf("the HPA has read nothing: %s", conditions(h))
		}
		read := h.Status.CurrentMetrics[0].Pods.Current.AverageValue.AsApproximateFloat64()
		if share := float64(load) / float64(want); math.Abs(read-share) > close5*share {
			return fmt.Errorf("the HPA has read %.1f a pod, want %.1f", read, share)
		}
		return nil
	})
}

// failing returns an error until the HPA has failed to read its metric three times, with the adapter's reason.
func failing(ctx context.Context, namespace string) error {
	h, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if text := conditions(h); !strings.Contains(text, "ScalingActive=False") || !strings.Contains(text, "3 pods: 3 absent (no never_seen_total on its page)") {
		return fmt.Errorf("conditions: %s", text)
	}
	events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedGetPodsMetric"})
	if err != nil {
		return err
	}
	count := int32(0)
	for i := range events.Items {
		count += events.Items[i].Count
	}
	if count < 3 {
		return fmt.Errorf("%d failed reads so far", count)
	}
	return nil
}

// toldMetric returns an error until the autoscaler has one Event of the adapter about the lost metric, with its cause, and one about its
// return.
func toldMetric(ctx context.Context, namespace string) error {
	want := map[string]string{
		"MetricFailed":    "never_seen_per_second has no value: 3 pods: ", // absent, or warming up at first
		"MetricRecovered": "no longer in the spec: never_seen_per_second",
	}
	events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=web,source=tachometer-adapter"})
	if err != nil {
		return err
	}
	told := map[string]int{}
	for _, e := range events.Items {
		if text, ok := want[e.Reason]; ok && strings.Contains(e.Message, text) {
			told[e.Reason]++
		}
	}
	if told["MetricFailed"] != 1 || told["MetricRecovered"] != 1 {
		return fmt.Errorf("Events %v", events.Items)
	}
	return nil
}

func conditions(h *autoscalingv2.HorizontalPodAutoscaler) string {
	var b strings.Builder
	for _, c := range h.Status.Conditions {
		fmt.Fprintf(&b, "%s=%s (%s: %s) ", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// newScaled creates a Deployment of two pods and an HPA on it.
func newScaled(t *testing.T, namespace string) {
	t.Helper()
	newDeployment(t, namespace, "web", 2, podSpec())
	// Longer than the window for this load (three scrapes), and than the controller's period: while pods come and go, means over that
	// time mix old shares with a new number of pods.
	settle := &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(4))}
	createAutoscaler(t, namespace, "web", autoscalingv2.HorizontalPodAutoscalerSpec{
		MinReplicas: new(int32(2)), MaxReplicas: 10,
		Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: settle, ScaleDown: settle},
		Metrics: []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.PodsMetricSourceType,
			Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: requests, Selector: counted()},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(perPod, resource.DecimalSI)},
			},
		}},
	})
}

// counted selects the series of a kubelet's load on its pages, with every operator of an HPA.
func counted() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "code", Operator: metav1.LabelSelectorOpExists},
		{Key: "code", Operator: metav1.LabelSelectorOpIn, Values: []string{"200", "201", "503"}},
		{Key: "code", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"500", "503"}},
		{Key: "canary", Operator: metav1.LabelSelectorOpDoesNotExist},
	}}
}
