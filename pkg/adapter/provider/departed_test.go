package provider

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestDepartedPods: what departed pods have counted within the window is spread over the live pods of the same request.
func TestDepartedPods(t *testing.T) {
	t.Parallel()
	a, b, gone, old := livePod("a"), livePod("b"), departedPod("gone"), departedPod("old")
	again := livePod("b") // after an earlier pod of that name
	again.Created = noon.Add(-2 * time.Second)
	for name, tc := range map[string]struct {
		metric string // request_per_second by default
		pods   []labelledPod
		values []metric.Value
		causes causeOf
		// want is the list of pods, object the value of their Deployment, each by the text of its error if it has none.
		want, object string
	}{
		"in proportion": {
			pods: []labelledPod{a, b, gone}, values: []metric.Value{fresh("a", 1), fresh("b", 3), fresh("gone", 2)},
			want: "a=1500m b=4500m", object: "6",
		},
		"several": {
			pods: []labelledPod{a, b, gone, old}, values: []metric.Value{fresh("a", 1), fresh("b", 1), fresh("gone", 2), aged("old", 4, time.Minute)},
			want: "a=4 b=4", object: "8",
		},
		"equally over idle pods": {
			pods: []labelledPod{a, b, gone}, values: []metric.Value{fresh("a", 0), fresh("b", 0), fresh("gone", 2)},
			want: "a=1 b=1", object: "2",
		},
		"a pod created after the end of the common stretch": {
			pods: []labelledPod{a, again}, values: []metric.Value{fresh("a", 1), endedBefore("b", 3, 3*time.Second)}, want: "a=1 b=3", object: "4",
		},
		"an earlier pod of the name": {
			pods: []labelledPod{a, again}, values: []metric.Value{fresh("a", 1), aged("b", 3, 3*time.Second)},
			want: "a=4", object: "4",
		},
		"a pod that has left without a count": {
			pods: []labelledPod{a, gone}, values: []metric.Value{fresh("a", 1), fresh("gone", math.NaN())}, want: "a=1", object: "1",
		},
		"a pod that the engine omits": {
			pods: []labelledPod{a, gone}, values: []metric.Value{fresh("a", 1), omittedValue("gone", metric.ReasonDecreasing, "")}, want: "a=1", object: "1",
		},
		"a pod that leaves before its second page": {
			pods: []labelledPod{a, gone}, values: []metric.Value{fresh("a", 1), omittedValue("gone", metric.ReasonWarmingUp, "scraped for 0s")},
			want: "1 pod: 1 warming up (scraped for 0s)", object: "1 pod: 1 warming up (scraped for 0s)",
		},
		"under the name of a live pod": {
			pods: []labelledPod{a, again}, values: []metric.Value{fresh("a", 1), aged("b", 2, time.Minute)},
			causes: causeOf{"b": {Reason: metric.ReasonWarmingUp}},
			want:   "a=3", object: "a sum over 2 pods needs them all: 1 warming up",
		},
		"over none": {
			pods: []labelledPod{gone}, values: []metric.Value{fresh("gone", 2)},
			want: "1 pod: 1 terminating (pod is gone)", object: "1 pod: 1 terminating (pod is gone)",
		},
		"over a pod without a value": {
			pods: []labelledPod{a, gone}, values: []metric.Value{fresh("gone", 2)}, causes: causeOf{"a": {Reason: metric.ReasonWarmingUp}},
			want: "1 pod: 1 warming up, 1 terminating (pod is gone)", object: "1 pod: 1 warming up, 1 terminating (pod is gone)",
		},
		"not over a substitute": {
			metric: "zero_if_missing", pods: []labelledPod{a, b, gone}, values: []metric.Value{fresh("a", 1), fresh("gone", 2)},
			want: "a=3 b=0", object: "3",
		},
		"not of a gauge": {
			metric: "balance", pods: []labelledPod{a, gone}, values: []metric.Value{fresh("a", 1), fresh("gone", 2)}, want: "a=1", object: "1",
		},
		"not of a remote rule": {
			metric: "remote", pods: []labelledPod{a, gone}, values: []metric.Value{fresh("a", 1), fresh("gone", 2)}, want: "a=1", object: "1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.metric == "" {
				tc.metric = "request_per_second"
			}
			w := newWorld(t, tc.pods...)
			w.demandEverything(tc.metric)
			w.embedded.values, w.remote.values = tc.values, tc.values
			for k, v := range tc.causes {
				w.causes[k] = v
			}
			got := ""
			list, err := w.listMetricsOfSelector(t.Context(), "shop", mustParse(t, "app=web"), pods(tc.metric), k8slabels.Everything())
			if err != nil {
				got = err.Error()
			} else {
				got = formatValueList(list)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("pods (-want +got):\n%s", diff)
			}
			object, err := w.getMetricOfNamedObject(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", tc.metric), nil)
			if err != nil {
				got = err.Error()
			} else {
				got = object.Value.String()
			}
			if diff := cmp.Diff(tc.object, got); diff != "" {
				t.Errorf("Deployment (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDepartedPodIsNotShown: a request for a single pod has that pod's own value, and none for a departed one.
func TestDepartedPodIsNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"), departedPod("gone"))
	w.demandEverything("request_per_second")
	w.embedded.values = []metric.Value{fresh("a", 1), fresh("gone", 2)}
	v, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "a"), pods("request_per_second"), nil)
	if err != nil || v.Value.String() != "1" {
		t.Errorf("value %v, error %v", v, err)
	}
	_, err = w.GetMetricByName(t.Context(), newNamespacedName("shop", "gone"), pods("request_per_second"), nil)
	checkStatus(t, err, 503, "pod gone: 1 terminating (pod is gone)")
}

// endedBefore returns a value over a stretch that ended so long ago, with a sample of now.
func endedBefore(pod string, v float64, ago time.Duration) metric.Value {
	out := aged(pod, v, ago)
	out.Lag = ago
	return out
}
