package provider

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestSumsWaitForSeriesToCome: an expression over a namespace shows no gap for series that are still to come.
func TestSumsWaitForSeriesToCome(t *testing.T) {
	t.Parallel()
	const waits, served = "2 pods: 1 warming up", ""
	young, old := noon.Add(-5*time.Second), noon.Add(-time.Minute)
	for name, tc := range map[string]struct {
		metric string
		pod    func(*labelledPod)
		page   bool // it has the family
		want   string
	}{
		"no page so far":                      {metric: "orders_waiting", want: waits},
		"a page":                              {metric: "orders_waiting", page: true, want: served},
		"a page of a young pod":               {metric: "order_rate", page: true, pod: func(p *labelledPod) { p.Started = young }, want: waits},
		"a page of an older pod":              {metric: "order_rate", page: true, pod: func(p *labelledPod) { p.Started = old }, want: served},
		"not ready, of a rate":                {metric: "order_rate", pod: func(p *labelledPod) { p.Ready = false }, want: served},
		"not ready, of a gauge":               {metric: "orders_waiting", pod: func(p *labelledPod) { p.Ready = false }, want: waits},
		"not live":                            {metric: "orders_waiting", pod: func(p *labelledPod) { p.Live = false }, want: served},
		"departed, as the backend still adds": {metric: "order_rate", pod: func(p *labelledPod) { p.Live, p.Departed = false, true }, want: served},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := livePod("b")
			if tc.pod != nil {
				tc.pod(&pod)
			}
			w := newWorld(t, livePod("a"), pod)
			w.embedded.values = []metric.Value{newQueueValue("a", 1)}
			w.causes["b"] = metric.Omission{Reason: metric.ReasonWarmingUp}
			if tc.page {
				w.types["b/orders_waiting"], w.types["b/orders_total"] = model.MetricTypeGauge, model.MetricTypeCounter
			}
			w.demands.hpas = []discovery.Demand{{Metric: tc.metric, Namespace: "shop", External: true}}
			_, err := w.GetExternalMetric(t.Context(), "shop", nil, metricsprovider.ExternalMetricInfo{Metric: tc.metric})
			if tc.want == served {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkStatus(t, err, 503, tc.want)
		})
	}
}

// TestSumsWaitForSilentPodsOfAWorkload: a pod that never answered may be any service, but not if the other pods of its workload have
// the family.
func TestSumsWaitForSilentPodsOfAWorkload(t *testing.T) {
	t.Parallel()
	const waits, served = "2 pods: 1 scrape failed (timeout after 2s)", ""
	for name, tc := range map[string]struct {
		owners [2]string
		change func(*labelledPod)
		page   bool // the silent pod had a page with the family
		want   string
	}{
		"of the same workload":            {owners: [2]string{"ReplicaSet/web", "ReplicaSet/web"}, want: waits},
		"of another workload":             {owners: [2]string{"ReplicaSet/web", "ReplicaSet/db"}, want: served},
		"of no workload":                  {want: served},
		"not ready":                       {owners: [2]string{"ReplicaSet/web", "ReplicaSet/web"}, change: func(p *labelledPod) { p.Ready = false }, want: served},
		"known to the backend for itself": {owners: [2]string{"ReplicaSet/web", "ReplicaSet/web"}, page: true, want: served},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := livePod("a"), livePod("b")
			a.Owner, b.Owner = tc.owners[0], tc.owners[1]
			if tc.change != nil {
				tc.change(&b)
			}
			w := newWorld(t, a, b)
			w.embedded.values = []metric.Value{newQueueValue("a", 1)}
			w.causes["b"] = metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "timeout after 2s"}
			pages := []string{"a"}
			if tc.page {
				pages = append(pages, "b")
			}
			for _, pod := range pages {
				w.types[pod+"/orders_total"] = model.MetricTypeCounter
			}
			w.demands.hpas = []discovery.Demand{{Metric: "order_rate", Namespace: "shop", External: true}}
			_, err := w.GetExternalMetric(t.Context(), "shop", nil, metricsprovider.ExternalMetricInfo{Metric: "order_rate"})
			if tc.want == served {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkStatus(t, err, 503, tc.want)
		})
	}
}
