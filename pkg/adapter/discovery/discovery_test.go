package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// clusterWorld is a Discovery that runs against fakes, under a clock of its own.
type clusterWorld struct {
	*Discovery
	*testing.T
	ctx      context.Context
	kube     *fake.Clientset
	mapper   *replacedMapper
	registry *prometheus.Registry

	mu     sync.Mutex
	scales map[string]any    // answers of the scale subresources; guarded by mu
	calls  [][]metric.Target // calls of the OnTargets listener; guarded by mu
}

// runInWorld runs f with a running Discovery whose cluster holds those objects, and scales. Before it runs,
// prepare, if any, is called.
func runInWorld(t *testing.T, objects []runtime.Object, scaled map[string]any, prepare, f func(w *clusterWorld)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &clusterWorld{
			T: t, ctx: ctx, kube: fake.NewClientset(objects...), mapper: &replacedMapper{}, scales: map[string]any{},
			registry: prometheus.NewPedanticRegistry(),
		}
		w.mapper.current.Store(testMapper())
		for name, answer := range scaled {
			w.setScale(name, answer)
		}
		w.Discovery = New(Clients{
			Kube: w.kube, Mapper: w.mapper, Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()),
			Scale: newFakeScales(w.scaleAnswer),
		}, Options{Registerer: w.registry})
		w.OnTargets(w.recordTargets)
		w.SetRules(prefixRules{})
		if prepare != nil {
			prepare(w)
		}
		done := make(chan error)
		go func() { done <- w.Discovery.Run(ctx) }()
		synctest.Wait()
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// replacedMapper is renewed as a whole, as that of the adapter is.
type replacedMapper struct {
	meta.RESTMapper // nil: discovery calls no other method
	current         atomic.Pointer[meta.DefaultRESTMapper]
}

func (m *replacedMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return m.current.Load().RESTMapping(kind, versions...)
}

func (m *replacedMapper) ResourceFor(partial schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return m.current.Load().ResourceFor(partial)
}

func (w *clusterWorld) scaleAnswer(name string) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.scales[name]
}

func (w *clusterWorld) setScale(name string, answer any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scales[name] = answer
}

func (w *clusterWorld) recordTargets(targets []metric.Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, targets)
}

// publishedTargets returns how often targets were handed on, and the last ones as "namespace/pod: families, …"; a target
// that ends has a dagger.
func (w *clusterWorld) publishedTargets() (calls int, last string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 {
		return 0, "nothing yet"
	}
	var all []string
	for _, t := range w.calls[len(w.calls)-1] {
		name := t.Key().String()
		if t.Ending {
			name += "†"
		}
		all = append(all, name+": "+strings.Join(t.Families, " "))
	}
	return len(w.calls), strings.Join(all, ", ")
}

// expectTargets compares the targets handed on last.
func (w *clusterWorld) expectTargets(when, want string) {
	w.Helper()
	if _, got := w.publishedTargets(); got != want {
		w.Errorf("%s: targets = %q, want %q", when, got, want)
	}
}

func (w *clusterWorld) createPod(p *corev1.Pod) {
	w.Helper()
	if _, err := w.kube.CoreV1().Pods(p.Namespace).Create(w.ctx, p, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *clusterWorld) updatePod(p *corev1.Pod) {
	w.Helper()
	if _, err := w.kube.CoreV1().Pods(p.Namespace).Update(w.ctx, p, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *clusterWorld) deletePod(namespace, name string) {
	w.Helper()
	if err := w.kube.CoreV1().Pods(namespace).Delete(w.ctx, name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

func TestTargetsFollowTheCluster(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(minComputeInterval)
		w.expectTargets("at start", "shop/web-1: pods_rps")
		if !w.HasSynced() || w.SyncError() != nil {
			t.Errorf("HasSynced = %v, SyncError = %v", w.HasSynced(), w.SyncError())
		}
		sleepAndSettle(time.Second)

		w.createPod(apiPod("shop", "web-2"))
		synctest.Wait() // a lone change is acted on at once
		w.expectTargets("after a pod came", "shop/web-1: pods_rps, shop/web-2: pods_rps")
		sleepAndSettle(time.Second)

		w.updatePod(apiPod("shop", "web-1", markTerminating))
		synctest.Wait()
		w.expectTargets("after a pod began to end", "shop/web-1†: pods_rps, shop/web-2: pods_rps")
		sleepAndSettle(time.Second)

		w.deletePod("shop", "web-1")
		synctest.Wait()
		w.expectTargets("after it ended", "shop/web-2: pods_rps")
		sleepAndSettle(time.Second)

		w.deletePod("shop", "web-2")
		synctest.Wait()
		w.expectTargets("after a pod went", "")
		if o := w.Explain("shop", "web-2"); o.Reason != metric.ReasonTerminating {
			t.Errorf("Explain(pod that went) = %+v", o)
		}
	})
}

// TestManyChangesAreFewComputations: beyond a burst, changes are computed together.
func TestManyChangesAreFewComputations(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps"))}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		before, _ := w.publishedTargets()
		start := time.Now()
		for i := range 100 {
			w.createPod(apiPod("shop", fmt.Sprintf("web-%03d", i)))
			sleepAndSettle(5 * time.Millisecond)
		}
		sleepAndSettle(minComputeInterval)
		after, last := w.publishedTargets()
		if most := computeBurst + int(time.Since(start)/minComputeInterval) + 1; after-before > most || strings.Count(last, "pods_rps") != 100 {
			t.Errorf("handed on %d times, want at most %d, all 100 pods in the end", after-before, most)
		}
	})
}

func TestUnchangedTargetsAreNotHandedOn(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1", markUnready)}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		before, _ := w.publishedTargets()
		w.updatePod(apiPod("shop", "web-1", markUnready))
		w.Demand(Demand{Resource: "pods", Metric: "rps", Namespace: "shop"})
		sleepAndSettle(10 * time.Minute)
		if after, _ := w.publishedTargets(); after != before {
			t.Errorf("handed on %d times, want never", after-before)
		}
		if p, ok := w.Pod("shop", "web-1"); !ok || !p.Live {
			t.Errorf("Pod = %+v, %v; want the unready pod, which is as live as others", p, ok)
		}
	})
}

func TestFirstTargetsAreHandedOnEvenIfNone(t *testing.T) {
	runInWorld(t, nil, nil, nil, func(w *clusterWorld) {
		sleepAndSettle(minComputeInterval)
		if calls, last := w.publishedTargets(); calls != 1 || last != "" || !w.HasSynced() {
			t.Errorf("%d calls, targets %q, synced %v; want one empty call", calls, last, w.HasSynced())
		}
	})
}

func TestFirstTargetsWaitForSelectors(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	hang := func(w *clusterWorld) {
		w.selectors.fetch = func(ctx context.Context, _ objectKey) (labels.Selector, error) {
			<-ctx.Done()
			return nil, metric.Errorf(metric.KindUnavailable, "ask: %w", ctx.Err())
		}
	}
	runInWorld(t, objects, nil, hang, func(w *clusterWorld) {
		sleepAndSettle(lookupTimeout - time.Second)
		if calls, _ := w.publishedTargets(); calls != 0 || w.HasSynced() || w.SyncError() == nil {
			t.Errorf("%d calls, synced %v, %v; want to wait for the selector", calls, w.HasSynced(), w.SyncError())
		}
		sleepAndSettle(2 * time.Second)
		if calls, _ := w.publishedTargets(); calls != 1 || !w.HasSynced() {
			t.Errorf("%d calls, synced %v; want no more waiting after an attempt", calls, w.HasSynced())
		}
		want := "the pods of HorizontalPodAutoscaler web are not known: ask: context deadline exceeded"
		if o := w.Explain("shop", "web-1"); o.Detail != want {
			t.Errorf("Explain = %q, want %q", o.Detail, want)
		}
	})
}

// TestFirstTargetsLeaveALimitedNamespace: the first targets do not wait for the autoscalers of one namespace whose lookups are limited.
func TestFirstTargetsLeaveALimitedNamespace(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	for i := range 1500 {
		name := fmt.Sprintf("evil-%d", i)
		objects = append(objects, newHPA("evil", name, name, podsMetric("rps")))
	}
	answer := func(w *clusterWorld) {
		w.selectors.fetch = func(context.Context, objectKey) (labels.Selector, error) { return parseSelector(t, "app=web"), nil }
	}
	runInWorld(t, objects, nil, answer, func(w *clusterWorld) {
		sleepAndSettle(2 * time.Second)
		if calls, last := w.publishedTargets(); calls != 1 || !strings.Contains(last, "pods_rps") || !w.HasSynced() {
			t.Errorf("%d calls, targets %q, synced %t: %v", calls, last, w.HasSynced(), w.SyncError())
		}
	})
}

// slowRules takes a second to find the families of external metrics.
type slowRules struct{ prefixRules }

func (r slowRules) Families(resource, metric string, external bool) []string {
	if external {
		<-time.After(time.Second)
	}
	return r.prefixRules.Families(resource, metric, external)
}

func TestFirstTargetsHaveSelectorsReadMeanwhile(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps"), externalMetric("queue", nil)), apiPod("shop", "web-1")}
	lookUp := func(w *clusterWorld) {
		w.SetRules(slowRules{})
		w.selectors.fetch = func(context.Context, objectKey) (labels.Selector, error) {
			<-time.After(time.Second / 2)
			return parseSelector(t, "app=web"), nil
		}
		go func() { // a reader's lookup ends while the first targets are computed
			_, _ = w.PodsOf(w.ctx, schema.GroupResource{Group: "apps", Resource: "deployments"}, metric.Object{Namespace: "shop", Name: "web"})
		}()
	}
	runInWorld(t, objects, nil, lookUp, func(w *clusterWorld) {
		sleepAndSettle(firstTargetsTimeout - time.Second)
		if calls, last := w.publishedTargets(); calls != 1 || !strings.Contains(last, "pods_rps") {
			t.Errorf("%d calls, targets %q; want the pods of the selector from the first call on", calls, last)
		}
	})
}

func TestScaleTargetThatComesLater(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	runInWorld(t, objects, nil, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Minute)
		w.expectTargets("before", "")
		w.setScale("shop/web", "app=web")
		sleepAndSettle(maxRetryDelay)
		w.expectTargets("after the deployment came", "shop/web-1: pods_rps")
		if got := testutil.ToFloat64(w.metrics.selectorLookups.WithLabelValues("not_found")); got < 4 {
			t.Errorf("resolve_total{outcome=not_found} = %v", got)
		}
		w.setScale("shop/web", nil)
		sleepAndSettle(fixedRefreshInterval)
		w.expectTargets("after the deployment went", "")
	})
}

// TestDeploymentMadeAnew has a deployment come again with another selector, which an unchanged autoscaler must find though
// selectors of deployments are asked for rarely, and though a pod of the old selector stays.
func TestDeploymentMadeAnew(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(defaultRefreshInterval)
		w.setScale("shop/web", "app=again")
		w.createPod(apiPod("shop", "again-1", withLabels(map[string]string{"app": "again"})))
		sleepAndSettle(minComputeInterval)
		w.expectTargets("after it came again", "shop/again-1: pods_rps")

		w.setScale("shop/web", "app=soon")
		w.createPod(apiPod("shop", "soon-1", withLabels(map[string]string{"app": "soon"})))
		sleepAndSettle(defaultRefreshInterval)
		w.expectTargets("after it came again soon", "shop/soon-1: pods_rps")
	})
}

func TestAutoscalerThatChanges(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("rps")), apiPod("shop", "web-1")}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web", "shop/api": "app=api"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		change := func(metrics ...string) {
			h := newHPA("shop", "web", "web")
			for _, m := range metrics {
				h.Spec.Metrics = append(h.Spec.Metrics, podsMetric(m))
			}
			if _, err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Update(w.ctx, h, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			sleepAndSettle(minComputeInterval)
		}
		change("rps", "errors")
		w.expectTargets("with another metric", "shop/web-1: pods_errors pods_rps")
		change()
		w.expectTargets("without metrics", "")
		change("rps")
		if err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Delete(w.ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		sleepAndSettle(minComputeInterval)
		w.expectTargets("after it went", "")
	})
}

// TestPodsThatLeaveExternalMetrics has the only autoscaler of a workload go, whose pods then add nothing to an external
// metric any more.
func TestPodsThatLeaveExternalMetrics(t *testing.T) {
	orders := newHPA("shop", "orders", "api", externalMetric("waiting", nil))
	objects := []runtime.Object{
		newHPA("shop", "web", "web", podsMetric("rps")), newHPA("shop", "again", "web", podsMetric("rps")), orders,
		apiPod("shop", "web-1"), apiPod("shop", "web-2"), apiPod("shop", "web-annotated", withAnnotations(podpage.AnnotationScrape, "true")),
		apiPod("shop", "web-ending", markTerminating), apiPod("shop", "api-1", withLabels(map[string]string{"app": "api"})),
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web", "shop/api": "app=api"}, nil, func(w *clusterWorld) {
		remove := func(name string, want float64) {
			t.Helper()
			sleepAndSettle(time.Second)
			if err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Delete(w.ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			sleepAndSettle(minComputeInterval)
			if got := testutil.ToFloat64(w.metrics.optedOut); got != want {
				t.Errorf("after %s went: opted_out_pods_total = %v, want %v", name, got, want)
			}
		}
		remove("again", 0)  // another names a metric of the same pods
		remove("web", 2)    // neither the annotated pod, nor one that ends
		remove("orders", 2) // the external metric goes too
	})
}

func TestKindThatComesLater(t *testing.T) {
	h := newHPA("shop", "web", "web", podsMetric("rps"))
	h.Spec.ScaleTargetRef.APIVersion, h.Spec.ScaleTargetRef.Kind = "example.com/v1", "Late"
	runInWorld(t, []runtime.Object{h, apiPod("shop", "web-1")}, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Minute)
		w.expectTargets("before", "")
		mapper := testMapper()
		mapper.Add(schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Late"}, meta.RESTScopeNamespace)
		w.mapper.current.Store(mapper)
		sleepAndSettle(unmappedRetryInterval + time.Second)
		w.expectTargets("after", "shop/web-1: pods_rps")
	})
}

func TestReaderDemand(t *testing.T) {
	objects := []runtime.Object{apiPod("shop", "web-1", withAnnotations(podpage.AnnotationScrape, "true")), apiPod("shop", "web-2")}
	runInWorld(t, objects, nil, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		w.expectTargets("at start", "")
		rps := Demand{Resource: "pods", Metric: "rps", Namespace: "shop"}
		w.Demand(rps)
		synctest.Wait()
		w.expectTargets("after a read", "shop/web-1: pods_rps")
		if diff := cmp.Diff([]Demand{rps}, w.Demanded()); diff != "" {
			t.Errorf("Demanded (-want +got):\n%s", diff)
		}
		sleepAndSettle(readerDemandTTL - time.Second)
		w.Demand(rps)
		sleepAndSettle(readerDemandTTL - time.Second)
		w.expectTargets("while it is remembered", "shop/web-1: pods_rps")
		sleepAndSettle(2 * time.Second)
		w.expectTargets("after that", "")
		if got := w.Demanded(); len(got) != 0 {
			t.Errorf("Demanded = %v, want none", got)
		}
	})
}

func TestSetRulesComputesAnew(t *testing.T) {
	objects := []runtime.Object{newHPA("shop", "web", "web", podsMetric("unknown")), apiPod("shop", "web-1")}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		w.expectTargets("before", "")
		w.SetRules(allRules{})
		synctest.Wait()
		w.expectTargets("after", "shop/web-1: everything")
	})
}

// allRules serves every metric from one family.
type allRules struct{}

func (allRules) Families(string, string, bool) []string { return []string{"everything"} }
func (allRules) TargetSources(string, string) []string  { return nil }
func (allRules) Namespaces(_, asked string) []string    { return []string{asked} }

func TestMissingPermissionIsSaid(t *testing.T) {
	forbid := func(w *clusterWorld) {
		w.kube.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no rule"))
		})
	}
	runInWorld(t, nil, nil, forbid, func(w *clusterWorld) {
		sleepAndSettle(time.Minute)
		want := "list pods: pods is forbidden: no rule"
		if err := w.SyncError(); w.HasSynced() || err == nil || err.Error() != want {
			t.Errorf("HasSynced = %v, SyncError = %v; want %q", w.HasSynced(), err, want)
		}
		// client-go holds errors back by the time of the last one in the process, which is no time of this
		// bubble: TestAgainstHTTP sees it try again.
		if got := testutil.ToFloat64(w.metrics.watchErrors.WithLabelValues("pods")); got < 1 {
			t.Errorf("watch_errors_total{resource=pods} = %v, want at least 1", got)
		}
	})
}

func TestSelfMetrics(t *testing.T) {
	objects := []runtime.Object{
		newHPA("shop", "web", "web", podsMetric("rps"), externalMetric("waiting", nil)), newHPA("shop", "cpu", "api", resourceMetric()),
		apiPod("shop", "web-1"), apiPod("shop", "web-2", markTerminating),
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		want := `
# HELP tachometer_discovery_demands Demands of autoscalers, and of readers in the last ten minutes.
# TYPE tachometer_discovery_demands gauge
tachometer_discovery_demands 2
# HELP tachometer_discovery_hpas HorizontalPodAutoscalers in the cluster.
# TYPE tachometer_discovery_hpas gauge
tachometer_discovery_hpas 2
# HELP tachometer_discovery_pods Pods in the cluster, live or not.
# TYPE tachometer_discovery_pods gauge
tachometer_discovery_pods 2
# HELP tachometer_discovery_resolve_total Reads of an object's pod selector: success, not_found, no_selector, forbidden or error.
# TYPE tachometer_discovery_resolve_total counter
tachometer_discovery_resolve_total{outcome="success"} 1
# HELP tachometer_discovery_targets Pods that are scraped.
# TYPE tachometer_discovery_targets gauge
tachometer_discovery_targets 2
`
		err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), "tachometer_discovery_demands", "tachometer_discovery_hpas",
			"tachometer_discovery_pods", "tachometer_discovery_resolve_total", "tachometer_discovery_targets")
		if err != nil {
			t.Error(err)
		}
	})
}

// TestRejectedMetricsAreReported: an HPA with too many metrics gets one Event, and the self-metrics count what is left out.
func TestRejectedMetricsAreReported(t *testing.T) {
	hpa := manyMetrics(60)
	hpa.UID = "hpa-uid"
	runInWorld(t, []runtime.Object{hpa}, map[string]any{"shop/web": "app=web"}, nil, func(w *clusterWorld) {
		for range 3 {
			w.requestDemandReplan()
			sleepAndSettle(time.Second)
		}
		events, err := w.kube.CoreV1().Events("shop").List(w.ctx, metav1.ListOptions{})
		if err != nil || len(events.Items) != 1 {
			w.Fatalf("%d Events, %v; want one", len(events.Items), err)
		}
		if e := events.Items[0]; e.Reason != eventTooManyMetrics || e.InvolvedObject.UID != "hpa-uid" || !strings.HasPrefix(e.Message, "10 metrics of HorizontalPodAutoscaler shop/web are not served") {
			w.Errorf("Event %+v", e)
		}
		if got := testutil.ToFloat64(w.metrics.rejectedMetrics); got != 10 {
			w.Errorf("%v rejected metrics, want 10", got)
		}
	})
}
