package provider

import (
	"strings"
	"testing"
	"time"

	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestCheckWarmByReason checks which answers a new replica waits for: those that the next scrapes may complete.
func TestCheckWarmByReason(t *testing.T) {
	t.Parallel()
	everything := k8slabels.Everything()
	ofPods := newObjectDemand("pods", "request_per_second", "shop", "", everything)
	for name, tc := range map[string]struct {
		demand discovery.Demand
		reason metric.Reason // of the second pod; the first has a value
		cold   string        // part of the error; empty: warm
	}{
		"a pod that warms up":              {ofPods, metric.ReasonWarmingUp, "1 warming up"},
		"a pod that is no target yet":      {ofPods, metric.ReasonNotScraped, "1 not scraped"},
		"a pod that refuses connections":   {ofPods, metric.ReasonScrapeFailed, ""},
		"a pod without the series":         {ofPods, metric.ReasonAbsent, ""},
		"a deployment's sum":               {newObjectDemand("deployments.apps", "request_per_second", "shop", "web", nil), metric.ReasonWarmingUp, "1 warming up"},
		"a deployment's sum without a pod": {newObjectDemand("deployments.apps", "request_per_second", "shop", "web", nil), metric.ReasonScrapeFailed, ""},
		"one pod":                          {newObjectDemand("pods", "request_per_second", "shop", "b", nil), metric.ReasonWarmingUp, "1 warming up"},
		"one pod that does not exist":      {newObjectDemand("pods", "request_per_second", "shop", "z", nil), metric.ReasonWarmingUp, ""},
		"an unknown selector":              {newObjectDemand("pods", "request_per_second", "shop", "", nil), metric.ReasonWarmingUp, ""},
		"no pod":                           {newObjectDemand("pods", "request_per_second", "empty", "", everything), metric.ReasonWarmingUp, ""},
		"no rule":                          {newObjectDemand("pods", "no_such_metric", "shop", "", everything), metric.ReasonWarmingUp, ""},
		"another backend":                  {newObjectDemand("pods", "remote", "shop", "", everything), metric.ReasonWarmingUp, ""},
		"an external sum":                  {discovery.Demand{Metric: "orders_waiting", Namespace: "shop", External: true}, metric.ReasonWarmingUp, "1 warming up"},
		"an external metric without rule":  {discovery.Demand{Metric: "no_such_metric", Namespace: "shop", External: true}, metric.ReasonWarmingUp, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("a"), livePod("b"))
			w.embedded.values = []metric.Value{newQueueValue("a", 1)}
			if !tc.demand.External {
				w.embedded.values = []metric.Value{fresh("a", 1)}
			}
			w.causes["b"] = metric.Omission{Reason: tc.reason}
			w.demands.hpas = []discovery.Demand{tc.demand}
			err := w.CheckWarm(t.Context(), tc.demand)
			if tc.cold == "" && err != nil || tc.cold != "" && (err == nil || !strings.Contains(err.Error(), tc.cold)) {
				t.Errorf("got %v, want %q", err, tc.cold)
			}
		})
	}
}

// TestNewReplicaIsWarmWithItsValues starts a replica beside steady services. Each demand is warm from the moment on at which a request for it
// gets the value of every pod, and all are within three scrape intervals of the first round.
func TestNewReplicaIsWarmWithItsValues(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	c := &chain{t: t, now: time.Minute, services: []*service{
		{labelledPod: livePod("a"), rate: 40, stop: never, offset: 300 * time.Millisecond},
		{labelledPod: livePod("b"), rate: 100, stop: never, offset: 1100 * time.Millisecond},
		{labelledPod: livePod("c"), rate: 60, stop: never, offset: 1900 * time.Millisecond},
	}}
	c.restart()
	everything := k8slabels.Everything()
	demands := map[string]discovery.Demand{
		"pods": newObjectDemand("pods", "request_per_second", "shop", "", everything), "deployment": newObjectDemand("deployments.apps", "request_per_second", "shop", "web", nil),
		"namespace": newObjectDemand("namespaces", "traffic", "", "shop", nil), "external": {Metric: "all_traffic", Namespace: "shop", External: true},
	}
	reads, warmAfter := c.reads(), map[string]time.Duration{}
	for since := time.Duration(0); since < 12*time.Second; since = c.now - time.Minute {
		c.advance()
		for name, d := range demands {
			got, err := reads[name]()
			complete := err == nil && (name != "pods" || len(got) == len(c.services))
			cold := c.provider.CheckWarm(t.Context(), d)
			if complete != (cold == nil) {
				t.Fatalf("%s after %v: the request gets %v (%v), but the demand is cold: %v", name, since, got, err, cold)
			}
			if _, known := warmAfter[name]; cold == nil && !known {
				warmAfter[name] = since
			}
		}
	}
	for name := range demands {
		// The first round of this chain takes an interval.
		if after, ok := warmAfter[name]; !ok || after > 4*interval {
			t.Errorf("%s is warm after %v (%v), want at most four intervals", name, after, ok)
		}
	}
	t.Log(warmAfter)
}
