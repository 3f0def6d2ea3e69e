package attack

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// budgetBound bounds what no collection frees of store, scraper and attacking pods together: a quarter of the container's limit.
const budgetBound = 128 << 20

// budgetWorld is a store and a scraper with their default bounds.
type budgetWorld struct {
	store   *store.Store
	scraper *scrape.Manager
	targets []metric.Target
	top     atomic.Int64 // the largest heap after a collection so far, in bytes
}

// startBudgetWorld runs the scraper until the test ends, and watches the heap.
func startBudgetWorld(t *testing.T) *budgetWorld {
	t.Helper()
	skipShare(t)
	w := &budgetWorld{store: store.New(store.Options{})}
	w.scraper = scrape.New(w.store, scrape.Options{Interval: time.Second})
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{})) // logs nothing
	done := make(chan struct{})
	go func() { defer close(done); _ = w.scraper.Run(ctx) }()
	go func() {
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.GC() // what is allocated between collections depends on the machine, and on the tests before
			runtime.ReadMemStats(&m)
			w.top.Store(max(w.top.Load(), int64(m.HeapAlloc)))
			time.Sleep(200 * time.Millisecond) //nolint:forbidigo // measures a real process
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// addBudgetPod adds a pod that answers with h.
func (w *budgetWorld) addBudgetPod(t *testing.T, namespace, pod string, h http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.targets = append(w.targets, metric.Target{
		Namespace: namespace, Pod: pod, Node: "n", UID: pod, URL: server.URL + "/metrics", Families: []string{"a"},
	})
}

// addBudgetVictims adds honest pods of another namespace.
func (w *budgetWorld) addBudgetVictims(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		w.addBudgetPod(t, "shop", fmt.Sprintf("shop-%d-%d", len(w.targets), i), func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("a 1\n")) })
	}
}

// awaitBudgetScrapes waits until every pod of shop has samples, and then for d longer.
func (w *budgetWorld) awaitBudgetScrapes(t *testing.T, d time.Duration) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, target := range w.targets {
		for target.Namespace == "shop" {
			if _, ok := w.scraper.FamilyType("shop", target.Pod, "a"); ok {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no values: %+v", target.Pod, w.scraper.Diagnose("shop", target.Pod, []string{"a"}))
			}
			time.Sleep(50 * time.Millisecond) //nolint:forbidigo // waits for a real process
		}
	}
	time.Sleep(d) //nolint:forbidigo // the time of the attack
}

// checkBudgetHeap fails if the heap was over its bound.
func (w *budgetWorld) checkBudgetHeap(t *testing.T) {
	t.Helper()
	top := w.top.Load()
	t.Logf("largest heap %d MiB; %+v", top>>20, w.store.TopNamespaces(3))
	if top > budgetBound {
		t.Errorf("heap of %d MiB after a collection, want at most %d MiB", top>>20, budgetBound>>20)
	}
}

// TestLongLabels: 12 pods with 1,020 series each and labels of 16,000 bytes, or of as many bytes as pass, fill no memory.
func TestLongLabels(t *testing.T) {
	for _, size := range []int{16_000, 1_900} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := startBudgetWorld(t)
			var page bytes.Buffer // of all pods: the test's own copies are not the adapter's
			page.Grow(1020 * (size + 100))
			for i := range 1020 {
				_, _ = fmt.Fprintf(&page, "a{i=\"%d\",x=\"%s\"} 1\n", i, strings.Repeat("x", size))
			}
			for pod := range 12 {
				w.addBudgetPod(t, "evil", fmt.Sprintf("evil-%d", pod), func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(page.Bytes()) })
			}
			w.addBudgetVictims(t, 5)
			w.scraper.SetTargets(w.targets)
			w.awaitBudgetScrapes(t, 5*time.Second)
			w.checkBudgetHeap(t)
			if d := w.scraper.Diagnose("evil", "evil-0", []string{"a"}); size > 2048 && !strings.Contains(d.Detail, "longer than 2 KiB") {
				t.Errorf("the culprit is told %q", d.Detail)
			}
		})
	}
}

// TestChurningPods: pods that rename all their series on each page never take a victim's, and end by their own bound.
func TestChurningPods(t *testing.T) {
	w := startBudgetWorld(t)
	const pods = 2 // they reach their bounds of series before their namespace reaches its share of the store
	var pages atomic.Int64
	for pod := range pods {
		w.addBudgetPod(t, "evil", fmt.Sprintf("evil-%d", pod), func(rw http.ResponseWriter, _ *http.Request) {
			page := pages.Add(1)
			var b bytes.Buffer
			for i := range 9_900 {
				_, _ = fmt.Fprintf(&b, "a{p=\"%d\",i=\"%d\"} 1\n", page, i)
			}
			_, _ = rw.Write(b.Bytes())
		})
	}
	w.scraper.SetTargets(w.targets)
	w.awaitBudgetScrapes(t, 10*time.Second)
	w.addBudgetVictims(t, 20) // it scales out while evil churns
	w.scraper.SetTargets(w.targets)
	w.awaitBudgetScrapes(t, 3*time.Second)
	const perPod = 2 * 10_000
	for _, u := range w.store.TopNamespaces(10) {
		if u.Namespace == "evil" && u.Series > pods*perPod {
			t.Errorf("evil holds %d series, want at most %d", u.Series, pods*perPod)
		}
	}
	w.checkBudgetHeap(t)
	if d := w.scraper.Diagnose("evil", "evil-0", []string{"a"}); !strings.Contains(d.Detail, "new series within") {
		t.Errorf("the culprit is told %q", d.Detail)
	}
}

// budgetPages are hostile answers to a scrape.
var budgetPages = map[string]http.HandlerFunc{
	"endless page": func(rw http.ResponseWriter, r *http.Request) { writeBudgetEndlessly(rw, r, "other 1\n") },
	"endless line": func(rw http.ResponseWriter, r *http.Request) {
		writeBudgetEndlessly(rw, r, "a{x=\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
	},
	"gzip": func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Encoding", "gzip")
		_, _ = rw.Write([]byte("\x1f\x8b"))
	},
	"many labels": func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte("a{" + strings.Repeat("x=\"1\",", 3000) + "} 1\n"))
	},
	"big header": func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X", strings.Repeat("x", 5<<20)) },
	"redirect": func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://169.254.169.254/%1b%5B2J", http.StatusFound)
	},
	"silent":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"not UTF-8": func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("a{x=\"\xff\xfe\"} 1\n")) },
}

func writeBudgetEndlessly(rw http.ResponseWriter, r *http.Request, text string) {
	piece := []byte(strings.Repeat(text, 1000))
	for r.Context().Err() == nil {
		if _, err := rw.Write(piece); err != nil {
			return
		}
	}
}

// TestHostilePages: none of them fills the memory, reaches a terminal, or keeps a victim from its values.
func TestHostilePages(t *testing.T) {
	w := startBudgetWorld(t)
	for name, page := range budgetPages {
		for i := range 3 {
			w.addBudgetPod(t, "evil", fmt.Sprintf("%s-%d", name, i), page)
		}
	}
	for i := range 200 {
		w.addBudgetPod(t, "evil", fmt.Sprintf("many-silent-%d", i), budgetPages["silent"])
	}
	w.addBudgetVictims(t, 5)
	w.scraper.SetTargets(w.targets)
	w.awaitBudgetScrapes(t, 8*time.Second)
	w.checkBudgetHeap(t)
	for name := range budgetPages {
		d := w.scraper.Diagnose("evil", name+"-0", []string{"a"})
		if d.Reason == metric.ReasonAbsent || strings.ContainsAny(d.Detail, "\x1b\n\r") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
