package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// remoteRules are all on servers; URL is the address of the one that plays them all.
const remoteRules = `
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
backends:
- {name: prometheus, url: URL, maxAge: 10s}
- {name: trusting, url: URL, maxAge: 10s, partialResponse: accept}
- {name: narrow, url: URL, maxAge: 10s, maxResponseBytes: 1Ki}
- {name: hasty, url: URL, maxAge: 10s, timeout: 100ms}
- {name: other, url: URL, maxAge: 10s, labels: {namespace: kubernetes_namespace, pod: k8s_pod_name}}
rules:
- {metric: requests, backend: prometheus, query: 'sum by (namespace, pod) (requests)'}
- {metric: trusting, backend: trusting, query: 'sum by (namespace, pod) (requests)'}
- {metric: narrow, backend: narrow, query: 'sum by (namespace, pod) (requests)'}
- {metric: hasty, backend: hasty, query: 'sum by (namespace, pod) (requests)'}
- {metric: rate, backend: prometheus, query: 'sum by (namespace, pod) (rate(requests_total[1m]))'}
- {metric: timeless, backend: prometheus, query: 'sum by (namespace, pod) ({__name__=~"requests|orders"})'}
- {metric: balance, backend: prometheus, query: 'sum by (namespace, pod) (balance)', allowNegative: true}
- {metric: busy, backend: prometheus, query: 'sum by (namespace, pod) (requests) > 1000'}
- {metric: zero, backend: prometheus, query: 'sum by (namespace, pod) (errors)', onMissing: zero}
- {metric: seven, backend: prometheus, query: 'sum by (namespace, pod) (ready)', onMissing: {value: 7}}
- {metric: average, backend: prometheus, query: 'sum by (namespace, pod) (requests)', aggregate: avg}
- {metric: mapped, backend: other, query: 'sum by (kubernetes_namespace, k8s_pod_name) (requests)'}
- {metric: exported, backend: prometheus, query: 'sum by (namespace, exported_pod) (requests)', labels: {pod: exported_pod}}
- {metric: hits, resource: services, backend: prometheus, query: 'sum by (namespace, service) (hits)', labels: {object: service}}
- {metric: hits_or_zero, resource: services, backend: prometheus, query: 'sum by (namespace, svc) (hits)', labels: {object: svc}, onMissing: zero}
- {metric: load, resource: nodes, namespaced: false, backend: prometheus, query: 'sum by (instance) (load)', labels: {object: instance}}
- {metric: orders, external: true, backend: prometheus, query: 'sum by (queue) (orders)'}
- {metric: orders_here, external: true, namespaced: request, backend: prometheus, query: 'sum by (queue) (orders)'}
- {metric: orders_everywhere, external: true, from: all, backend: prometheus, query: 'sum by (queue) (orders)'}
- {metric: orders_of_bank, external: true, from: [bank], backend: prometheus, query: 'sum by (queue) (orders)'}
- {metric: orders_mapped, external: true, backend: other, query: 'sum by (queue) (orders)'}
- {metric: orders_or_zero, external: true, backend: prometheus, query: 'sum by (queue) (orders)', onMissing: zero}
- {metric: profit, external: true, backend: prometheus, query: 'sum by (queue) (profit)', allowNegative: true}
- {metric: all_orders, external: true, backend: prometheus, query: 'sum(orders)'}
- {metric: orders_or_fallback, external: true, backend: prometheus, query: 'sum by (queue) (orders)', fallback: {after: 3m, value: 12.5}}
`

// remoteWorld is a provider whose rules are all on servers, and what it stands on. Requests are for namespace shop.
type remoteWorld struct {
	*world
	t        *testing.T
	servers  map[string]*remote.Backend
	rejected string // the last message, with its times
}

func newRemoteWorld(t *testing.T, address string, transport http.RoundTripper, pods ...labelledPod) *remoteWorld {
	t.Helper()
	cfg, set, err := rule.Load([]byte(strings.ReplaceAll(remoteRules, "URL", address)))
	if err != nil {
		t.Fatal(err)
	}
	w := &remoteWorld{
		t: t, servers: map[string]*remote.Backend{},
		world: &world{backends: map[string]Backend{}, demands: &demandLog{}, registry: prometheus.NewRegistry()},
	}
	for _, c := range cfg.Backends {
		b, err := remote.New(c, remote.Options{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		w.servers[c.Name], w.backends[c.Name] = b, b
	}
	w.Provider = New(Deps{
		Rules: func() Rules { return set }, Backend: byName(w.backends), Pods: podList(pods),
		Targets: causeOf{}, Demands: w.demands, Scrapes: scrapeState{}, Mapper: newMapper(), Now: func() time.Time { return noon },
	}, Options{Registerer: w.registry})
	return w
}

// read is what an autoscaler gets for RESOURCE/NAME/METRIC, RESOURCE/*/METRIC or external/METRIC: objects or labels with
// their values, ages and windows, or code and message.
func (w *remoteWorld) read(path, selector string) string {
	w.t.Helper()
	ctx := klog.NewContext(w.t.Context(), klog.Logger{})
	part, labels := strings.Split(path, "/"), mustParse(w.t, selector)
	if part[0] == "external" {
		list, err := w.GetExternalMetric(ctx, "shop", labels, metricsprovider.ExternalMetricInfo{Metric: part[1]})
		if err != nil {
			return w.rejectionText(err)
		}
		var out []string
		for _, i := range list.Items {
			out = append(out, w.item(seriesText(i.MetricLabels), i.Value.String(), i.Timestamp.Time, i.WindowSeconds))
		}
		return strings.Join(out, " ")
	}
	info, namespace := newResourceMetricInfo(part[0], part[2]), "shop"
	if part[0] == nodes || part[0] == namespaces {
		namespace = ""
	}
	var items []custom_metrics.MetricValue
	var err error
	if part[1] == "*" {
		objects := mustParse(w.t, "app=web")
		if part[0] != "pods" {
			objects = mustParse(w.t, "")
		}
		var list *custom_metrics.MetricValueList
		if list, err = w.GetMetricBySelector(ctx, namespace, objects, info, labels); err == nil {
			items = list.Items
		}
	} else {
		var v *custom_metrics.MetricValue
		if v, err = w.GetMetricByName(ctx, newNamespacedName(namespace, part[1]), info, labels); err == nil {
			items = append(items, *v)
		}
	}
	if err != nil {
		return w.rejectionText(err)
	}
	var out []string
	for _, i := range items {
		out = append(out, w.item(i.DescribedObject.Name, i.Value.String(), i.Timestamp.Time, i.WindowSeconds))
	}
	return strings.Join(out, " ")
}

func (w *remoteWorld) item(name, value string, at time.Time, window *int64) string {
	text := fmt.Sprintf("%s=%s@%v", name, value, w.Now().Sub(at))
	if window != nil {
		text += fmt.Sprintf("/%ds", *window)
	}
	return text
}

// sinceWhen is by the clock of the process.
var sinceWhen = regexp.MustCompile(`since \d\d:\d\d:\d\d UTC \(\w+ ago\)`)

func (w *remoteWorld) rejectionText(err error) string {
	w.t.Helper()
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		w.t.Fatalf("error %v is no API status", err)
	}
	checkStatus(w.t, err, int(s.Status().Code), "")
	w.rejected = s.Status().Message
	return fmt.Sprintf("%d %s", s.Status().Code, sinceWhen.ReplaceAllString(s.Status().Message, "since T"))
}

// remoteCase is one read at noon of what a server says.
type remoteCase struct {
	pods     []labelledPod
	server   reply
	down     bool   // it refuses connections
	read     string // pods/*/requests by default
	selector string // of series
	want     string
	query    string // is a part of what the server was asked; "-": it was not asked
	omitted  map[metric.Reason]int
}

func runRemote(t *testing.T, table map[string]remoteCase) {
	t.Helper()
	for name, tc := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &prometheusServer{reply: tc.server}
			server := httptest.NewServer(s)
			defer server.Close()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			url := server.URL
			if tc.down {
				url = "http://127.0.0.1:1" // not a port that another server of a test may get
			}
			w := newRemoteWorld(t, url, transport, tc.pods...)
			if diff := cmp.Diff(tc.want, w.read(defaultString(tc.read, "pods/*/requests"), tc.selector)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.omitted, w.omissions()); diff != "" {
				t.Errorf("tachometer_provider_omissions_total (-want +got):\n%s", diff)
			}
			asked := strings.Join(s.queries(), "\n")
			if tc.query == "-" && asked != "" || tc.query != "-" && !strings.Contains(asked, tc.query) {
				t.Errorf("queries %q, want %q in them", asked, tc.query)
			}
		})
	}
}

// inProcessTransport is the way to a server without a network, for bubbles of fake time.
type inProcessTransport struct{ *prometheusServer }

// refused is a reply as of a server that is not there.
var refused = reply{code: -1}

// RoundTrip answers, once the server does.
func (p inProcessTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	down := p.reply == refused
	p.mu.Unlock()
	if down {
		return nil, syscall.ECONNREFUSED
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// runRemoteStory reads from noon on, from a server that changes, with its backends running.
func runRemoteStory(t *testing.T, pods []labelledPod, story func(w *remoteWorld, server *prometheusServer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Until(noon))
		s := &prometheusServer{}
		w := newRemoteWorld(t, "http://prometheus", inProcessTransport{s}, pods...)
		w.Now = time.Now
		ctx, stop := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{}))
		var running sync.WaitGroup
		for _, b := range w.servers {
			running.Go(func() {
				if err := b.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		defer running.Wait()
		defer stop()
		story(w, s)
	})
}

// sleepUntilAfterNoon lets time go by until d after noon.
func sleepUntilAfterNoon(d time.Duration) {
	<-time.After(time.Until(noon.Add(d)))
	synctest.Wait()
}
