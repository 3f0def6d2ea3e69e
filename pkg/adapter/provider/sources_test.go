package provider

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestSourceNamespaces: a rule waits for the pods of its own namespaces alone, and only those are demanded.
func TestSourceNamespaces(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		metric, warming string // the namespace of a pod that warms up
		want            []string
		code            int
	}{
		"another namespace's pod": {"between", "evil", []string{"bank", "shop"}, 0},
		"one of its pods":         {"between", "bank", []string{"bank", "shop"}, 503},
		"a single namespace":      {"elsewhere", "shop", []string{"bank"}, 0},
		"all":                     {"everywhere", "evil", []string{""}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			young := livePod("young")
			young.Namespace, young.Started = tc.warming, noon
			w := newWorld(t, livePod("a"), young)
			w.embedded.values = []metric.Value{{Labels: map[string]string{"queue": "mail"}, Value: 7, Time: noon}}
			w.causes["young"] = metric.Omission{Reason: metric.ReasonWarmingUp}
			read := func() error {
				_, err := w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), metricsprovider.ExternalMetricInfo{Metric: tc.metric})
				return err
			}
			checkStatus(t, read(), 503, "asked for the first time")
			err := read()
			if tc.code == 0 && err != nil {
				t.Errorf("second read: %v", err)
			} else if tc.code != 0 {
				checkStatus(t, err, tc.code, "warming up")
			}
			var got []string
			for _, d := range w.demands.Demanded() {
				got = append(got, d.Namespace)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, slices.Compact(got)); diff != "" {
				t.Errorf("demanded namespaces (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDemandOfSomeNamespaces: a demand is new until each of its namespaces has it.
func TestDemandOfSomeNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	w.embedded.values = []metric.Value{{Labels: map[string]string{"queue": "mail"}, Value: 7, Time: noon}}
	w.demands.hpas = []discovery.Demand{{Metric: "between", Namespace: "shop", External: true}}
	_, err := w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), metricsprovider.ExternalMetricInfo{Metric: "between"})
	checkStatus(t, err, 503, "asked for the first time")
}
