package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/api/meta"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// scrapedPods are pods that are all scraped.
type scrapedPods struct{ pods []discovery.Pod }

func (s scrapedPods) Pods(string, k8slabels.Selector) []discovery.Pod { return slices.Clone(s.pods) }

func (s scrapedPods) PodsOf(context.Context, schema.GroupResource, metric.Object) ([]discovery.Pod, error) {
	return slices.Clone(s.pods), nil
}

func (s scrapedPods) Pod(string, string) (discovery.Pod, bool) { return s.pods[0], true }

func (scrapedPods) Explain(string, string) metric.Omission { return metric.Omission{} }

func (scrapedPods) Diagnose(string, string, []string) metric.Omission { return metric.Omission{} }

func (scrapedPods) FamilyType(string, string, string) (model.MetricType, bool) {
	return model.MetricTypeCounter, true
}

func (scrapedPods) CountsUnseen(string, string) bool              { return false }
func (scrapedPods) UnseenPods() map[metric.Object]metric.TimeSpan { return nil }
func (scrapedPods) SilentSince(string, string) (time.Time, bool)  { return time.Time{}, false }

func (scrapedPods) HeldCounts(string, string, []string) float64 { return 0 }

func (scrapedPods) Decreases(string, string, []string) bool { return false }
func (scrapedPods) RejectedSince(string, string, []string) (time.Time, bool) {
	return time.Time{}, false
}

func (scrapedPods) Demand(discovery.Demand) error { return nil }

func (scrapedPods) Demanded() []discovery.Demand { return nil }

// newScrapedProvider returns a provider over the embedded engine, with the samples of some pods.
func newScrapedProvider(b *testing.B, pods []discovery.Pod) *provider.Provider {
	b.Helper()
	s := store.New(store.Options{})
	for i, pod := range pods {
		l := labels.FromStrings("__name__", "http_requests_total", "namespace", "shop", "pod", pod.Name, "node", "n1", "method", "GET", "code", "200")
		for j := range 30 {
			if _, err := s.Append(0, l, noon.Add(time.Duration(j-30)*2*time.Second).UnixMilli(), float64(j*i)); err != nil {
				b.Fatal(err)
			}
		}
	}
	_, rules, err := rule.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- metric: web_per_second\n" +
		"  query: sum by (namespace, pod) (rate(http_requests_total[$window]))\n  window: 30s\n"))
	if err != nil {
		b.Fatal(err)
	}
	core := schema.GroupVersion{Version: "v1"}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{core})
	mapper.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	world := scrapedPods{pods}
	engine := query.New(s, query.Options{})
	return provider.New(provider.Deps{
		Rules: func() provider.Rules { return rules }, Backend: func(string) (provider.Backend, bool) { return engine, true },
		Pods: world, Targets: world, Demands: world, Scrapes: world, Mapper: mapper, Now: func() time.Time { return noon },
	}, provider.Options{})
}

// BenchmarkRead is a controller's read of 20 pods with and without the recorder, in turn: the provider, the engine and the encoding
// of the answer. The metric "ratio" is the median with it over the median without it. "ns-later" is what the recorder does for a read
// after its answer, in rounds of four answers.
func BenchmarkRead(b *testing.B) {
	s := newLoadedService(b, "web", Options{})
	s.scaleTo(20)
	for i := range s.pods {
		s.pods[i].Created, s.pods[i].Readied = noon.Add(-time.Hour), noon.Add(-time.Hour)
	}
	s.recorder.opts.Now = func() time.Time { return s.now }
	plain := newScrapedProvider(b, s.pods)
	recorded := s.recorder.Record(plain)
	ctx, selector := s.context(), s.ScaleTargetSelector("shop", "web")
	info := metricsprovider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "web_per_second"}
	read := func(p metricsprovider.MetricsProvider) time.Duration {
		began := time.Now()
		list, err := p.GetMetricBySelector(ctx, "shop", selector, info, k8slabels.Everything())
		if err != nil || len(list.Items) != 20 {
			b.Fatal(err, list)
		}
		if _, err := json.Marshal(list); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	var without, with []time.Duration
	later := time.Duration(0)
	for i := 0; b.Loop(); i++ {
		s.now = s.now.Add(15 * time.Second)
		if i%2 == 0 { // neither is always the second, on warm caches
			without = append(without, read(plain))
			with = append(with, read(recorded))
		} else {
			with = append(with, read(recorded))
			without = append(without, read(plain))
		}
		if i%4 == 3 {
			began := time.Now()
			s.recorder.encodeAllPendingAnswers()
			later += time.Since(began)
		}
	}
	slices.Sort(without)
	slices.Sort(with)
	b.ReportMetric(float64(without[len(without)/2].Nanoseconds()), "ns-without")
	b.ReportMetric(float64(with[len(with)/2].Nanoseconds()), "ns-with")
	b.ReportMetric(float64(with[len(with)/2])/float64(without[len(without)/2]), "ratio")
	b.ReportMetric(float64(later.Nanoseconds())/float64(len(with)), "ns-later")
	b.ReportMetric(0, "ns/op") // of both reads together, which says nothing
}

// BenchmarkHour is the memory of an hour of 1,000 autoscalers of about 20 pods, each with a look every 15 s.
func BenchmarkHour(b *testing.B) {
	for b.Loop() {
		r := New(Options{Now: func() time.Time { return noon }, Autoscalers: []string{controller}, MaxBytes: 1 << 30})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 1000 {
			s := &loadedService{t: b, now: noon, random: newRandom(uint64(i)), user: controller}
			r.opts.Now = func() time.Time { return s.now }
			r.SetScaleTargets(s)
			s.join(fmt.Sprintf("web-%d", i), r)
			for j := range 240 {
				s.load = 1_000_000 + 100_000*math.Sin(float64(i+j)/20)
				s.look()
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		runtime.KeepAlive(r)
	}
}
