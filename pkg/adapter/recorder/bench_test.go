package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
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

// BenchmarkHour is the memory of an hour of 1,000 autoscalers of about 20 pods, each with a look every 15 s: "MB" of the heap, "MB-closed" of closed
// blocks, which --record-size bounds.
func BenchmarkHour(b *testing.B) {
	for b.Loop() {
		r := New(Options{Now: func() time.Time { return noon }, Autoscalers: []string{controller}, MaxBytes: 1 << 30})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		recordManyAutoscalers(b, r, 240)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		b.ReportMetric(float64(r.used)/1e6, "MB-closed")
		runtime.KeepAlive(r)
	}
}

// recordManyAutoscalers records a number of looks at each of 1,000 autoscalers of about 20 pods.
func recordManyAutoscalers(b *testing.B, r *Recorder, looks int) {
	b.Helper()
	for i := range 1000 {
		s := &loadedService{t: b, now: noon, random: newRandom(uint64(i)), user: controller}
		r.opts.Now = func() time.Time { return s.now }
		r.SetScaleTargets(s)
		s.join(fmt.Sprintf("web-%d", i), r)
		for j := range looks {
			s.load = 1_000_000 + 100_000*math.Sin(float64(i+j)/20)
			s.look()
		}
	}
}

// BenchmarkSave is a save of a full record of 1,000 autoscalers of about 20 pods. "MB-file" is the size of the file.
func BenchmarkSave(b *testing.B) {
	r := New(Options{Now: func() time.Time { return noon }, Autoscalers: []string{controller}, Directory: b.TempDir()})
	recordManyAutoscalers(b, r, 100)
	for b.Loop() {
		if err := r.saveRecords(); err != nil {
			b.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(r.opts.Directory, recordFileName))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB-file")
}

// BenchmarkDecision is the memory of a decision in closed blocks, by the number of pods: each pod has another value and age at each look.
func BenchmarkDecision(b *testing.B) {
	for _, pods := range []int{1, 2, 5, 10, 20, 50, 100} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			decisions, bytes := 0, 0
			for b.Loop() {
				s := newLoadedService(b, "web", Options{MaxRecordBytes: 1 << 30, MaxBytes: 1 << 30})
				s.hpa.Spec.MinReplicas, s.hpa.Spec.MaxReplicas = new(int32(max(1, pods-2))), int32(pods+2)
				s.scaleTo(pods)
				s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
				for j := range 2000 {
					s.load = float64(50_000*pods) * (1 + 0.1*math.Sin(float64(j)/20))
					s.look()
				}
				decisions, bytes = decisions+2000, bytes+s.recorder.used
			}
			b.ReportMetric(float64(bytes)/float64(decisions), "B/decision")
		})
	}
}
