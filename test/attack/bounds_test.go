package attack

// All bounds of the adapter's memory at once.

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

const (
	boundNamespaces  = 12
	boundPods        = 24    // with boundSeries series each, more than the store holds
	boundSeries      = 9_000 // just below the bound of a page
	boundAutoscalers = 60    // of a namespace
	// fullStoreSeries are some of the 32,000 such series that a full store holds beside what is remembered of their pages.
	fullStoreSeries = 25_000
	// boundRecords are autoscalers of a namespace whose changing status fills the records of decisions; fullRecordBytes are most of their bound.
	boundRecords    = 12
	fullRecordBytes = memorybounds.Records * 9 / 10
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

// fillBoundRecords changes the status of autoscalers with long conditions, which compress badly, until the records of decisions are full.
func (a *attackedAdapter) fillBoundRecords() {
	a.Helper()
	random := rand.NewChaCha8([32]byte{})
	for round := int32(0); ; round++ {
		for n := range boundNamespaces * boundRecords {
			hpa := kubeapi.NewAutoscaler(boundNamespace(n), fmt.Sprintf("record-%d", n), goodMetric)
			hpa.Spec.ScaleTargetRef.Name = "web"
			hpa.Status.DesiredReplicas = round
			hpa.Status.Conditions = newBoundConditions(random)
			a.kube.SetAutoscaler(hpa)
		}
		retry.Sleep(a.Context(), 100*time.Millisecond) // a watch that falls behind begins again with a list, which has one change of many
		_, metrics, _ := a.get(a.Context(), hpaController, "/metrics")
		if bytes, line := findBoundNumber(metrics, "tachometer_hpa_record_bytes "); bytes >= fullRecordBytes {
			return
		} else if ended := a.EndError(); ended != nil || time.Now().After(waitEnd(a.T)) {
			a.Fatalf("the records are not full: %s, %v", line, ended)
		}
	}
}

// newBoundConditions returns conditions with long random messages.
func newBoundConditions(random io.Reader) []autoscaling.HorizontalPodAutoscalerCondition {
	conditions := make([]autoscaling.HorizontalPodAutoscalerCondition, 8)
	for i := range conditions {
		var message [180]byte
		_, _ = io.ReadFull(random, message[:])
		conditions[i] = autoscaling.HorizontalPodAutoscalerCondition{
			Type: autoscaling.ScalingActive, Status: "False", Reason: "FailedGetPodsMetric", Message: base64.StdEncoding.EncodeToString(message[:]),
		}
	}
	return conditions
}

// boundQueryNamespace finds the namespace of a query.
var boundQueryNamespace = regexp.MustCompile(`namespace=~?"([^"|]+)`)

// startBoundServer serves large results of a Prometheus-compatible server until the test ends, and returns a configuration that names it.
func startBoundServer(t *testing.T) (config string) {
	t.Helper()
	port := startPages(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		namespace := "bound-0"
		if asked := boundQueryNamespace.FindStringSubmatch(r.FormValue("query")); asked != nil {
			namespace = asked[1]
		}
		series := make([]string, 200)
		for i := range series {
			series[i] = fmt.Sprintf(`{"metric":{"namespace":%q,"queue":"%d-%s"},"value":[%d,"1"]}`, namespace, i, strings.Repeat("q", 500), time.Now().Unix())
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

// boundPaths are paths of ever new metrics, selectors, queries of a server, and objects, by their number.
var boundPaths = []func(namespace string, n int) string{
	func(namespace string, n int) string {
		return podsPath(namespace, fmt.Sprintf("r_%06d_%s", n, strings.Repeat("r", 240)), "app=web")
	},
	func(namespace string, n int) string {
		values := make([]string, 120)
		for v := range values {
			values[v] = fmt.Sprintf("v%05d%04d", n, v)
		}
		return podsPath(namespace, goodMetric, "app=web") + "&metricLabelSelector=" + url.QueryEscape("a notin ("+strings.Join(values, ",")+")")
	},
	func(namespace string, n int) string {
		return "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + namespace + "/queue?labelSelector=" + url.QueryEscape(fmt.Sprintf("a!=%d", n))
	},
	func(namespace string, n int) string {
		return fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/deployments.apps/none-%d/%s", namespace, n, goodMetric)
	},
}

// readBoundObjects reads one of boundPaths as the reader of a namespace.
func (a *attackedAdapter) readBoundObjects(ctx context.Context, kind, worker int, codes *reviewCodes) {
	namespace := boundNamespace(worker)
	for n := worker; ctx.Err() == nil; n += boundNamespaces {
		code, _, _ := a.get(ctx, "system:serviceaccount:"+namespace+":reader", boundPaths[kind](namespace, n))
		codes.count(code)
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
		for kind := range boundPaths {
			attackers.Go(func() { a.readBoundObjects(ctx, kind, i, &reads) })
		}
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

// TestAllBounds: tenants of twelve namespaces fill the store, the demands, the records and the results of a server, and use every other bound
// beside it. What no collection frees stays below half of the container's limit, and the reads of another namespace's HPA are answered.
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
	a.fillBoundRecords()
	ctx, cancel := context.WithTimeout(t.Context(), attackTime(60*time.Second))
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
	series, _ := a.readStoreSeries()
	t.Logf("live heap at most %d MiB of %d MiB; %.0f series", int64(live)>>20, 2*maxResident>>20, series)
	if live == 0 || int64(live) > maxResident {
		t.Errorf("the live heap rose to %d MiB, want at most %d MiB", int64(live)>>20, maxResident>>20)
	}
	a.judgeReads() // a cgroup ends an adapter beyond its limit
}
