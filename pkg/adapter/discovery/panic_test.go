package discovery

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// brokenRules panics over the metric broken.
type brokenRules struct{ prefixRules }

func (r brokenRules) Families(resource, name string, external bool) []string {
	if name == "broken" {
		panic("a bug in a rule")
	}
	return r.prefixRules.Families(resource, name, external)
}

// TestPanicEndsOneDemand has the demands of one autoscaler panic: all other pods are scraped, and go on to be.
func TestPanicEndsOneDemand(t *testing.T) {
	objects := []runtime.Object{
		newHPA("evil", "web", "web", podsMetric("broken")), newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1"), apiPod("evil", "web-1"),
	}
	scales := map[string]any{"shop/web": "app=web", "evil/web": "app=web"}
	runInWorld(t, objects, scales, func(w *clusterWorld) { w.SetRules(brokenRules{}) }, func(w *clusterWorld) {
		sleepAndSettle(firstTargetsTimeout)
		if _, last := w.publishedTargets(); !w.HasSynced() || !strings.Contains(last, "shop/web-1: pods_rps") {
			t.Errorf("targets %q, synced: %v", last, w.SyncError())
		}
		if got := testutil.ToFloat64(w.metrics.panics.Counter()); got < 1 {
			t.Errorf("%v panics counted, want one for each plan", got)
		}
		w.createPod(apiPod("shop", "web-2"))
		sleepAndSettle(time.Second)
		if _, last := w.publishedTargets(); !strings.Contains(last, "shop/web-2: pods_rps") {
			t.Errorf("targets %q after a new pod", last)
		}
	})
}

// TestPanicKeepsTargets has the listener of the targets panic: the same targets reach it again, without another change of the cluster.
func TestPanicKeepsTargets(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	var panics, calls atomic.Int64
	listen := func(w *clusterWorld) {
		w.OnTargets(func(targets []metric.Target) {
			if slices.ContainsFunc(targets, func(t metric.Target) bool { return t.Pod == "web-2" }) && panics.Add(1) == 1 {
				panic("a bug over targets")
			}
			calls.Add(1)
		})
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, listen, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		before := calls.Load()
		w.createPod(apiPod("shop", "web-2"))
		sleepAndSettle(unmappedRetryInterval + 2*time.Second)
		if got := testutil.ToFloat64(w.metrics.panics.Counter()); got != 1 || calls.Load() == before {
			t.Errorf("%v panics counted, %d calls after one of them", got, calls.Load()-before)
		}
		w.createPod(apiPod("shop", "web-3"))
		sleepAndSettle(time.Second)
		if got := testutil.ToFloat64(w.metrics.panics.Counter()); got != 1 || calls.Load() < before+2 {
			t.Errorf("%v panics counted, %d calls after one of them", got, calls.Load()-before)
		}
	})
}
