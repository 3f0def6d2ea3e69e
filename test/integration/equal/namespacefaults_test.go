package equal

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

// TestBadSeriesOfOneNamespace: on real servers, series of bank that a rule cannot join take no number from shop.
func TestBadSeriesOfOneNamespace(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	series := func(l ...string) servers.Series {
		return servers.Series{Labels: labels.FromStrings(l...), Samples: []servers.Sample{{T: now.Add(-time.Second).UnixMilli(), V: 3}}}
	}
	opts := servers.Options{Series: []servers.Series{
		series("__name__", "queue", "namespace", "shop", "pod", "web-1"), series("__name__", "weight", "namespace", "shop", "pod", "web-1"),
		series("__name__", "queue", "namespace", "bank", "pod", "web-1"),
		series("__name__", "weight", "namespace", "bank", "pod", "web-1", "x", "1"), series("__name__", "weight", "namespace", "bank", "pod", "web-1", "x", "2"),
	}}
	for name, start := range map[string]func(testing.TB, servers.Options) *servers.Server{"Prometheus": servers.Prometheus, "VictoriaMetrics": servers.VictoriaMetrics} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := remote.New(config.Backend{Name: "remote", URL: start(t, opts).URL}, remote.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for expr, want := range map[string]float64{"queue * on (namespace, pod) weight": 9, "weight": 3} {
				r := question{lines: []string{"query: '" + expr + "'"}}.compile(t, "remote")
				for _, namespace := range []string{"bank", "shop", "bank"} { // from the second read on one query is for both
					values, err := b.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: namespace}, now)
					switch {
					case namespace == "bank" && (err == nil || !strings.Contains(err.Error(), "x=") && !strings.Contains(err.Error(), "duplicate")):
						t.Errorf("%s of bank: %v, %v; want an error", expr, values, err)
					case namespace == "shop" && (err != nil || len(values) != 1 || values[0].Value != want):
						t.Errorf("%s of shop: %v, %v; want %v", expr, values, err, want)
					}
				}
			}
		})
	}
}
