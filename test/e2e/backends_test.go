package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const (
	prometheusImage = "tachometer-test/prometheus:dev"
	monitoring      = "monitoring"
	// The placeholder addresses in the manifests, for Prometheus's Service and for podList. They are from a range for documentation.
	noService = "192.0.2.90"
	noPodList = "192.0.2.91"
)

// TestBackends scales the same sample by the same HPA through a real Prometheus in the cluster. First a rule of the adapter's own
// configuration queries it, then the configuration and command line of a prometheus-adapter that Helm installed.
// TestHPAScalesUpAndDown does the same through the embedded backend.
func TestBackends(t *testing.T) {
	needNode(t)
	installPrometheus(t)
	t.Run("native rule", func(t *testing.T) {
		useAdapter(t, "test/e2e/manifests/adapter-prometheus")
		load := send(t, low)
		fromPrometheus(t)
		if scalesToZero(t) {
			newWorkers(t, workers{name: "consumers", replicas: 1, metric: externalMetric("empty_queue", nil, 30)})
		}
		upAndDown(t, load)
		sumsUp(t, low)
		outage(t, load)
	})
	t.Run("prometheus-adapter's configuration", func(t *testing.T) {
		useDropIn(t)
		load := send(t, low)
		fromPrometheus(t)
		upAndDown(t, load)
		sumsUp(t, low)
	})
}

// outage takes Prometheus away under a high load: the HPA keeps its replicas and reports the cause, and resumes when Prometheus is
// back. Consumers of a queue, which their HPA has taken to zero, wake by the rule's fallback.
func outage(t *testing.T, load *sending) {
	t.Helper()
	ctx := t.Context()
	load.rate.Store(high)
	if err := stack.Wait(ctx, 90*time.Second, func(ctx context.Context) error { return steady(ctx, 5) }); err != nil {
		t.Fatal(err)
	}
	if scalesToZero(t) {
		awaitWorkers(t, "consumers", 0)
	}
	scalePrometheus(t, 0)
	gone := time.Now()
	err := stack.Wait(ctx, 90*time.Second, func(ctx context.Context) error {
		h, err := hpa(ctx, "sample")
		if err != nil {
			return err
		}
		c := condition(h, autoscalingv2.ScalingActive)
		if c.Status == corev1.ConditionFalse && strings.Contains(c.Message, "backend prometheus: ") {
			t.Logf("after %.1f s without Prometheus: %s", time.Since(gone).Seconds(), c.Message)
			return nil
		}
		return fmt.Errorf("ScalingActive is %s: %s: %s", c.Status, c.Reason, c.Message)
	})
	if err != nil {
		t.Error(err)
	}
	if err := exactly(ctx, 5); err != nil {
		t.Errorf("without Prometheus: %v", err)
	}
	if scalesToZero(t) {
		awaitWorkers(t, "consumers", 2)
		t.Logf("consumers are asked for %.1f s after Prometheus was gone", time.Since(gone).Seconds())
	}
	scalePrometheus(t, 1)
	back := time.Now()
	if err := stack.Wait(ctx, 90*time.Second, func(ctx context.Context) error { return steady(ctx, 5) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("the HPA reads its metric again %.1f s after Prometheus is back", time.Since(back).Seconds())
}

func scalePrometheus(t *testing.T, replicas int) {
	t.Helper()
	for _, args := range [][]string{
		{"scale", "deployment/prometheus", fmt.Sprintf("--replicas=%d", replicas)},
		{"rollout", "status", "deployment/prometheus", "--timeout=60s"},
	} {
		if _, err := s.Kubectl(t.Context(), append([]string{"-n", monitoring}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// installPrometheus packs this machine's Prometheus into an image and runs it in the cluster until the test ends.
func installPrometheus(t *testing.T) {
	t.Helper()
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("SKIPPED: needs a real Prometheus, and prometheus is not in PATH; on Debian: apt-get install prometheus")
	}
	ctx := t.Context()
	archive := filepath.Join(t.TempDir(), "prometheus.tar")
	image := cluster.Image{Tag: prometheusImage, Files: libraries(t, bin), Entrypoint: []string{"/bin/prometheus"}, User: "65534"}
	image.Files["/bin/prometheus"] = bin
	if err := cluster.PackImage(archive, image); err != nil {
		t.Fatal(err)
	}
	if err := s.Cluster.LoadImage(ctx, archive); err != nil {
		t.Fatal(err)
	}
	const dir = "test/e2e/manifests/prometheus"
	t.Cleanup(func() {
		if _, err := s.Kubectl(context.Background(), "delete", "-k", filepath.Join(s.Root, dir)); err != nil {
			t.Error(err)
		}
	})
	apply(t, dir, monitoring+"/prometheus", noPodList, servePods(t))
}

// servePods serves the sample's pods as Prometheus targets until the test ends, and returns the address.
func servePods(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(s.Cluster.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(podList)}}
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().String()
}

func podList(w http.ResponseWriter, r *http.Request) {
	pods, err := s.Client.CoreV1().Pods(stack.SampleNamespace).List(r.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=sample"})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway) // Prometheus keeps its current targets
		return
	}
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	for _, pod := range pods.Items {
		if pod.Status.PodIP != "" {
			groups = append(groups, group{[]string{pod.Status.PodIP + ":8080"}, map[string]string{"namespace": pod.Namespace, "pod": pod.Name}})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups) // an error means that the reader is gone
}

// libraries returns the shared libraries of a program, and their loader, at their own paths.
func libraries(t *testing.T, bin string) map[string]string {
	t.Helper()
	files := map[string]string{}
	// A program without shared libraries makes ldd fail, and needs none.
	out, _ := exec.CommandContext(t.Context(), "ldd", bin).Output()
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	return files
}

// apply applies an overlay, with the placeholder replaced by an address, and waits until the Deployment is rolled out.
func apply(t *testing.T, dir, deployment, placeholder, address string) {
	t.Helper()
	ctx, began := t.Context(), time.Now()
	manifests, err := s.Kubectl(ctx, "kustomize", filepath.Join(s.Root, dir))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(manifests, placeholder) {
		t.Fatalf("%s has no address %s to be replaced", dir, placeholder)
	}
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(manifests, placeholder, address)), 0o600); err != nil {
		t.Fatal(err)
	}
	namespace, name, _ := strings.Cut(deployment, "/")
	for _, args := range [][]string{
		{"apply", "-f", file},
		{"-n", namespace, "rollout", "status", "deployment/" + name, "--timeout=120s"},
	} {
		if _, err := s.Kubectl(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s is rolled out after %.1f s", deployment, time.Since(began).Seconds())
}

// service returns the address of Prometheus: the cluster of these tests has no DNS.
func service(t *testing.T) string {
	t.Helper()
	found, err := s.Client.CoreV1().Services(monitoring).Get(t.Context(), "prometheus", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Spec.ClusterIP
}

// restore reinstalls the original adapter after the test.
func restore(t *testing.T) {
	t.Cleanup(func() {
		if err := s.InstallAdapter(context.Background(), "test/e2e/manifests/adapter"); err != nil {
			t.Error(err)
		}
	})
}

// useAdapter runs the adapter from an overlay until the test ends.
func useAdapter(t *testing.T, dir string) {
	t.Helper()
	restore(t)
	apply(t, dir, stack.AdapterNamespace+"/tachometer-adapter", noService, service(t))
}

// useDropIn runs the adapter in place of a prometheus-adapter until the test ends; no other adapter runs meanwhile.
func useDropIn(t *testing.T) {
	t.Helper()
	restore(t)
	for _, args := range [][]string{
		{"-n", stack.AdapterNamespace, "scale", "deployment/tachometer-adapter", "--replicas=0"},
		{"delete", "apiservice", "v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"},
	} {
		if _, err := s.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	const dir = "test/e2e/manifests/drop-in"
	t.Cleanup(func() {
		if _, err := s.Kubectl(context.Background(), "delete", "-k", filepath.Join(s.Root, dir)); err != nil {
			t.Error(err)
		}
	})
	apply(t, dir, monitoring+"/prometheus-adapter", noService, service(t))
}

// remoteWindow is the window of the rules that query Prometheus.
const remoteWindow = 10 * time.Second

// fromPrometheus waits until the sample's metrics come from Prometheus: over the window of its rules, and with their own time.
func fromPrometheus(t *testing.T) {
	t.Helper()
	began := time.Now()
	// All setups serve this version.
	path := strings.Replace(stack.PodsMetric("request_per_second"), "v1beta2", "v1beta1", 1)
	err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
		values, err := answer(ctx, path)
		if err != nil {
			return err
		}
		for _, v := range values {
			if age := time.Since(v.Stamp); v.Window != remoteWindow || age > 15*time.Second {
				return fmt.Errorf("%s has a value %v old over %v, want one over %v", v.Name, age, v.Window, remoteWindow)
			}
		}
		if len(values) < 2 {
			return fmt.Errorf("%d values, want those of 2 pods", len(values))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Prometheus's values after %.1f s", time.Since(began).Seconds())
}

// sumsUp reads the external metric, the sum of all requests, under a load that has been steady for longer than the window.
func sumsUp(t *testing.T, rate float64) {
	t.Helper()
	const path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + stack.SampleNamespace + "/all_requests"
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		values, err := answer(ctx, path)
		if err == nil && (len(values) != 1 || math.Abs(values[0].Value-rate) > rate/10) {
			err = fmt.Errorf("all_requests is %v, want %v per second", values, rate)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
