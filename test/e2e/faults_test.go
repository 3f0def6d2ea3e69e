package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// tolerance is the maximum relative error of a value while pods come and go.
const tolerance = 0.05

// witness reads metrics continuously and compares every response with the sent load.
type witness struct {
	truth   *truth
	backend *chaosBackend

	mu      sync.Mutex // guards the fields below
	right   int
	refused map[string]int
	wrong   []string
	lowest  int32 // minimum of the HPA's desired replicas

	lastRefused time.Time
}

// watch reads until ctx ends.
func (w *witness) watch(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, metric := range []string{fixed, "request_per_second"} {
			w.look(ctx, metric)
		}
		w.lookAtBackend(ctx)
		if h, err := hpa(ctx, "sample"); err == nil {
			w.mu.Lock()
			w.lowest = min(w.lowest, h.Status.DesiredReplicas)
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *witness) look(ctx context.Context, metric string) {
	addresses, err := podAddresses(ctx)
	if err != nil {
		return // a failure of the API server, not a response of the adapter
	}
	values, err := answer(ctx, stack.PodsMetric(metric))
	byHost := map[string]served{}
	for _, v := range values {
		address, known := addresses[v.Name]
		if !known {
			return // younger than the list of addresses: the next look includes it
		}
		byHost[address] = served{v.Value, v.Window, v.Stamp}
	}
	w.record(ctx, metric, err, func(now time.Time) error {
		return w.truth.checkList(now, byHost, len(byHost) == len(addresses), tolerance)
	})
}

// record counts a response, or its error, as judge sees it.
func (w *witness) record(ctx context.Context, metric string, err error, judge func(now time.Time) error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		w.refused[stack.Reason(err)]++
		w.lastRefused = now
	default:
		if wrong := judge(now); wrong != nil {
			w.wrong = append(w.wrong, fmt.Sprintf("%s: %v", metric, wrong))
			return
		}
		w.right++
	}
}

// podAddresses returns the addresses of the pods that are not being deleted, by name.
func podAddresses(ctx context.Context) (map[string]string, error) {
	pods, err := s.Client.CoreV1().Pods(stack.SampleNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=sample"})
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil && pod.Status.PodIP != "" {
			addresses[pod.Name] = pod.Status.PodIP
		}
	}
	return addresses, nil
}

// report fails t for every wrong value since the last report, and for a scale-down.
func (w *witness) report(t *testing.T, replicas int32) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, wrong := range w.wrong {
		if i == 10 {
			t.Errorf("and %d more wrong answers", len(w.wrong)-i)
			break
		}
		t.Errorf("wrong answer: %s", wrong)
	}
	if w.right == 0 {
		t.Error("not one right answer")
	}
	if w.lowest < replicas {
		t.Errorf("the HPA asked for %d replicas; the load always needed %d", w.lowest, replicas)
	}
	t.Logf("%d right answers, refused: %v", w.right, w.refused)
	w.right, w.refused, w.wrong, w.lowest = 0, map[string]int{}, nil, replicas
}

// stabilize sets the time in seconds that the HPA looks back before it removes pods.
func stabilize(ctx context.Context, t *testing.T, seconds int) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/behavior/scaleDown/stabilizationWindowSeconds","value":%d}]`, seconds)
	_, err := s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).
		Patch(ctx, "sample", types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Errorf("set the HPA's stabilization: %v", err)
	}
}

func adapters(ctx context.Context) ([]corev1.Pod, error) {
	list, err := s.Client.CoreV1().Pods(stack.AdapterNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-adapter"})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// killAdapters deletes n adapter pods without grace and waits until two others are ready.
func killAdapters(t *testing.T, n int) {
	t.Helper()
	ctx := t.Context()
	pods, err := adapters(ctx)
	if err != nil || len(pods) < n {
		t.Fatalf("%d adapter pods, want %d: %v", len(pods), n, err)
	}
	for _, pod := range pods[:n] {
		if err := s.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Fatal(err)
		}
	}
	rollout(t, stack.AdapterNamespace, "tachometer-adapter")
}

func killSample(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	pods, err := s.ReadyPods(ctx)
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d pods: %v", len(pods), err)
	}
	if err := s.Client.CoreV1().Pods(pods[0].Namespace).Delete(ctx, pods[0].Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	rollout(t, stack.SampleNamespace, "sample")
}

func rollSample(t *testing.T) {
	t.Helper()
	if _, err := s.Kubectl(t.Context(), "-n", stack.SampleNamespace, "rollout", "restart", "deployment/sample"); err != nil {
		t.Fatal(err)
	}
	rollout(t, stack.SampleNamespace, "sample")
}

func rollout(t *testing.T, namespace, deployment string) {
	t.Helper()
	if _, err := s.Kubectl(t.Context(), "-n", namespace, "rollout", "status", "deployment/"+deployment, "--timeout=120s"); err != nil {
		t.Fatal(err)
	}
}

// furtherRules are the backends and rules that a test adds to the e2e configuration for its duration.
var furtherRules string

// configuration returns the applied e2e configuration.
func configuration(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Root, "test/e2e/manifests/adapter/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if furtherRules != "" {
		return strings.Replace(string(data), "rules:\n", furtherRules, 1)
	}
	return string(data)
}

// configure puts text into the adapter's ConfigMap and makes the kubelet refresh it at once.
func configure(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	maps := s.Client.CoreV1().ConfigMaps(stack.AdapterNamespace)
	m, err := maps.Get(ctx, "tachometer-adapter-config", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Data["config.yaml"] = text
	if _, err := maps.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// A changed annotation makes the kubelet refresh a pod's volumes.
	stamp := fmt.Sprintf("test/nudge=%d", time.Now().UnixNano())
	if _, err := s.Kubectl(ctx, "-n", stack.AdapterNamespace, "annotate", "--overwrite", "pods", "-l", "app.kubernetes.io/name=tachometer-adapter", stamp); err != nil {
		t.Fatal(err)
	}
}

// goodConfiguration adds a rule, which the adapter serves without a restart.
func goodConfiguration(t *testing.T) {
	t.Helper()
	configure(t.Context(), t, configuration(t)+`
- metric: added_requests
  resource: pods
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
  window: 10s
`)
	path := stack.PodsMetric("added_requests")
	err := stack.Wait(t.Context(), 90*time.Second, func(ctx context.Context) error {
		for range 5 { // five reads reach both replicas with high probability
			if _, err := answer(ctx, path); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("a rule added to the ConfigMap: %v", err)
	}
}

// badConfiguration breaks the file: the adapter keeps the previous configuration, and its log reports the fault.
func badConfiguration(t *testing.T) {
	t.Helper()
	configure(t.Context(), t, configuration(t)+"\n- metrik: typo\n")
	t.Cleanup(func() { configure(context.Background(), t, configuration(t)) })
	pods, err := adapters(t.Context())
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d adapter pods: %v", len(pods), err)
	}
	pod := pods[0].Name
	health := fmt.Sprintf("/api/v1/namespaces/%s/pods/https:%s:6443/proxy/readyz?verbose", stack.AdapterNamespace, pod)
	err = stack.Wait(t.Context(), 90*time.Second, func(ctx context.Context) error {
		out, err := s.Kubectl(ctx, "-n", stack.AdapterNamespace, "logs", pod)
		if err == nil && !strings.Contains(out, "metrik") {
			err = fmt.Errorf("the log does not name the unknown key: %s", out)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// A pod's proxy passes no credentials on, and what a configuration says is not for everybody.
	if out, err := s.Get(t.Context(), health); err != nil || strings.Contains(string(out), "metrik") {
		t.Errorf("/readyz without credentials: %s, %v", out, err)
	}
	if _, err := answer(t.Context(), stack.PodsMetric("added_requests")); err != nil {
		t.Errorf("the rule of the last good configuration: %v", err)
	}
}

// rotateCertificate empties the shared Secret: the replicas create a new certificate authority and write it into the APIServices.
func rotateCertificate(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	before := bundle(t)
	if _, err := s.Kubectl(ctx, "-n", stack.AdapterNamespace, "patch", "secret", "tachometer-adapter-cert", "--type=json", `-p=[{"op":"remove","path":"/data"}]`); err != nil {
		t.Fatal(err)
	}
	err := stack.Wait(ctx, 90*time.Second, func(context.Context) error {
		if bundle(t) == before {
			return fmt.Errorf("caBundle is unchanged")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func bundle(t *testing.T) string {
	t.Helper()
	out, err := s.Kubectl(t.Context(), "get", "apiservice", "v1beta2.custom.metrics.k8s.io", "-o", "jsonpath={.spec.caBundle}")
	if err != nil {
		t.Fatal(err)
	}
	return out
}
