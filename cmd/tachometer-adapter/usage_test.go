package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
)

// usageAPI is metrics.k8s.io.
const usageAPI = "/apis/metrics.k8s.io/v1beta1"

// usageReads are the paths that are read, and their usage, time and window.
func usageReads(pod, node string) map[string]string {
	return map[string]string{
		usageAPI + "/namespaces/default/pods":                       "default/web-1 " + pod,
		usageAPI + "/namespaces/default/pods?labelSelector=app=web": "default/web-1 " + pod,
		usageAPI + "/namespaces/default/pods?labelSelector=app=x":   "",
		usageAPI + "/namespaces/other/pods":                         "",
		usageAPI + "/pods":                                          "default/web-1 " + pod,
		usageAPI + "/nodes":                                         "node " + node,
	}
}

// wantUsage reads with get until there is usage, and then all that is wanted after the first read.
func wantUsage(t *testing.T, get func(path string) (string, error), wanted func() map[string]string) {
	t.Helper()
	waitUntil(t, func() bool {
		_, pod := get(usageAPI + "/namespaces/default/pods/web-1")
		_, node := get(usageAPI + "/nodes/node")
		return pod == nil && node == nil
	})
	want, got := wanted(), map[string]string{}
	for path := range want {
		var body string
		var err error
		waitUntil(t, func() bool { // each path may ask the source anew
			body, err = get(path)
			return err == nil
		})
		if got[path], err = usageText(body); err != nil {
			t.Errorf("%s: %v: %s", path, err, body)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// usageText is a list of either kind, as NAME CONTAINER=CPU,MEMORY TIME/WINDOW.
func usageText(body string) (string, error) {
	var list struct {
		Items []struct {
			v1beta1.PodMetrics `json:",inline"`
			Usage              core.ResourceList `json:"usage"` // of a node
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return "", err
	}
	var all []string
	for _, i := range list.Items {
		name, used := strings.TrimPrefix(i.Namespace+"/"+i.Name, "/"), []string{}
		if i.Usage != nil {
			used = append(used, formatUsage(i.Usage))
		}
		for _, c := range i.Containers {
			used = append(used, c.Name+"="+formatUsage(c.Usage))
		}
		all = append(all, fmt.Sprintf("%s %s %s/%s", name, strings.Join(used, " "), i.Timestamp.UTC().Format(time.RFC3339), i.Window.Duration))
	}
	return strings.Join(all, "; "), nil
}

func formatUsage(l core.ResourceList) string { return l.Cpu().String() + "," + l.Memory().String() }

// newFirstRead returns the time of its first call, in whole seconds: an adapter that is slow to start reads nothing old.
func newFirstRead() func() time.Time {
	return sync.OnceValue(func() time.Time { return time.Now().Truncate(time.Second) })
}

// usageServer is a Prometheus that has one pod's usage and its node's, each with a sample of another age before the first read. It
// answers what resourceRules ask of them, and nothing else.
func usageServer(t *testing.T, firstRead func() time.Time) string {
	t.Helper()
	const pod, node = `{"pod":"web-1","container":"web"%s}`, `{"node":"node"%s}`
	series := []struct {
		matchers      []string
		labels, value string
		age           time.Duration
	}{
		{[]string{"irate(container_cpu_usage_seconds_total{", `namespace="default"`, `pod="web-1"`}, pod, "0.25", 7 * time.Second},
		{[]string{"container_memory_working_set_bytes{", `namespace="default"`, `pod="web-1"`}, pod, "1048576", 9 * time.Second},
		{[]string{"irate(node_cpu_usage_seconds_total{", `node="node"`}, node, "1.5", 5 * time.Second},
		{[]string{"node_memory_working_set_bytes{", `node="node"`}, node, "2147483648", 3 * time.Second},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
	search:
		for _, s := range series {
			for _, m := range s.matchers {
				if !strings.Contains(query, m) {
					continue search
				}
			}
			now := firstRead()
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":%s,"value":[%d,%q]},{"metric":%s,"value":[%d,"%d"]}]}}`,
				fmt.Sprintf(s.labels, ""), now.Unix(), s.value,
				fmt.Sprintf(s.labels, `,"tachometer_sample_time":"1"`), now.Unix(), now.Add(-s.age).Unix())
			return
		}
		http.Error(w, "unexpected "+query, http.StatusTeapot)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestUsageByResourceRules has prometheus-adapter's own configuration, which is resourceRules, with its command line and its
// service account's rights.
func TestUsageByResourceRules(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t)
	c.readsOnly.Store(true)
	firstRead := newFirstRead()
	opts := parseFlags(t, "--cert-dir="+t.TempDir(), "--config=../../pkg/adapter/promadapter/testdata/import/resource.yaml", "--metrics-relist-interval=1m",
		"--prometheus-url="+usageServer(t, firstRead), "--secure-port=6443",
		"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
	r := startWith(t, c, opts)
	trusting := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as that Deployment's APIService does
	get := func(path string) (string, error) { return r.getWithTLS(t.Context(), trusting, path) }
	waitUntil(t, func() bool { _, err := get("/readyz"); return err == nil })
	at := func(age time.Duration) string { return firstRead().Add(-age).UTC().Format(time.RFC3339) + "/5m0s" }
	wantUsage(t, get, func() map[string]string {
		return usageReads("web=250m,1Mi "+at(9*time.Second), "1500m,2Gi "+at(5*time.Second))
	})

	body, err := get(usageAPI + "/namespaces/default/pods/gone")
	if err == nil || !strings.Contains(body, `"code":404`) {
		t.Errorf("a pod that is not there: %v: %s", err, body)
	}
	// The groups of the other APIs are there as well.
	if body, err := get("/apis"); err != nil || !strings.Contains(body, "custom.metrics.k8s.io") || !strings.Contains(body, `"metrics.k8s.io"`) {
		t.Errorf("groups: %v: %s", err, body)
	}
}

// kubelet is one whose measurements are 20 seconds apart, however soon it is asked again: the first 30 s before the first read, the
// second, which stays, 10 s before.
type kubelet struct {
	t         *testing.T
	firstRead func() time.Time
	mu        sync.Mutex // guards reads
	reads     int
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics/resource" {
		k.t.Errorf("the kubelet is asked for %s", r.URL.Path)
	}
	now := k.firstRead()
	k.mu.Lock()
	at, cpu := now.Add(-30*time.Second).UnixMilli(), 100.0
	if k.reads > 0 {
		at, cpu = now.Add(-10*time.Second).UnixMilli(), 105
	}
	k.reads++
	k.mu.Unlock()
	const container = `{container="web",namespace="default",pod="web-1"}`
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(w, "# TYPE container_cpu_usage_seconds_total counter\ncontainer_cpu_usage_seconds_total%s %g %d\n", container, cpu, at)
	fmt.Fprintf(w, "# TYPE container_memory_working_set_bytes gauge\ncontainer_memory_working_set_bytes%s 1.048576e+06 %d\n", container, at)
	fmt.Fprintf(w, "# TYPE container_start_time_seconds gauge\ncontainer_start_time_seconds%s %d\n", container, now.Unix()-3600)
	fmt.Fprintf(w, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total %g %d\n", 6*cpu, at)
	fmt.Fprintf(w, "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes 2.147483648e+09 %d\n", at)
	fmt.Fprintf(w, "# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n")
}

// TestUsageFromKubelets reads usage as kube-apiserver does, from an adapter with nothing but the flag.
func TestUsageFromKubelets(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t)
	firstRead := newFirstRead()
	server := httptest.NewTLSServer(&kubelet{t: t, firstRead: firstRead})
	t.Cleanup(server.Close)
	c.placeKubelet(server.Listener.Addr().String())
	r := startWith(t, c, parseFlags(t, "--resource-metrics", "--kubelet-insecure-tls", "--kubelet-interval=1s"))
	get := func(path string) (string, error) { return r.getPath(t.Context(), path) }
	waitUntil(t, func() bool { return r.isReady(t.Context()) })
	wantUsage(t, get, func() map[string]string {
		at := firstRead().Add(-10*time.Second).UTC().Format(time.RFC3339) + "/20s"
		return usageReads("web=250m,1Mi "+at, "1500m,2Gi "+at)
	})
	for _, name := range resourcemetrics.APIServices {
		waitUntil(t, func() bool { return c.trustsAPIService(name) })
	}
}

// TestUsageIsOffByDefault: without flag and resourceRules another server may serve metrics.k8s.io.
func TestUsageIsOffByDefault(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t)
	r := startWith(t, c, parseFlags(t))
	waitUntil(t, func() bool { return r.isReady(t.Context()) })
	if body, err := r.getPath(t.Context(), usageAPI+"/nodes"); err == nil || !strings.HasPrefix(err.Error(), "404") {
		t.Errorf("%v: %s", err, body)
	}
	for _, name := range resourcemetrics.APIServices {
		if c.trustsAPIService(name) {
			t.Errorf("%s was changed", name)
		}
	}
}
