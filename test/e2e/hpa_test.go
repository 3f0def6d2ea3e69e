package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// perPod is the HPA's target for one pod of the sample, in requests per second; low and high are loads that need 2 and 5 pods by the
// HPA's formula, ceil(load / perPod). An HPA that stands at 4 pods for a moment still goes on to 5: high is above 4 pods' target by
// more than its tolerance of 10 %.
const (
	perPod = 50
	low    = 60
	high   = 230
)

func asStatus(err error, status *apierrors.APIStatus) bool { return errors.As(err, status) }

func hpa(ctx context.Context, name string) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	return s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).Get(ctx, name, metav1.GetOptions{})
}

// TestHPAScalesUpAndDown steps the load up and down under the real controller at its real period.
func TestHPAScalesUpAndDown(t *testing.T) {
	needNode(t)
	upAndDown(t, send(t, low))
}

// upAndDown steps a load from low to high and back, and expects the right number of pods.
func upAndDown(t *testing.T, load *sending) {
	t.Helper()
	ctx := t.Context()
	if err := stack.Wait(ctx, time.Minute, func(ctx context.Context) error { return steady(ctx, 2) }); err != nil {
		t.Fatal(err)
	}
	load.rate.Store(high)
	stepped := time.Now()
	most := int32(0)
	err := stack.Wait(ctx, 90*time.Second, func(ctx context.Context) error {
		h, err := hpa(ctx, "sample")
		if err != nil {
			return err
		}
		most = max(most, h.Status.DesiredReplicas)
		return exactly(ctx, 5)
	})
	if err != nil {
		t.Fatalf("%d → %d requests/s: %v", low, high, err)
	}
	t.Logf("%d → %d requests/s: 5 pods ready after %.1f s", low, high, time.Since(stepped).Seconds())
	if most > 5 {
		t.Errorf("the HPA asked for %d pods, %d requests/s need 5", most, high)
	}
	load.rate.Store(low)
	stepped = time.Now()
	if err := stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error { return steady(ctx, 2) }); err != nil {
		t.Fatalf("%d → %d requests/s: %v", high, low, err)
	}
	t.Logf("%d → %d requests/s: back to 2 pods after %.1f s", high, low, time.Since(stepped).Seconds())
}

// steady returns an error unless the sample has n pods, and an HPA that reads its metric and requests n.
func steady(ctx context.Context, n int32) error {
	h, err := hpa(ctx, "sample")
	if err != nil {
		return err
	}
	if c := condition(h, autoscalingv2.ScalingActive); c.Status != "True" {
		return fmt.Errorf("the HPA is not active: %s: %s", c.Reason, c.Message)
	}
	if h.Status.DesiredReplicas != n {
		return fmt.Errorf("the HPA asks for %d pods, want %d", h.Status.DesiredReplicas, n)
	}
	return exactly(ctx, int(n))
}

func condition(h *autoscalingv2.HorizontalPodAutoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType) autoscalingv2.HorizontalPodAutoscalerCondition {
	for _, c := range h.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return autoscalingv2.HorizontalPodAutoscalerCondition{}
}

// TestHPAHoldsWithoutMetric points the HPA at a metric that no pod has: the HPA keeps its replicas, and its condition shows the
// adapter's message.
func TestHPAHoldsWithoutMetric(t *testing.T) {
	needNode(t)
	ctx := t.Context()
	send(t, high)
	if err := stack.Wait(ctx, 90*time.Second, func(ctx context.Context) error { return steady(ctx, 5) }); err != nil {
		t.Fatal(err)
	}
	rename(t, "never_seen_per_second")
	t.Cleanup(func() { rename(t, "request_per_second") })
	err := stack.Wait(ctx, 45*time.Second, func(ctx context.Context) error {
		h, err := hpa(ctx, "sample")
		if err != nil {
			return err
		}
		c := condition(h, autoscalingv2.ScalingActive)
		if c.Status == "False" && strings.Contains(c.Message, "5 pods") && strings.Contains(c.Message, "never_seen_total") {
			return nil
		}
		return fmt.Errorf("ScalingActive is %s: %s: %s", c.Status, c.Reason, c.Message)
	})
	if err != nil {
		t.Error(err)
	}
	if err := exactly(ctx, 5); err != nil {
		t.Errorf("without the metric: %v", err)
	}
}

func rename(t *testing.T, metric string) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/metrics/0/pods/metric/name","value":%q}]`, metric)
	_, err := s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).
		Patch(context.Background(), "sample", types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Errorf("point the HPA at %s: %v", metric, err)
	}
}

// TestNewHPA creates an HPA on a Deployment that is not scraped yet, for a new metric.
func TestNewHPA(t *testing.T) {
	needNode(t)
	ctx := t.Context()
	const dir = "test/e2e/manifests/newcomer"
	if err := s.Apply(ctx, dir+"/deployment"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Kubectl(context.Background(), "delete", "-k", s.Root+"/"+dir); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Kubectl(ctx, "-n", stack.SampleNamespace, "rollout", "status", "deployment/newcomer", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	path := stack.CustomMetrics + "/namespaces/" + stack.SampleNamespace + "/pods/*/go_memstats_mallocs_per_second?labelSelector=app%3Dnewcomer"
	if values, err := answer(ctx, path); err == nil {
		t.Fatalf("before there is an HPA the metric has values: %v", values)
	}
	if err := s.Apply(ctx, dir); err != nil {
		t.Fatal(err)
	}
	created := time.Now()
	err := stack.Wait(ctx, 3*scrapeInterval, func(ctx context.Context) error {
		_, err := answer(ctx, path)
		return err
	})
	if err != nil {
		t.Fatalf("no value within three scrape intervals of %v: %v", scrapeInterval, err)
	}
	t.Logf("first value %.1f s after the HPA was created", time.Since(created).Seconds())
}
