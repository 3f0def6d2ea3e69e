package provider

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// rejectedFamily is a scraper that rejects a family of the pod b since a time.
type rejectedFamily struct {
	Scrapes
	family string
	since  time.Time
	ended  bool // the series
}

func (s rejectedFamily) RejectedSince(_, pod string, families []string) (time.Time, bool) {
	if pod != "b" || !slices.Contains(families, s.family) {
		return time.Time{}, false
	}
	return s.since, s.ended
}

// TestEndedFamilyHasNoPart: the store has no room for the series of a pod. What a window still has of them is not the pod's value.
func TestEndedFamilyHasNoPart(t *testing.T) {
	t.Parallel()
	w := newBuiltinWorld(t, "jobs_total counter 5", "jobs_per_second")
	w.Scrapes = rejectedFamily{Scrapes: w.Scrapes, family: "jobs_total", since: noon, ended: true}
	w.causes["b"] = metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "too many series"}
	list, err := w.listMetricsOfSelector(t.Context(), "shop", mustParse(t, "app=web"), pods("jobs_per_second"), k8slabels.Everything())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a=5", formatValueList(list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = w.GetMetricByName(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", "jobs_per_second"), nil)
	checkStatus(t, err, 503, "1 scrape failed (too many series)")
}

// TestSumNeedsRejectedFamily: the only pod of a workload has the family on its page, and it is rejected. An external sum is not whole.
func TestSumNeedsRejectedFamily(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		scrapes  rejectedFamily
		rejected bool
	}{
		"no room":                {rejectedFamily{family: "orders_waiting", since: noon, ended: true}, true},
		"longer than maxAge":     {rejectedFamily{family: "orders_waiting", since: noon.Add(-11 * time.Second)}, true},
		"a page":                 {rejectedFamily{family: "orders_waiting", since: noon.Add(-time.Second)}, false},
		"a family of other sums": {rejectedFamily{family: "other", since: noon, ended: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("a"), livePod("b"))
			w.embedded.values = []metric.Value{newQueueValue("x", 1)}
			w.demands.hpas = []discovery.Demand{{Metric: "orders_waiting", Namespace: "shop", External: true}}
			w.causes["b"] = metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "too many samples"}
			tc.scrapes.Scrapes = w.Scrapes
			w.Scrapes = tc.scrapes
			_, err := w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), metricsprovider.ExternalMetricInfo{Metric: "orders_waiting"})
			if tc.rejected {
				checkStatus(t, err, 503, "2 pods: 1 scrape failed (too many samples)")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
