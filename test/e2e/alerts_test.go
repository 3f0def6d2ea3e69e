package e2e

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// onlyPromtoolAlerts are the alerts that TestAlerts does not fire, with the reason. test/monitoring fires them on made-up series.
var onlyPromtoolAlerts = map[string]string{
	"TachometerKafkaRecordsLost": "the test's broker keeps all records, and with another broker's records the client would stall",
}

var runsAlerts = flag.Bool("alerts", false, "run TestAlerts, which takes minutes")

// TestAlerts breaks the adapter and the scaler in the ways that the shipped alerts watch. A real Prometheus with the shipped rules must show each
// alert firing, and none after everything is mended.
func TestAlerts(t *testing.T) {
	needNode(t)
	if !*runsAlerts {
		t.Skip("SKIPPED: -alerts is not set: run `make alerts`")
	}
	light(t)
	w := newAlertWorld(t)
	w.awaitNoAlerts("before anything is broken")
	w.breakAdapter()
	w.breakScaler()
	w.awaitAlerts("TachometerReadsFailing", "TachometerValuesStale", "TachometerScrapesFailing", "TachometerStoreRejects",
		"TachometerConfigRejected", "TachometerCertificateExpiring", "TachometerBackendDown", "TachometerFallbackActive",
		"TachometerReactionSlow", "TachometerRequestsRejected", "TachometerHoldRolledBack", "TachometerGateOpen", "TachometerScalerYielded", "TachometerNotificationsFailing",
		"TachometerEventsRejected", "TachometerKafkaFailing", "TachometerScalerConfigRejected")
	w.forbidHolds()
	w.awaitAlerts("TachometerEventsWaiting")
	w.mendAlertWorld()
	w.awaitNoAlerts("after everything is mended")
	w.scalePrograms(0)
	w.awaitAlerts("TachometerDown", "TachometerScalerDown")
	w.scalePrograms(2)
	w.awaitNoAlerts("after the programs are back")
	for _, name := range slices.Sorted(maps.Keys(w.shipped)) {
		if reason, ok := onlyPromtoolAlerts[name]; ok {
			t.Logf("%-32s only by promtool: %s", name, reason)
		} else if seen, ok := w.fired[name]; ok {
			t.Logf("%-32s fired %5.1f s after the first break", name, seen.Sub(w.began).Seconds())
		} else {
			t.Errorf("%s never fired", name)
		}
	}
}

// breakAdapter applies a configuration whose limit no new pod keeps, with backends that fail, lets an HPA read samples that become old, points a
// pod's annotation at a closed port, sends requests without credentials, and lets a certificate expire soon. Then the configuration gets a fault.
func (w *alertWorld) breakAdapter() {
	w.t.Helper()
	w.began = time.Now()
	w.site.broken.Store(true)
	w.fresh = false
	configure(w.t.Context(), w.t, w.adapterConfig)
	w.kubectl("apply", "-f", filepath.Join(s.Root, alertHPA))
	w.annotateSample("9")
	if err := w.process.RenewCertificate(time.Hour); err != nil {
		w.t.Fatal(err)
	}
	w.startReaders()
	w.stopStranger = w.startStranger()
	// Both replicas have the configuration. The series that they hold stay: its limit hits the pods of the next hold.
	w.awaitAlerts("TachometerBackendDown", "TachometerFallbackActive")
	configure(w.t.Context(), w.t, w.adapterConfig+"\n- metrik: typo\n")
}

// breakScaler ends a hold with a gate that its receiver does not shut, makes a hold whose verification must fail, with a receiver that rejects the message, and another whose number a person changes, sends
// an event that is none, and takes the broker away. Then the configuration gets a fault.
func (w *alertWorld) breakScaler() {
	w.t.Helper()
	ctx := w.t.Context()
	w.postAlertEvent("GATED", http.StatusAccepted)
	w.awaitOpenGate()
	w.sale.RejectAlerts(true)
	w.postAlertEvent("GATED_END", http.StatusAccepted)
	w.postAlertEvent("CONTESTED", http.StatusAccepted)
	w.awaitHeldMinReplicas()
	w.setMinReplicas(4)
	w.postAlertEvent("IN_VAIN", http.StatusAccepted)
	if code, answer, err := w.sale.Post(ctx, []byte("{"), sale.Secret); err != nil || code != http.StatusBadRequest {
		w.t.Fatalf("half an event: %d %s, %v", code, answer, err)
	}
	w.awaitAlerts("TachometerHoldRolledBack", "TachometerScalerYielded", "TachometerStoreRejects")
	if err := w.sale.InterruptBroker(); err != nil {
		w.t.Fatal(err)
	}
	w.configureScaler(w.scalerConfig + "\nschedule: typo\n")
}

// forbidHolds takes the scaler's rights on the sample away before an event comes.
func (w *alertWorld) forbidHolds() {
	w.t.Helper()
	w.kubectl("-n", stack.SampleNamespace, "delete", "rolebinding", "tachometer-scaler")
	w.postAlertEvent("CONTESTED", 0) // the response comes when the hold is written or the sender gives up
}

// mendAlertWorld mends everything that the others broke; readers go on.
func (w *alertWorld) mendAlertWorld() {
	w.t.Helper()
	ctx := w.t.Context()
	w.stopStranger()
	w.site.broken.Store(false)
	w.fresh = true
	configure(ctx, w.t, strings.Replace(w.adapterConfig, "  maxSeries: 1\n", "", 1))
	w.annotateSample("8080")
	if err := w.process.RenewCertificate(48 * time.Hour); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl("apply", "-k", filepath.Join(s.Root, "manifests/scaler/workloads"))
	w.sale.RejectAlerts(false)
	if err := w.sale.ResumeBroker(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.configureScaler(w.scalerConfig)
}

// scalePrograms sets the replicas of both programs, and waits until there are as many.
func (w *alertWorld) scalePrograms(replicas int) {
	w.t.Helper()
	if w.process != nil { // it has the adapter's self-metrics too
		if err := w.process.Stop(); err != nil {
			w.t.Fatal(err)
		}
		w.process, w.targets = nil, w.targets-1
	}
	for _, name := range []string{"tachometer-adapter", "tachometer-scaler"} {
		w.kubectl("-n", stack.AdapterNamespace, "scale", "deploy/"+name, fmt.Sprintf("--replicas=%d", replicas))
	}
	for _, name := range []string{"tachometer-adapter", "tachometer-scaler"} {
		w.kubectl("-n", stack.AdapterNamespace, "rollout", "status", "deploy/"+name, "--timeout=120s")
	}
}

// annotateSample points the annotation of the sample's first pod at a port.
func (w *alertWorld) annotateSample(port string) {
	w.t.Helper()
	if w.annotated == "" {
		pods, err := s.ReadyPods(w.t.Context())
		if err != nil || len(pods) < 2 {
			w.t.Fatalf("%d pods of the sample, %v", len(pods), err)
		}
		w.annotated = pods[0].Name
	}
	// The pod may be gone with the hold that made others.
	if out, err := s.Kubectl(w.t.Context(), "-n", stack.SampleNamespace, "annotate", "--overwrite", "pod", w.annotated, "prometheus.io/port="+port); err != nil {
		w.t.Logf("%v: %s", err, out)
	}
}

// startReaders starts readers of every metric until the test ends.
func (w *alertWorld) startReaders() {
	w.t.Helper()
	paths := []string{stack.PodsMetric("request_per_second")}
	for _, metric := range []string{"orders_old", "orders_unknown", "orders_guessed"} {
		paths = append(paths, "/apis/external.metrics.k8s.io/v1beta1/namespaces/"+stack.SampleNamespace+"/"+metric)
	}
	w.repeatUntilStop(200*time.Millisecond, func(ctx context.Context) {
		for _, path := range paths {
			_, _ = s.Get(ctx, path) // most are errors: Prometheus judges
		}
	})
}

// startStranger starts a client without credentials until stop, at the latest until the test ends.
func (w *alertWorld) startStranger() (stop func()) {
	w.t.Helper()
	stranger := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it sends no secret
	}}
	w.t.Cleanup(stranger.CloseIdleConnections)
	return w.repeatUntilStop(100*time.Millisecond, func(ctx context.Context) { w.knockWithoutCredentials(ctx, stranger) })
}

func (w *alertWorld) knockWithoutCredentials(ctx context.Context, client *http.Client) {
	pods, err := adapters(ctx)
	if err != nil || len(pods) == 0 || pods[0].Status.PodIP == "" {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+pods[0].Status.PodIP+":6443"+stack.CustomMetrics, nil)
	if err != nil {
		return
	}
	if response, err := client.Do(request); err == nil {
		response.Body.Close()
	}
}

// repeatUntilStop repeats work in the background until stop, at the latest until the test ends.
func (w *alertWorld) repeatUntilStop(pause time.Duration, work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			work(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	stop = func() { cancel(); working.Wait() }
	w.t.Cleanup(stop)
	return stop
}

// postAlertEvent sends an event that is valid for a minute, and expects the status; 0: any response, or none within five seconds.
func (w *alertWorld) postAlertEvent(kind string, want int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	if want == 0 {
		ctx, cancel = context.WithTimeout(w.t.Context(), 5*time.Second)
	}
	defer cancel()
	w.events++
	code, answer, err := w.sale.Post(ctx, sale.Event(fmt.Sprintf("alert-%d", w.events), kind, time.Minute), sale.Secret)
	if want != 0 && (err != nil || code != want) {
		w.t.Fatalf("event %s: %d %s, %v", kind, code, answer, err)
	}
}

// awaitOpenGate waits until the hold with a gate is open.
func (w *alertWorld) awaitOpenGate() {
	w.t.Helper()
	err := stack.Wait(w.t.Context(), time.Minute, func(ctx context.Context) error {
		out, err := s.Kubectl(ctx, "-n", stack.SampleNamespace, "get", "holds", "-o", `jsonpath={.items[?(@.status.gateOpen==true)].status.state}`)
		if err == nil && !strings.Contains(out, "Open") {
			err = fmt.Errorf("no hold has an open gate: %s", out)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// awaitHeldMinReplicas waits until the autoscaler has the minReplicas of the contested hold.
func (w *alertWorld) awaitHeldMinReplicas() {
	w.t.Helper()
	const want = 3
	err := stack.Wait(w.t.Context(), time.Minute, func(ctx context.Context) error {
		h, err := hpa(ctx, "sample")
		if err == nil && *h.Spec.MinReplicas != want {
			err = fmt.Errorf("minReplicas is %d, want %d", *h.Spec.MinReplicas, want)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// setMinReplicas does what a person would do.
func (w *alertWorld) setMinReplicas(n int32) {
	w.t.Helper()
	w.kubectl("-n", stack.SampleNamespace, "patch", "hpa", "sample", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"minReplicas":%d}}`, n))
}

// configureScaler puts text into the scaler's ConfigMap, and makes the kubelet refresh it at once.
func (w *alertWorld) configureScaler(text string) {
	w.t.Helper()
	maps := s.Client.CoreV1().ConfigMaps(stack.AdapterNamespace)
	m, err := maps.Get(w.t.Context(), "tachometer-scaler-config", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	m.Data["config.yaml"] = text
	if _, err := maps.Update(w.t.Context(), m, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl("-n", stack.AdapterNamespace, "annotate", "--overwrite", "pods", "-l", "app.kubernetes.io/name=tachometer-scaler",
		fmt.Sprintf("test/nudge=%d", time.Now().UnixNano()))
}

// kubectl runs kubectl also after the test's context has ended.
func (w *alertWorld) kubectl(args ...string) string {
	w.t.Helper()
	out, err := s.Kubectl(context.WithoutCancel(w.t.Context()), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// startAlertProcess starts an adapter as a process of this machine: its certificate comes from files.
func startAlertProcess(t *testing.T) *adapter.Process {
	t.Helper()
	dir := t.TempDir()
	program, err := adapter.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := stack.WriteAdapterKubeconfig(t.Context(), s.Cluster, kubeconfig); err != nil {
		t.Fatal(err)
	}
	p, err := adapter.Start(t.Context(), adapter.Options{Program: program, Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readManifest(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
