package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// workRate requests per second, with workMS milliseconds of CPU each, keep 0.3 CPUs busy: at 70 % of 100m for each pod, the HPA's
// formula requires 5 pods.
const (
	workRate = 60
	workMS   = 5
	busy     = workRate * workMS / 1000.0 // CPUs
	// most is the maximum CPU cost of the load, as a multiple of its work: on a slow machine, reading the requests and writing the
	// responses cost as much again.
	most = 2
)

// share is the CPU that the HPA targets for each pod: 70 % of 100m.
const share = 0.07

// TestCPU scales the sample by the shipped CPU HPA, through the adapter's own metrics.k8s.io, without metrics-server.
func TestCPU(t *testing.T) {
	needNode(t)
	ctx := t.Context()
	installResourceMetrics(t)
	sendTo(t, workRate, fmt.Sprintf("work?ms=%d", workMS))
	began := time.Now()
	err := stack.Wait(ctx, 3*time.Minute, func(ctx context.Context) error {
		h, err := hpa(ctx, "sample")
		if err != nil {
			return err
		}
		if n := h.Status.CurrentReplicas; n < 5 {
			return fmt.Errorf("%d pods, want 5; %v", n, h.Status.Conditions)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("5 pods %.1f s after the load began", time.Since(began).Seconds())
	err = stack.Wait(ctx, 90*time.Second, usageIsTrue)
	if err != nil {
		t.Error(err)
	}
	enough := int32(math.Ceil(most * busy / share))
	if h, err := hpa(ctx, "sample"); err != nil || h.Status.DesiredReplicas > enough {
		t.Errorf("the HPA asks for %d pods (%v), where %d are enough", h.Status.DesiredReplicas, err, enough)
	}
	for _, args := range [][]string{{"top", "nodes"}, {"top", "pods", "-n", stack.SampleNamespace}} {
		out, err := s.Kubectl(ctx, args...)
		if err != nil || len(strings.Split(out, "\n")) < 2 {
			t.Errorf("kubectl %v: %v\n%s", args, err, out)
		}
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
	}
}

// installResourceMetrics enables metrics.k8s.io, and scales the sample by CPU, until the test ends.
func installResourceMetrics(t *testing.T) {
	t.Helper()
	names := []string{"apiservice/v1.metrics.k8s.io", "apiservice/v1beta1.metrics.k8s.io"}
	t.Cleanup(func() {
		ctx := context.Background()
		_, err := s.Kubectl(ctx, append([]string{"delete"}, names...)...)
		for _, err := range []error{err, s.Apply(ctx, "test/e2e/manifests/sample"), s.InstallAdapter(ctx, "test/e2e/manifests/adapter")} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.InstallAdapter(t.Context(), "manifests/adapter-resource-metrics"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), append([]string{"wait", "--for=condition=Available", "--timeout=60s"}, names...)...); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), "manifests/sample/overlays/hpa-cpu"); err != nil {
		t.Fatal(err)
	}
}

// usageIsTrue compares the reported usage of the pods with the cost of the load: its work, and at most as much again for the requests
// themselves.
func usageIsTrue(ctx context.Context) error {
	data, err := s.Get(ctx, "/apis/metrics.k8s.io/v1beta1/namespaces/"+stack.SampleNamespace+"/pods")
	if err != nil {
		return err
	}
	var list v1beta1.PodMetricsList
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	var cpu float64
	for _, pod := range list.Items {
		for _, c := range pod.Containers {
			cpu += c.Usage.Cpu().AsApproximateFloat64()
			if m := c.Usage.Memory().Value(); m < 1<<20 || m > 128<<20 {
				return fmt.Errorf("%s uses %d bytes of memory", pod.Name, m)
			}
		}
		if age := time.Since(pod.Timestamp.Time); age > time.Minute || pod.Window.Duration < 10*time.Second {
			return fmt.Errorf("%s: usage is %v old, over %v", pod.Name, age, pod.Window.Duration)
		}
	}
	if len(list.Items) < 5 || cpu < 0.8*busy || cpu > most*busy {
		return fmt.Errorf("%d pods use %.3f CPUs, where the work alone is %.3f", len(list.Items), cpu, busy)
	}
	return nil
}
