// Package attack has the real adapter attacked from below: as a tenant of one namespace, as a reader, as anybody with the reach of its
// port. Each attack has its bound, and the reads of a good HPA keep answering.
package attack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
	"github.com/tachometer-metrics/tachometer/test/harness/memorygroup"
)

const (
	hpaController = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	evilReader    = "system:serviceaccount:evil:reader"
)

var (
	adapterProgram string
	maxResident    int64 // bytes: half the container's limit
)

func TestMain(m *testing.M) {
	os.Exit(runAttacks(m)) //nolint:forbidigo // TestMain has no other way to return the code
}

func runAttacks(m *testing.M) int {
	flag.Parse()
	if os.Getenv(doorFlooderVariable) != "" || flag.Lookup("test.list").Value.String() != "" { // the process of a flood needs no adapter of its own
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	limits, err := memorygroup.ReadLimits(context.Background(), memorygroup.AdapterManifest)
	if err == nil {
		adapterProgram, err = adapter.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	maxResident = limits.Memory / 2
	return m.Run()
}

// attackTime returns the time of an attack: with -short, the share for continuous integration, a fifth of the usual time.
func attackTime(usual time.Duration) time.Duration {
	if testing.Short() {
		return usual / 5
	}
	return usual
}

// skipShare skips a test that is not in the share for continuous integration.
func skipShare(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: a share of the attacks runs with -short, and this is not of it: `make attack` runs all")
	}
}

// joinShare runs a test beside the others of the share for continuous integration, most of whose time is waiting.
func joinShare(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Parallel()
	}
}

// isBusyMachine reports whether a result may be the fault of a busy machine. Continuous integration may be so busy that scrapes and answers
// are late, and old values are an error then. A rejection never is.
func isBusyMachine(code int, err error) bool {
	return testing.Short() && (code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout || code == 0 && os.IsTimeout(err))
}

// waitEnd is the end of a wait that is in vain: what comes sooner or later comes late on a busy machine, so it is just before that of the run.
func waitEnd(t *testing.T) time.Time {
	t.Helper()
	if end, limited := t.Deadline(); limited {
		return end.Add(-time.Minute)
	}
	return time.Now().Add(time.Hour)
}

// attackedAdapter is an adapter as a process, in a memory cgroup of the shipped limit where one can be made.
type attackedAdapter struct {
	*testing.T
	*adapter.Process
	kube   *kubeapi.Server
	client *http.Client // of all callers but the HPA controller
	hpa    *http.Client // has an address of its own: connections from the address of a flood are closed beyond a bound
	goods  atomic.Int64 // good reads that were answered
	fault  atomic.Value // the first good read that was not: its error's text
}

// startAttackedAdapter runs an adapter until the test ends.
func startAttackedAdapter(t *testing.T, kube *kubeapi.Server, arguments ...string) *attackedAdapter {
	t.Helper()
	kubeconfig, err := kube.WriteKubeconfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := adapter.Start(t.Context(), adapter.Options{Program: adapterProgram, Kubeconfig: kubeconfig, Arguments: arguments})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the adapter's log ends:\n%s", p.Log())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	if !p.Limited {
		t.Log("NO MEMORY CGROUP of the shipped limit can be made here (root is needed): the resident memory alone is judged, by half of the limit")
	}
	trust, err := p.NewTLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	return &attackedAdapter{T: t, Process: p, kube: kube, client: adapter.NewClient(trust, 1), hpa: adapter.NewClient(trust, 200)}
}

// startAdapter runs an adapter until the test ends, and reads the good HPA's metric four times a second from its first answer on.
func startAdapter(t *testing.T, kube *kubeapi.Server) *attackedAdapter {
	t.Helper()
	a := startAttackedAdapter(t, kube)
	a.awaitGoodReads()
	return a
}

// startKube serves a fake kube-apiserver until the test ends.
func startKube(t *testing.T, opts kubeapi.Options) *kubeapi.Server {
	t.Helper()
	kube, err := kubeapi.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kube.Close)
	return kube
}

// startPages serves the pages of pods at all addresses of this machine until the test ends, and returns their port.
func startPages(t *testing.T, page http.Handler) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	pages := &httptest.Server{Listener: listener, Config: &http.Server{Handler: page, ReadHeaderTimeout: time.Minute}}
	pages.Start()
	t.Cleanup(pages.Close)
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

// startShop has a good pod and its autoscaler in namespace shop, and an annotated pod in namespace evil.
func startShop(t *testing.T, page http.Handler) *kubeapi.Server {
	t.Helper()
	kube, port := startKube(t, kubeapi.Options{}), startPages(t, page)
	for app, place := range map[string]struct{ namespace, ip string }{"web": {"shop", "127.0.0.2"}, "evil": {"evil", "127.0.0.3"}} {
		pod := kubeapi.NewPod(place.namespace, app+"-0", app, net.JoinHostPort(place.ip, port))
		pod.Annotations["prometheus.io/scrape"] = "true"
		kube.SetPod(pod)
		kube.AddDeployment(place.namespace, app, 1)
	}
	kube.SetAutoscaler(kubeapi.NewAutoscaler("shop", "web", goodMetric))
	return kube
}

// get reads a path as a user and returns the status; 0 if there is no answer.
func (a *attackedAdapter) get(ctx context.Context, user, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+user)
	client := a.client
	if user == hpaController {
		client = a.hpa
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// podsPath is the path of a metric of the pods of a namespace that a selector matches.
func podsPath(namespace, metric, selector string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/" + url.PathEscape(metric) + "?labelSelector=" + url.QueryEscape(selector)
}

// errBusyMachine is the result of a read that isBusyMachine excuses.
var errBusyMachine = errors.New("the machine is busy")

// readGood reads the good HPA's metric.
func (a *attackedAdapter) readGood(ctx context.Context) error {
	code, body, err := a.get(ctx, hpaController, podsPath("shop", goodMetric, "app=web"))
	switch {
	case isBusyMachine(code, err):
		return errBusyMachine
	case err != nil || code == http.StatusOK:
		return err
	}
	return fmt.Errorf("%d: %s", code, body)
}

// awaitGoodReads waits for the first answer to the good HPA, and then goes on reading.
func (a *attackedAdapter) awaitGoodReads() {
	a.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	for end := waitEnd(a.T); ; retry.Sleep(ctx, 200*time.Millisecond) {
		err := a.readGood(ctx)
		if err == nil {
			break
		}
		if ended := a.EndError(); ended != nil || time.Now().After(end) {
			cancel()
			a.Fatalf("no answer to the good HPA: %v, %v", err, ended)
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			err := a.readGood(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				a.goods.Add(1)
			case !errors.Is(err, errBusyMachine):
				a.fault.CompareAndSwap(nil, err.Error())
			}
			retry.Sleep(ctx, 250*time.Millisecond)
		}
	}()
	a.Cleanup(func() { cancel(); <-stopped })
}

// await waits for what comes sooner or later, on a busy machine too.
func (a *attackedAdapter) await(what string, look func() (found bool, instead string)) {
	a.Helper()
	for end := waitEnd(a.T); ; retry.Sleep(a.Context(), 100*time.Millisecond) {
		found, instead := look()
		if found {
			return
		}
		if ended := a.EndError(); ended != nil || time.Now().After(end) {
			a.Fatalf("no sign of %s: %s, %v", what, instead, ended)
		}
	}
}

// judge holds the adapter to its bounds after an attack: memory, and the good HPA's reads.
func (a *attackedAdapter) judge() {
	a.Helper()
	if peak := a.judgeReads(); peak > maxResident {
		a.Errorf("resident memory rose to %d MiB, want at most %d MiB", peak>>20, maxResident>>20)
	}
}

// judgeReads is judge without a bound for the resident memory, which it returns. The adapter must live.
func (a *attackedAdapter) judgeReads() (peak int64) {
	a.Helper()
	peak, err := a.ReadPeakMemory()
	if err != nil {
		a.Fatal(err)
	}
	if fault := a.fault.Load(); fault != nil {
		a.Errorf("a read of the good HPA failed: %v (%d were answered)", fault, a.goods.Load())
	}
	a.Logf("resident memory at most %d MiB; in a cgroup: %t; %d reads of the good HPA answered", peak>>20, a.Limited, a.goods.Load())
	return peak
}

// goodPage is the page of an honest pod: a counter that rises by 100 a second.
func goodPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# TYPE %[1]s counter\n%[1]s %[2]d\n", goodFamily, time.Now().UnixMilli()/10%1_000_000_000)
}

const (
	goodFamily = "http_requests_total"
	goodMetric = "http_requests_per_second"
)

// numberedNames returns names of metrics that a rule serves.
func numberedNames(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("some_metric_of_mine_%06d", i)
	}
	return names
}

// evilPage is the good page, and for each name that is asked for a series.
func evilPage(w http.ResponseWriter, r *http.Request) {
	goodPage(w, r)
	var b strings.Builder
	for _, name := range r.URL.Query()["name[]"] {
		if len(name) < 300 && name != goodFamily {
			fmt.Fprintf(&b, "%s 1\n", name)
		}
	}
	_, _ = fmt.Fprint(w, b.String())
}
