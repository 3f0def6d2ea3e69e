package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// A hundred thousand pods take ten seconds, and some minutes with the race detector: `make bench` uses as many.
var churnPods = flag.Int("churn-pods", 4000, "pods that come and go in TestChurn")

const (
	generation  = 500              // pods at a time
	lifetime    = 5 * time.Second  // of each pod: two or three scrapes
	churnBounds = 500_000          // maximum growth of the heap, in bytes: a leak of 125 bytes per pod over 4,000 pods exceeds it
	forgotten   = 11 * time.Minute // time after which no trace of a pod or a demand remains
	scrapers    = 4                // concurrent scrapes: as many workers stay idle, started when that many scrapes first coincide
)

// footprint is the remaining memory after the end of all pods.
type footprint struct {
	heap       uint64 // bytes in use after the garbage collector
	goroutines int
	series     int
	labelSets  int // of the self-metrics
}

// churn is the path from pods to samples, wired as in the adapter, without a network and with its own clock.
type churn struct {
	t         *testing.T
	pods      *watch.FakeWatcher
	discovery *discovery.Discovery
	store     *store.Store
	metrics   *prometheus.Registry
	made      int
}

// TestChurn makes pods come and go, generation after generation. It is not parallel, because it measures the heap of the process.
func TestChurn(t *testing.T) {
	var before, after footprint
	gone := 0
	synctest.Test(t, func(t *testing.T) {
		c, end := newChurn(t)
		defer end()
		c.live(*churnPods) // as many as are measured: maps keep the capacity of their fullest moment
		before = c.leave()
		gone = -c.made
		c.live(*churnPods)
		after = c.leave()
		gone += c.made
	})
	t.Logf("%d pods came and went: heap %d → %d bytes, %d → %d goroutines, %d → %d label sets", gone,
		before.heap, after.heap, before.goroutines, after.goroutines, before.labelSets, after.labelSets)
	if after.heap > before.heap+churnBounds {
		t.Errorf("heap grew from %d to %d bytes, %d a pod", before.heap, after.heap, (after.heap-before.heap)/uint64(gone))
	}
	if after.goroutines > before.goroutines+scrapers || after.labelSets > before.labelSets || after.series > 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// newChurn starts the components; end stops them.
func newChurn(t *testing.T) (c *churn, end func()) {
	c = &churn{t: t, pods: watch.NewFakeWithChanSize(generation, false), metrics: prometheus.NewRegistry()}
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, kube.Object, error) {
		return true, &core.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
	})
	client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) { return true, c.pods, nil })

	c.discovery = discovery.New(discovery.Clients{Kube: client}, discovery.Options{WithoutAutoscalers: true, Registerer: c.metrics})
	c.discovery.SetRules(everything{})
	const interval = 2 * time.Second
	c.store = store.New(store.Options{Retention: query.Retention(time.Minute, interval), Registerer: c.metrics})
	scraper := scrape.New(c.store, scrape.Options{Interval: interval, MaxConcurrent: scrapers, DialContext: dialPage, Registerer: c.metrics})
	c.discovery.OnTargets(scraper.SetTargets)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	for _, run := range []func(context.Context) error{c.discovery.Run, scraper.Run, c.store.Run} {
		go func() { ended <- run(ctx) }()
	}
	return c, func() {
		cancel()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
}

// everything are rules under which each metric needs the family of its own name.
type everything struct{}

func (everything) Families(_, metric string, _ bool) []string { return []string{metric} }
func (everything) TargetSources(string, string) []string      { return nil }
func (everything) Namespaces(_, asked string) []string        { return []string{asked} }

// dialPage connects to a pod with a page of two series.
func dialPage(context.Context, string, string) (net.Conn, error) {
	const body = "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} 7\nhttp_requests_total{code=\"500\"} 1\n"
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%s"
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		requests := bufio.NewReader(far)
		for {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return // the scraper hung up
			}
			_, _ = io.Copy(io.Discard, request.Body)
			if _, err := fmt.Fprintf(far, answer, len(body), body); err != nil {
				return
			}
		}
	}()
	return near, nil
}

// live makes that many pods come and go.
func (c *churn) live(pods int) {
	for end := c.made + pods; c.made < end; {
		c.discovery.Demand(discovery.Demand{Resource: "pods", Metric: family, Namespace: namespace})
		var there []*core.Pod
		for range generation {
			p := c.newPod()
			there = append(there, p)
			c.pods.Add(p)
		}
		c.pass(lifetime)
		if series := c.store.Stats().Series; series < 2*generation {
			c.t.Fatalf("%d series of %d pods", series, generation)
		}
		for _, p := range there {
			c.pods.Delete(p)
		}
	}
}

func (c *churn) newPod() *core.Pod {
	c.made++
	name := fmt.Sprintf("web-%d-%d", c.made/generation, c.made)
	ip := fmt.Sprintf("10.%d.%d.%d", c.made>>16&255, c.made>>8&255, c.made&255)
	return &core.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID("uid-" + name), ResourceVersion: fmt.Sprint(c.made),
			Labels:      map[string]string{"app": "web", "pod-template-hash": fmt.Sprint(c.made / generation), "pod": name},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "9102"},
		},
		Spec: core.PodSpec{NodeName: fmt.Sprintf("node-%d", c.made/100)},
		Status: core.PodStatus{
			Phase: core.PodRunning, PodIP: ip, PodIPs: []core.PodIP{{IP: ip}},
			Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
		},
	}
}

// pass advances the clock of the bubble.
func (c *churn) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// leave returns the footprint after the last trace of the pods is gone.
func (c *churn) leave() footprint {
	c.pass(forgotten)
	if targets := len(c.discovery.Targets()); targets != 0 {
		c.t.Fatalf("%d targets are left", targets)
	}
	families, err := c.metrics.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	sets := 0
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "tachometer_") {
			sets += len(f.GetMetric())
		}
	}
	runtime.GC()
	runtime.GC() // the second run frees objects with finalizers and objects in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{m.HeapAlloc, runtime.NumGoroutine(), c.store.Stats().Series, sets}
}
