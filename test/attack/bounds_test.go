package attack

// All bounds of the adapter's memory at once.

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

const (
	boundNamespaces  = 12
	boundPods        = 24    // with boundSeries series each, more than the store holds
	boundSeries      = 9_000 // just below the bound of a page
	boundAutoscalers = 60    // of a namespace
	// maxLiveParts is the bound of the heap right after a collection, in eighths of the container's limit. What requests have allocated since
	// counts too.
	maxLiveParts = 6
	// fullStoreSeries are some of the 80,000 such series that a full store holds beside the pages that are read.
	fullStoreSeries = 50_000
)

func boundNamespace(i int) string { return fmt.Sprintf("bound-%d", i%boundNamespaces) }

// addBoundPods adds pods whose pages have as many series, with as long labels, as fill the store.
func addBoundPods(t *testing.T, kube *kubeapi.Server) {
	t.Helper()
	pages := map[string][]byte{}
	port := startPages(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		_, _ = rw.Write(pages[host])
	}))
	for i := range boundPods {
		ip := fmt.Sprintf("127.0.4.%d", 1+i)
		var page bytes.Buffer
		for n := range boundSeries {
			fmt.Fprintf(&page, "%s{i=\"%d\",x=\"%s-%d\"} %d\n", goodFamily, n, strings.Repeat("x", 600), i, n)
		}
		pages[ip] = page.Bytes()
		pod := kubeapi.NewPod(boundNamespace(i), fmt.Sprintf("web-%d", i), "web", net.JoinHostPort(ip, port))
		pod.Annotations["prometheus.io/scrape"] = "true"
		kube.SetPod(pod)
	}
}

// addBoundAutoscalers adds autoscalers with as many metrics, and as long names and selectors, as are served, and as take part in lists.
func addBoundAutoscalers(kube *kubeapi.Server) {
	for n := range boundNamespaces {
		namespace := boundNamespace(n)
		kube.AddDeployment(namespace, "web", 2)
		kube.SetAutoscaler(kubeapi.NewAutoscaler(namespace, "web", goodMetric))
		for i := range boundAutoscalers {
			names := make([]string, 50)
			for m := range names {
				names[m] = fmt.Sprintf("m_%d_%d_%d_%s", n, i, m, strings.Repeat("m", 230))
			}
			hpa := kubeapi.NewAutoscaler(namespace, fmt.Sprintf("hpa-%d", i), names...)
			hpa.Spec.ScaleTargetRef.Name = "web"
			for m := range hpa.Spec.Metrics {
				selector := &meta.LabelSelector{MatchLabels: map[string]string{}}
				for r := range 14 {
					selector.MatchLabels[fmt.Sprintf("k%d-%d-%d-%d", n, i, m, r)] = strings.Repeat("v", 60)
				}
				hpa.Spec.Metrics[m].Pods.Metric.Selector = selector
			}
			kube.SetAutoscaler(hpa)
		}
	}
}

// startBoundServer serves large results of a Prometheus-compatible server until the test ends, and returns a configuration that names it.
func startBoundServer(t *testing.T) (config string) {
	t.Helper()
	port := startPages(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		series := make([]string, 200)
		for i := range series {
			series[i] = fmt.Sprintf(`{"metric":{"namespace":"bound-0","queue":"%d-%s"},"value":[%d,"1"]}`, i, strings.Repeat("q", 500), time.Now().Unix())
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`))
	}))
	config = filepath.Join(t.TempDir(), "config.yaml")
	text := "apiVersion: config.tachometer.dev/v1alpha1\nkind: " + domain.AdapterConfigKind + `
backends:
- name: server
  url: http://127.0.0.1:` + port + `
rules:
- metric: queue
  external: true
  backend: server
  query: sum by (namespace, queue) (queue)
- metric: ` + goodMetric + `
  query: sum by (namespace, pod) (rate(` + goodFamily + `[$window]))
- match: ^(.+)_per_second$
  query: sum by (namespace, pod) (rate(${1}[$window]))
- match: ^(.+)$
  query: sum by (namespace, pod) (${1})
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// readBoundObjects reads ever new metrics, selectors and objects as the reader of each namespace in turn.
func (a *attackedAdapter) readBoundObjects(ctx context.Context, worker int, codes *reviewCodes) {
	for n := worker; ctx.Err() == nil; n += boundNamespaces {
		namespace := boundNamespace(n)
		values := make([]string, 120)
		for v := range values {
			values[v] = fmt.Sprintf("v%05d%04d", n, v)
		}
		selector := url.QueryEscape("a notin (" + strings.Join(values, ",") + ")")
		for _, path := range []string{
			podsPath(namespace, fmt.Sprintf("r_%06d_%s", n, strings.Repeat("r", 240)), "app=web"),
			podsPath(namespace, goodMetric, "app=web") + "&metricLabelSelector=" + selector,
			"/apis/external.metrics.k8s.io/v1beta1/namespaces/" + namespace + "/queue?labelSelector=" + url.QueryEscape(fmt.Sprintf("a!=%d", n)),
			fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/deployments.apps/none-%d/%s", namespace, n, goodMetric),
		} {
			code, _, _ := a.get(ctx, "system:serviceaccount:"+namespace+":reader", path)
			codes.count(code)
		}
	}
}

// leaveBoundResponses reads explanations of all autoscalers of a namespace, and leaves the responses unread for a while.
func (a *attackedAdapter) leaveBoundResponses(ctx context.Context, client *http.Client, namespace string) {
	path := "/apis/explain.tachometer.dev/v1alpha1/namespaces/" + namespace + "/horizontalpodautoscalers"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, http.NoBody)
	if err != nil {
		a.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer system:serviceaccount:"+namespace+":reader")
	for ctx.Err() == nil {
		if response, err := client.Do(request); err == nil {
			retry.Sleep(ctx, 8*time.Second)
			_ = response.Body.Close()
		}
	}
}

// attackAllBounds has readers, reviewers of rules, and clients that leave their responses unread, until ctx ends.
func (a *attackedAdapter) attackAllBounds(ctx context.Context) {
	a.Helper()
	var attackers sync.WaitGroup
	var reads, reviews reviewCodes
	clients := a.newUnreadClients(8)
	for i := range boundNamespaces {
		attackers.Go(func() { a.readBoundObjects(ctx, i, &reads) })
		attackers.Go(func() {
			for ctx.Err() == nil {
				reviews.count(a.postReview(ctx, boundNamespace(i), newReviewText("label_replace("+goodFamily+`, "y", "$1$1", "x", "(.+)")`)))
				retry.Sleep(ctx, 100*time.Millisecond)
			}
		})
		for n := range 5 {
			attackers.Go(func() { a.leaveBoundResponses(ctx, clients[(i+n)%len(clients)], boundNamespace(i)) })
		}
	}
	attackers.Wait()
	a.Logf("reads of strangers: %s; reviews: %s", reads.describe(), reviews.describe())
}

// readStoreSeries returns the number of series in the store.
func (a *attackedAdapter) readStoreSeries() (series float64, answer string) {
	_, metrics, _ := a.get(a.Context(), hpaController, "/metrics")
	return findBoundNumber(metrics, "tachometer_store_series ")
}

// readLiveHeap returns the least that the adapter's heap holds after each of three collections: what is allocated beside them counts less.
func (a *attackedAdapter) readLiveHeap() (least float64) {
	for i := range 3 {
		_, profile, _ := a.get(a.Context(), hpaController, "/debug/pprof/heap?gc=1&debug=1")
		if bytes, _ := findBoundNumber(profile, "# HeapAlloc = "); i == 0 || bytes > 0 && bytes < least {
			least = bytes
		}
	}
	return least
}

// findBoundNumber returns the number behind a prefix, and the line of it; else 0 and the begin of the text.
func findBoundNumber(text, prefix string) (number float64, line string) {
	for line := range strings.SplitSeq(text, "\n") {
		if rest, found := strings.CutPrefix(line, prefix); found {
			number, _ = strconv.ParseFloat(rest, 64)
			return number, line
		}
	}
	return 0, text[:min(len(text), 200)]
}

// TestAllBounds: tenants of twelve namespaces fill the store and the demands, and use every other bound beside it. The adapter lives within its
// container's limit: what no collection frees stays below maxLiveParts eighths of it, and the reads of another namespace's HPA are answered.
func TestAllBounds(t *testing.T) {
	skipShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	addBoundPods(t, kube)
	addBoundAutoscalers(kube)
	a := startAttackedAdapter(t, kube, "--profiling", "--config", startBoundServer(t))
	a.awaitGoodReads()
	a.await("a full store", func() (bool, string) {
		series, answer := a.readStoreSeries()
		return series >= fullStoreSeries, answer
	})
	ctx, cancel := context.WithTimeout(t.Context(), attackTime(90*time.Second))
	defer cancel()
	live := 0.0
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for retry.Sleep(ctx, 5*time.Second) {
			live = max(live, a.readLiveHeap())
		}
	})
	a.attackAllBounds(ctx)
	watcher.Wait()
	limit := 2 * maxResident
	series, _ := a.readStoreSeries()
	t.Logf("live heap at most %d MiB of %d MiB; %.0f series", int64(live)>>20, limit>>20, series)
	if live == 0 || int64(live) > limit/8*maxLiveParts {
		t.Errorf("the live heap rose to %d MiB, want at most %d MiB", int64(live)>>20, limit/8*maxLiveParts>>20)
	}
	a.judgeReads() // a cgroup ends an adapter beyond its limit
}
