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
			w.embedded.values = []metric.Value{queue("a", 1)}
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
