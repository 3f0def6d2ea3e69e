package soak

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

const (
	hpaUser      = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	soakMetric   = "http_requests_per_second"
	soakFamily   = "http_requests_total"
	soakTemplate = "# TYPE " + soakFamily + " counter\n" + soakFamily + "{route=\"/\"} %[1]d\n" + soakFamily + "{route=\"/cart\"} %[1]d\n"
)

// soakWorld is an adapter with many autoscalers, behind a fake kube-apiserver.
type soakWorld struct {
	*adapter.Process
	kube  *kubeapi.Server
	port  string // of the pages
	trust *tls.Config
}

func startSoakWorld(t *testing.T) *soakWorld {
	t.Helper()
	program, err := adapter.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &soakWorld{port: startSoakPages(t)}
	if w.kube, err = kubeapi.Start(kubeapi.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kube.Close)
	for i := range *soakAutoscalers {
		w.kube.AddDeployment(soakNamespace(i), soakApp(i), podsPerAutoscaler)
		w.kube.SetAutoscaler(kubeapi.NewAutoscaler(soakNamespace(i), soakApp(i), soakMetric))
		for pod := range podsPerAutoscaler {
			w.setSoakPod(i, pod, 0)
		}
	}
	kubeconfig, err := w.kube.WriteKubeconfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if w.Process, err = adapter.Start(t.Context(), adapter.Options{Program: program, Kubeconfig: kubeconfig}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the adapter's log ends:\n%s", w.Log())
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	if w.trust, err = w.NewTLSConfig(w.kube.Proxy.Client); err != nil {
		t.Fatal(err)
	}
	return w
}

func soakNamespace(autoscaler int) string { return fmt.Sprintf("team-%02d", autoscaler%50) }
func soakApp(autoscaler int) string       { return fmt.Sprintf("web-%04d", autoscaler) }

// setSoakPod adds a pod. Each generation of a pod has a name and an address of its own.
func (w *soakWorld) setSoakPod(autoscaler, pod, generation int) {
	n := autoscaler*podsPerAutoscaler + pod
	address := net.JoinHostPort(fmt.Sprintf("127.%d.%d.%d", 1+generation%200, n/250, 1+n%250), w.port)
	w.kube.SetPod(kubeapi.NewPod(soakNamespace(autoscaler), soakPodName(autoscaler, pod, generation), soakApp(autoscaler), address))
}

func soakPodName(autoscaler, pod, generation int) string {
	return fmt.Sprintf("%s-%d-%d", soakApp(autoscaler), pod, generation)
}

// startSoakPages serves one page at all addresses of this machine until the test ends, and returns its port.
func startSoakPages(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	pages := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, soakTemplate, time.Now().UnixMilli()/10%1_000_000_000)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = pages.Serve(listener) }) // ends with Close
	t.Cleanup(func() { _ = pages.Close(); serving.Wait() })
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

// startChurn replaces a pod each second, the pods of every autoscaler in turn.
func (w *soakWorld) startChurn(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var churning sync.WaitGroup
	churning.Go(func() {
		for n := 0; retry.Sleep(ctx, churnInterval); n++ {
			autoscaler, round := n%*soakAutoscalers, n / *soakAutoscalers
			pod, generation := round%podsPerAutoscaler, round/podsPerAutoscaler
			w.setSoakPod(autoscaler, pod, generation+1)
			w.kube.RemovePod(soakNamespace(autoscaler), soakPodName(autoscaler, pod, generation))
		}
	})
	t.Cleanup(func() { cancel(); churning.Wait() })
	return func() { cancel(); churning.Wait() }
}

// awaitSoakValues waits until every autoscaler's metric has a value.
func (w *soakWorld) awaitSoakValues(t *testing.T) {
	t.Helper()
	client := newSoakClient(w)
	defer client.CloseIdleConnections()
	for i := range *soakAutoscalers {
		for end := time.Now().Add(5 * time.Minute); ; retry.Sleep(t.Context(), 200*time.Millisecond) {
			code, err := w.readSoakMetric(t.Context(), client, hpaUser, i)
			if code == http.StatusOK {
				break
			}
			if ended := w.EndError(); ended != nil || time.Now().After(end) {
				t.Fatalf("no value for %s: %d %v, %v", soakApp(i), code, err, ended)
			}
		}
	}
}
