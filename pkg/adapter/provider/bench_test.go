package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// fixedPodGroup answers for the one group of pods that is read, as an index does: finding it is discovery's work.
type fixedPodGroup struct {
	podList
	pods []discovery.Pod
}

func (g fixedPodGroup) Pods(string, k8slabels.Selector) []discovery.Pod {
	return append([]discovery.Pod(nil), g.pods...)
}

// computed answers without computing.
type computed []metric.Value

func (c computed) Evaluate(context.Context, rule.Query, time.Time) ([]metric.Value, error) {
	return append([]metric.Value(nil), c...), nil
}

// BenchmarkRead is one read of a group of 20 pods out of 1,000: the provider alone, with the embedded backend over 30
// samples a pod, and with the library's routing and encoding around it.
func BenchmarkRead(b *testing.B) {
	const groupSize, all, samples = 20, 1000, 30
	w := newWorld(b)
	s := store.New(store.Options{})
	var group fixedPodGroup
	var values computed
	for i := range all {
		pod := livePod(fmt.Sprintf("web-%04d", i))
		if i < groupSize {
			group.pods = append(group.pods, pod.Pod)
			values = append(values, fresh(pod.Name, float64(i)))
		}
		l := labels.FromStrings("__name__", "http_requests_total", "namespace", pod.Namespace, "pod", pod.Name, "node", pod.Node,
			"method", "GET", "route", "/orders", "code", "200")
		for j := range samples {
			at := noon.Add(time.Duration(j-samples) * 2 * time.Second)
			if _, err := s.Append(0, l, at.UnixMilli(), float64(j*i)); err != nil {
				b.Fatal(err)
			}
		}
	}
	w.Pods = group
	selector, err := k8slabels.Parse("app=web")
	if err != nil {
		b.Fatal(err)
	}
	read := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.demands.read = w.demands.read[:0] // the log of the fake, not the provider's
			list, err := w.GetMetricBySelector(b.Context(), "shop", selector, pods("request_per_second"), nil)
			if err != nil || len(list.Items) != groupSize {
				b.Fatal(err, list)
			}
		}
	}
	w.backends["scrape"] = values
	b.Run("provider", read)
	w.backends["scrape"] = query.New(s, query.Options{})
	b.Run("provider+engine", read)
	handler := newHandler(b, w.Provider)
	b.Run("provider+engine+http", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.demands.read = w.demands.read[:0]
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(b.Context(), http.MethodGet,
				"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dweb", nil))
			if answer.Code != http.StatusOK {
				b.Fatal(answer.Body)
			}
		}
	})
}
