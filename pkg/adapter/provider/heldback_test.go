package provider

import (
	"testing"

	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestValuesWithoutHeldCounts: a sum without a small part of its counts is right within its promise, a ratio is not.
func TestValuesWithoutHeldCounts(t *testing.T) {
	t.Parallel()
	const waits = "1 pod: 1 warming up (a new series waits for the next page)"
	for name, tc := range map[string]struct {
		metric string
		held   float64
		want   string
	}{
		"sum, nothing held":   {"order_rate", 0, ""},
		"sum, a small part":   {"order_rate", 20, ""},
		"sum, a part":         {"order_rate", 200, waits},
		"ratio, nothing held": {"order_ratio", 0, ""},
		"ratio, a small part": {"order_ratio", 20, waits},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("a"))
			v := newQueueValue("a", 100)
			v.Window = 30e9
			w.embedded.values, w.held["a"] = []metric.Value{v}, tc.held
			w.demands.hpas = []discovery.Demand{{Metric: tc.metric, Namespace: "shop", External: true}}
			_, err := w.GetExternalMetric(t.Context(), "shop", nil, metricsprovider.ExternalMetricInfo{Metric: tc.metric})
			if tc.want != "" {
				checkStatus(t, err, 503, tc.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
