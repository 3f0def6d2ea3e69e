package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/util/cert"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
)

// constant provides one metric of each API, always 12.5.
type constant struct{}

func (constant) ListAllMetrics() []provider.CustomMetricInfo {
	return []provider.CustomMetricInfo{{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "request_per_second"}}
}

func (constant) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{Kind: "Pod", Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
		Timestamp:       metav1.NewTime(time.Unix(1900000000, 0)),
		Value:           *resource.NewMilliQuantity(12500, resource.DecimalSI),
	}, nil
}

func (c constant) GetMetricBySelector(ctx context.Context, namespace string, _ labels.Selector, info provider.CustomMetricInfo, s labels.Selector) (*custom_metrics.MetricValueList, error) {
	one, err := c.GetMetricByName(ctx, types.NamespacedName{Namespace: namespace, Name: "a"}, info, s)
	return &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{*one}}, err
}

func (constant) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	return []provider.ExternalMetricInfo{{Metric: "orders_waiting"}}
}

func (constant) GetExternalMetric(context.Context, string, labels.Selector, provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{
		MetricName: "orders_waiting", Value: *resource.NewMilliQuantity(12500, resource.DecimalSI),
	}}}, nil
}

// switched is a certificate that a test replaces.
type switched struct {
	mu        sync.Mutex
	dynamic   dynamiccertificates.CertKeyContentProvider
	listeners []dynamiccertificates.Listener
}

func (*switched) Name() string { return "test" }

func (s *switched) CurrentCertKeyContent() (certPEM, keyPEM []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dynamic == nil {
		return nil, nil
	}
	return s.dynamic.CurrentCertKeyContent()
}

func (s *switched) AddListener(l dynamiccertificates.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, l)
}

// renew serves a new self-signed certificate and returns it, for a client to trust.
func (s *switched) renew(t *testing.T) []byte {
	t.Helper()
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey("adapter.tachometer.svc", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	static, err := dynamiccertificates.NewStaticCertKeyContent("test", certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.dynamic = static
	listeners := s.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		l.Enqueue()
	}
	return certPEM
}

// kubeconfig returns the path of one for the server at address.
func kubeconfig(t *testing.T, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type instance struct {
	addr string
	cert *switched
	stop func() error
	ca   []byte
	kube *fakeKube
}

// testShutdownDelay is the ShutdownDelay of an instance.
const testShutdownDelay = 300 * time.Millisecond

// newUnhurriedOptions returns options without timeouts: a busy machine takes its time, and floods hold requests while they are counted.
func newUnhurriedOptions() *Options {
	opts := NewOptions()
	opts.ShutdownDelay = testShutdownDelay
	for _, timeout := range []*time.Duration{
		&opts.RequestTimeout, &opts.limits.handshake, &opts.limits.decision, &opts.Authorization.ClientTimeout,
		&opts.Authentication.TokenRequestTimeout, &opts.Authentication.CacheTTL, &opts.Authorization.AllowCacheTTL,
	} {
		*timeout = time.Hour
	}
	return opts
}

func serve(t *testing.T, health Health, groups ...Group) *instance {
	t.Helper()
	return serveWith(t, health, groups)
}

func serveWith(t *testing.T, health Health, groups []Group, changes ...func(*Options)) *instance {
	t.Helper()
	opts := newUnhurriedOptions()
	kube := newFakeKube(t)
	opts.UseKubeconfig(kube.kubeconfig)
	for _, change := range changes {
		change(opts)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Serving.Listener = listener
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tachometer_test_one"}, func() float64 { return 1 }))
	r := &instance{kube: kube, cert: &switched{}, addr: opts.Serving.Listener.Addr().String()}
	server := New(opts, Dependencies{
		Provider: constant{}, Certificate: r.cert, Metrics: registry, Health: health, Groups: groups, Replica: "a", Forwarder: otherReplica{},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	r.ca = r.cert.renew(t)
	return r
}

func (r *instance) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.ca)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "adapter.tachometer.svc"}, DisableKeepAlives: true,
	}}
}

func (r *instance) get(t *testing.T, user, path string) (int, string) {
	t.Helper()
	code, body, err := r.try(t, user, path)
	if err != nil {
		t.Fatal(err)
	}
	return code, body
}

func (r *instance) try(t *testing.T, user, path string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.Header.Set("Authorization", "Bearer "+user)
	}
	resp, err := r.client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// eventually asks until the answer is good. The timeout of the whole run is its only bound.
func eventually(t *testing.T, what string, good func() bool) {
	t.Helper()
	t.Logf("waits for: %s", what)
	for !good() {
		<-time.After(20 * time.Millisecond)
	}
}

func (r *instance) answers(t *testing.T) func() bool {
	return func() bool {
		_, _, err := r.try(t, "", "/livez")
		return err == nil
	}
}

func TestServes(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	const pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_per_second"
	for name, tc := range map[string]struct {
		user, path string
		code       int
		want       []string
	}{
		"v1beta2":              {"reader", pods, 200, []string{`"value":"12500m"`, `"metric":{"name":"request_per_second"`}},
		"v1beta1":              {"reader", strings.Replace(pods, "v1beta2", "v1beta1", 1), 200, []string{`"value":"12500m"`, `"metricName":"request_per_second"`}},
		"external":             {"reader", "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/orders_waiting", 200, []string{`"value":"12500m"`}},
		"resources of v1beta1": {"reader", "/apis/custom.metrics.k8s.io/v1beta1", 200, []string{`"name":"pods/request_per_second"`}},
		"resources of v1beta2": {"reader", "/apis/custom.metrics.k8s.io/v1beta2", 200, []string{`"name":"pods/request_per_second"`}},
		"external resources":   {"reader", "/apis/external.metrics.k8s.io/v1beta1", 200, []string{`"name":"orders_waiting"`}},
		"forbidden":            {"stranger", pods, 403, []string{"stranger"}},
		"anonymous":            {"", pods, 401, []string{"no credentials", `"kind":"Status"`}},
		"self-metrics":         {"reader", "/metrics", 200, []string{"tachometer_test_one 1", "go_goroutines", "apiserver_request_total"}},
		"forbidden metrics":    {"stranger", "/metrics", 403, nil},
		"openapi v2":           {"reader", "/openapi/v2", 200, []string{`"title":"Tachometer"`}},
		"openapi v3":           {"reader", "/openapi/v3", 200, []string{"custom.metrics.k8s.io/v1beta2"}},
		"live":                 {"", "/livez", 200, []string{"ok"}},
		"ready":                {"", "/readyz", 200, []string{"ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := r.get(t, tc.user, tc.path)
			if code != tc.code {
				t.Fatalf("%d, want %d: %s", code, tc.code, body)
			}
			for _, want := range tc.want {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in %s", want, body)
				}
			}
		})
	}
}

// nodesOnly are the objects of a cluster with one node and no pods, and their usage.
type nodesOnly struct{}

func (nodesOnly) SyncError() error { return nil }

func (nodesOnly) List(kind, _ string, _ labels.Selector) []*metav1.PartialObjectMetadata {
	if kind != resourcemetrics.Nodes {
		return nil
	}
	return []*metav1.PartialObjectMetadata{{ObjectMeta: metav1.ObjectMeta{Name: "node"}}}
}

func (nodesOnly) Get(string, metric.Object) *metav1.PartialObjectMetadata { return nil }

func (nodesOnly) GetPodUsages(context.Context, []resourcemetrics.Pod, time.Time) ([]resourcemetrics.PodUsage, []metric.Omission, error) {
	return nil, nil, nil
}

func (nodesOnly) GetNodeUsages(_ context.Context, names []string, now time.Time) ([]resourcemetrics.NodeUsage, []metric.Omission, error) {
	return []resourcemetrics.NodeUsage{{Name: names[0], Usage: resourcemetrics.Usage{CPU: 1.5, Memory: 1 << 30}, Time: now, Window: time.Minute}}, nil, nil
}

// A group beside the two is served like them, and described; they stay as they were.
func TestServesGroups(t *testing.T) {
	t.Parallel()
	api := resourcemetrics.New(resourcemetrics.Deps{Objects: nodesOnly{}, Source: nodesOnly{}, Now: time.Now}, resourcemetrics.Options{})
	r := serve(t, Health{}, Group{Info: api.Group(), Definitions: api.Definitions})
	eventually(t, "serving", r.answers(t))
	for name, tc := range map[string]struct {
		user, path string
		code       int
		want       []string
	}{
		"nodes":     {"reader", "/apis/metrics.k8s.io/v1beta1/nodes", 200, []string{`"usage":{"cpu":"1500m","memory":"1Gi"}`, `"window":"1m0s"`}},
		"pods":      {"reader", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", 200, []string{`"kind":"PodMetricsList"`, `"items":[]`}},
		"forbidden": {"stranger", "/apis/metrics.k8s.io/v1beta1/nodes", 403, []string{"stranger"}},
		"groups":    {"reader", "/apis", 200, []string{`"name":"metrics.k8s.io"`, `"name":"custom.metrics.k8s.io"`, `"name":"external.metrics.k8s.io"`}},
		"resources": {"reader", "/apis/metrics.k8s.io/v1beta1", 200, []string{`"kind":"NodeMetrics"`, `"kind":"PodMetrics"`}},
		"openapi":   {"reader", "/openapi/v2", 200, []string{"io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", "custom.metrics.k8s.io"}},
		"in v3":     {"reader", "/openapi/v3/apis/metrics.k8s.io/v1beta1", 200, []string{"io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", `"group":"metrics.k8s.io"`}},
		"custom":    {"reader", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_per_second", 200, []string{`"value":"12500m"`}},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := r.get(t, tc.user, tc.path)
			if code != tc.code {
				t.Fatalf("%d, want %d: %s", code, tc.code, body)
			}
			for _, want := range tc.want {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in %s", want, body)
				}
			}
		})
	}
}

// What kube-apiserver asks first must not be answered with an empty document.
func TestAggregatedDiscoveryIsPlain(t *testing.T) {
	t.Parallel()
	got := ""
	h := withPlainDiscovery(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Accept") }))
	for path, want := range map[string]string{"/apis": "application/json", "/apis/custom.metrics.k8s.io": "as=it-was"} {
		req := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		req.Header.Set("Accept", "as=it-was")
		h.ServeHTTP(httptest.NewRecorder(), req)
		if got != want {
			t.Errorf("%s: Accept %q, want %q", path, got, want)
		}
		if req.Header.Get("Accept") != "as=it-was" {
			t.Error("the request that others still see was changed")
		}
	}
}

// Anybody sees that a check fails; the reasons and the notes, with addresses and files, need a right.
func TestHealthExplains(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{
		Live:  []Check{{"scrape-loop", func() error { return nil }}},
		Ready: []Check{{"informers", func() error { return errors.New("pods not listed") }}},
		Notes: func() []string { return []string{"config: rules[2].query: no such function"} },
	})
	eventually(t, "serving", r.answers(t))
	const reason, note = "[i]informers: pods not listed", "[i]config: rules[2].query: no such function"
	for name, tc := range map[string]struct {
		user, path   string
		code         int
		want, secret []string
	}{
		"anonymous":                 {"", "/readyz", 500, []string{"[-]informers failed"}, []string{reason, note}},
		"anonymous verbose":         {"", "/readyz?verbose", 500, []string{"[-]informers failed"}, []string{reason, note}},
		"anonymous without failure": {"", "/readyz?verbose&exclude=informers", 200, []string{"[+]ping ok"}, []string{reason, note}},
		"forbidden":                 {"stranger", "/readyz?verbose", 500, []string{"[-]informers failed"}, []string{reason, note}},
		"authorized":                {"reader", "/readyz", 500, []string{reason}, []string{note}},
		"authorized verbose":        {"reader", "/readyz?verbose&exclude=informers", 200, []string{note}, nil},
		"live":                      {"", "/livez?verbose", 200, []string{"[+]scrape-loop ok"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := r.get(t, tc.user, tc.path)
			if code != tc.code {
				t.Errorf("%d, want %d: %s", code, tc.code, body)
			}
			for _, want := range tc.want {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in %s", want, body)
				}
			}
			for _, secret := range tc.secret {
				if strings.Contains(body, secret) {
					t.Errorf("%q in %s", secret, body)
				}
			}
		})
	}
}

func TestCertificateIsReloaded(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	r.ca = r.cert.renew(t)
	eventually(t, "serving the new certificate", r.answers(t))
}

// After the signal to stop, new requests are answered until the delay is over, and a /readyz that is being answered says no.
func TestStopsGracefully(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	r := serve(t, Health{Ready: []Check{{"held", func() error { ask(); <-answer; return nil }}}})
	eventually(t, "serving", r.answers(t))
	ready := make(chan int, 1)
	go func() {
		code, _, err := r.try(t, "", "/readyz")
		if err != nil {
			t.Errorf("a request that began before the signal: %v", err)
		}
		ready <- code
	}()
	<-asked
	told, stopped := time.Now(), make(chan error, 1)
	go func() { stopped <- r.stop() }()
	for live := r.answers(t); live(); {
	}
	if after := time.Since(told); after < testShutdownDelay {
		t.Errorf("a request %v after the signal had no answer", after)
	}
	close(answer)
	if code := <-ready; code != http.StatusInternalServerError {
		t.Errorf("/readyz answers %d after the signal", code)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// Without kube-apiserver a server neither serves nor gives up, and ends when it is told to.
func TestWaitsForKubeAPIServer(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(down.Close)
	opts := NewOptions()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Serving.Listener = listener
	opts.UseKubeconfig(kubeconfig(t, down.URL))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- New(opts, Dependencies{Provider: constant{}, Certificate: &switched{}}).Run(ctx) }()
	<-asked
	select {
	case err := <-done:
		t.Errorf("gave up: %v", err)
	case <-asked: // once more
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the port is still open: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	opts := NewOptions()
	opts.Serving.BindAddress, opts.Serving.BindPort = net.IPv4(127, 0, 0, 1), taken.Addr().(*net.TCPAddr).Port
	if err := New(opts, Dependencies{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("Run = %v, want an error about the port", err)
	}
}

func TestOptionsFaults(t *testing.T) {
	t.Parallel()
	o := NewOptions()
	if err := o.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	o.RequestTimeout = 0
	o.ShutdownDelay = -1
	o.Serving.ServerCert.CertKey.CertFile = "tls.crt"
	err := o.Validate()
	for _, want := range []string{"--request-timeout", "--shutdown-delay-duration", "--tls-private-key-file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want a fault about %s", err, want)
		}
	}
}
