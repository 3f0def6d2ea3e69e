package provider

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// endedValue returns a value whose series have ended.
func endedValue(v metric.Value) metric.Value {
	v.Ended = true
	return v
}

// TestNeverAWrongNumber holds the rows of the design's table of that name, for what an HPA's Pods metric reads: all pods
// of app web in namespace shop.
func TestNeverAWrongNumber(t *testing.T) {
	t.Parallel()
	w, a, b := livePod("w"), livePod("a"), livePod("b")
	again := livePod("b") // after an earlier pod of that name
	again.Created = noon.Add(-2 * time.Second)
	nan, inf := math.NaN(), math.Inf(1)
	for name, tc := range map[string]struct {
		pods   []labelledPod
		values []metric.Value
		err    error // of the backend
		causes causeOf
		metric string // request_per_second by default
		// want are pod=value in order; or else code and message of the error.
		want    string
		code    int
		message string
		omitted map[metric.Reason]int
	}{
		"all have values": {
			pods: []labelledPod{b, a}, values: []metric.Value{fresh("a", 1.5), fresh("b", 2)},
			want: "a=1500m b=2",
		},

		"pod has fewer than two counter samples: left out": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1)},
			causes:  causeOf{"b": {Reason: metric.ReasonWarmingUp}},
			want:    "a=1",
			omitted: map[metric.Reason]int{metric.ReasonWarmingUp: 1},
		},
		"pod has no sample within maxAge: left out": {
			pods: []labelledPod{a, b}, values: []metric.Value{aged("a", 1, 10*time.Second), aged("b", 2, 10*time.Second+time.Millisecond)},
			want:    "a=1",
			omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"pod's samples are of an earlier pod of its name: a departed pod's": {
			pods: []labelledPod{a, again}, values: []metric.Value{fresh("a", 1), endedValue(aged("b", 2, 1500*time.Millisecond))},
			want:    "a=3",
			omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"pod's samples are of the second in which it was created, and go on: left out": {
			pods: []labelledPod{a, again}, values: []metric.Value{fresh("a", 1), aged("b", 2, 1500*time.Millisecond)},
			want:    "a=1",
			omitted: map[metric.Reason]int{metric.ReasonWarmingUp: 1},
		},
		"pod's sample is from the future: left out": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1), aged("b", 2, -11*time.Second)},
			want:    "a=1",
			omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"pod's value has no time: left out": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1), {Object: b.Object(), Value: 5}},
			want:    "a=1",
			omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},

		"pod terminating, succeeded or failed: left out whatever the store holds": {
			pods:   []labelledPod{a, deadPod("b", metric.ReasonTerminating, ""), deadPod("c", metric.ReasonTerminating, "pod has failed")},
			values: []metric.Value{fresh("a", 1), fresh("b", 2), fresh("c", 3)},
			want:   "a=1", omitted: map[metric.Reason]int{metric.ReasonTerminating: 2},
		},
		"pod gone: left out whatever the store holds": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", 1), fresh("gone", 2)},
			want: "a=1",
		},

		"NaN, one of many: left out": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1), fresh("b", nan)},
			want: "a=1", omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"NaN, the only one: error": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", nan)},
			code: 503, message: "1 pod: 1 not a number", omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"Inf, one of many: left out": {
			pods: []labelledPod{a, b, w}, values: []metric.Value{fresh("a", inf), fresh("b", 1), fresh("w", math.Inf(-1))},
			want: "b=1", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 2},
		},
		"Inf, the only one: error": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", inf)},
			code: 503, message: "1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"beyond the range of a quantity: error": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", 1e16)},
			code: 503, message: "1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"sum beyond what the autoscaler can add up: error": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 5e15), fresh("b", 5e15)},
			code: 503, message: "2 values: their sum is out of range",
		},

		"negative: error": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1), fresh("b", -0.5)},
			code: 500, message: `rule "request_per_second" gives -0.5 for shop/b: negative values are rejected; correct the query, or set allowNegative: true`,
			omitted: map[metric.Reason]int{metric.ReasonNegative: 1},
		},
		"negative with allowNegative: served": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1), fresh("b", -0.5)}, metric: "balance",
			want: "a=1 b=-500m",
		},
		"negative that rounds to zero: zero": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", -1e-17)},
			want: "a=0",
		},

		"no pod matches the selector: 404 with namespace and selector": {
			code: 404, message: `no pod matches selector "app=web" in namespace "shop"`,
		},

		"pods match, none has a value: 503 with the reasons by count": {
			pods: []labelledPod{a, b, w},
			causes: causeOf{
				"a": {Reason: metric.ReasonScrapeFailed, Detail: "connection refused"},
				"b": {Reason: metric.ReasonScrapeFailed, Detail: "connection refused"},
				"w": {Reason: metric.ReasonWarmingUp},
			},
			code: 503, message: "3 pods: 2 scrape failed (connection refused), 1 warming up",
			omitted: map[metric.Reason]int{metric.ReasonScrapeFailed: 2, metric.ReasonWarmingUp: 1},
		},
		"pods match, none is live: 503": {
			pods: []labelledPod{deadPod("a", metric.ReasonTerminating, ""), deadPod("b", metric.ReasonTerminating, "")},
			code: 503, message: "2 pods: 2 terminating", omitted: map[metric.Reason]int{metric.ReasonTerminating: 2},
		},
		"pods match, none has the series: 503": {
			pods: []labelledPod{a},
			code: 503, message: "1 pod: 1 absent (no series of it matches)", omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"pods match, none can be scraped: 503 with what to change": {
			pods: []labelledPod{a}, causes: causeOf{"a": {Reason: metric.ReasonNotScraped, Detail: "no port is declared"}},
			code: 503, message: "1 pod: 1 not scraped (no port is declared)", omitted: map[metric.Reason]int{metric.ReasonNotScraped: 1},
		},
		"pods match, none has a sample that counts: 503 with the engine's words": {
			pods: []labelledPod{a}, values: []metric.Value{omittedValue("a", metric.ReasonStale, "no sample since pods came or went, and load with them")},
			code: 503, message: "1 pod: 1 stale (no sample since pods came or went, and load with them)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"pods match, all values old: 503": {
			pods: []labelledPod{a}, values: []metric.Value{aged("a", 1, time.Minute)},
			code: 503, message: "1 pod: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"pods match, all values old because the scrapes fail: 503 with the cause": {
			pods: []labelledPod{a}, values: []metric.Value{aged("a", 1, time.Minute)},
			causes: causeOf{"a": {Reason: metric.ReasonScrapeFailed, Detail: "timeout after 2s"}},
			code:   503, message: "1 pod: 1 scrape failed (timeout after 2s)", omitted: map[metric.Reason]int{metric.ReasonScrapeFailed: 1},
		},

		"no rule for the metric: 404 with the nearest": {
			pods: []labelledPod{a}, metric: "request_per_secnd",
			code: 404, message: "request_per_second",
		},

		"backend slow: last value while younger than maxAge": {
			pods: []labelledPod{a}, values: []metric.Value{aged("a", 1, 9*time.Second)}, metric: "remote",
			want: "a=1",
		},
		"backend slow for longer than maxAge: 503": {
			pods: []labelledPod{a}, values: []metric.Value{aged("a", 1, 11*time.Second)}, metric: "remote",
			code: 503, message: "1 pod: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"backend down: 503 with the cause and since when": {
			pods: []labelledPod{a}, metric: "remote",
			err:  metric.Errorf(metric.KindUnavailable, `backend "prometheus": connection refused since 11:58:03`),
			code: 503, message: `backend "prometheus": connection refused since 11:58:03`,
		},
		"backend has no series: 503": {
			pods: []labelledPod{a}, metric: "remote",
			code: 503, message: "1 pod: 1 absent (backend prometheus has no series)", omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"partial response: 503": {
			pods: []labelledPod{a}, metric: "remote",
			err:  metric.Errorf(metric.KindUnavailable, `backend "prometheus": partial response: store 2 timed out`),
			code: 503, message: `partial response`,
		},

		"duplicate series for one pod: error naming the rule": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", 1), fresh("a", 2)},
			code: 500, message: `rule "request_per_second": two values for pod "shop/a"`,
		},
		"result without the pod's label: error naming rule and labels": {
			pods: []labelledPod{a},
			err:  metric.Errorf(metric.KindInternal, `rule "request_per_second": no label pod in {namespace="shop"}`),
			code: 500, message: `rule "request_per_second": no label pod in {namespace="shop"}`,
		},
		"error that is not meant for people: 500 that does not tell it": {
			pods: []labelledPod{a}, err: errors.New("dial 10.0.0.7: secret"),
			code: 500, message: `metric "request_per_second": internal error; the adapter's log has the cause`,
		},

		"onMissing does not apply to a pod that is not scraped so far: 503": {
			pods: []labelledPod{a}, causes: causeOf{"a": {Reason: metric.ReasonNotScraped, Detail: "pod has no address yet"}}, metric: "zero_if_missing",
			code: 503, message: "1 pod: 1 not scraped (pod has no address yet)", omitted: map[metric.Reason]int{metric.ReasonNotScraped: 1},
		},
		"onMissing zero: that value for every live pod known to have no number": {
			pods: []labelledPod{a, b, w, deadPod("z", metric.ReasonTerminating, "")}, values: []metric.Value{fresh("a", 1), fresh("w", nan)},
			metric: "zero_if_missing", want: "a=1 b=0 w=0",
			omitted: map[metric.Reason]int{metric.ReasonAbsent: 1, metric.ReasonNotANumber: 1, metric.ReasonTerminating: 1},
		},
		"onMissing does not apply to a pod that does not answer: its number is unknown": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1)},
			causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed, Detail: "timeout after 2s"}}, metric: "zero_if_missing",
			want: "a=1", omitted: map[metric.Reason]int{metric.ReasonScrapeFailed: 1},
		},
		"onMissing value: that value": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 1)}, metric: "seven_if_missing",
			want: "a=1 b=7", omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"onMissing while warming up: no value yet": {
			pods: []labelledPod{a}, causes: causeOf{"a": {Reason: metric.ReasonWarmingUp}}, metric: "zero_if_missing",
			code: 503, message: "1 pod: 1 warming up", omitted: map[metric.Reason]int{metric.ReasonWarmingUp: 1},
		},
		"onMissing and an omitted value: error": {
			pods: []labelledPod{a}, values: []metric.Value{fresh("a", inf)}, metric: "zero_if_missing",
			code: 503, message: "1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"onMissing and no pod: 404": {
			metric: "zero_if_missing",
			code:   404, message: `no pod matches selector "app=web" in namespace "shop"`,
		},
		"onMissing and the backend down: 503": {
			pods: []labelledPod{a}, err: metric.Errorf(metric.KindUnavailable, "query timed out"), metric: "zero_if_missing",
			code: 503, message: "query timed out",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.metric == "" {
				tc.metric = "request_per_second"
			}
			world := newWorld(t, tc.pods...)
			world.demands.hpas = append(world.demands.hpas, newObjectDemand("pods", tc.metric, "shop", "", mustParse(t, "app=web")))
			for _, backend := range []*scriptedBackend{world.embedded, world.remote} {
				backend.values, backend.err = tc.values, tc.err
			}
			for k, v := range tc.causes {
				world.causes[k] = v
			}
			ctx := klog.NewContext(t.Context(), klog.Logger{}) // one row logs, as it should
			got, err := world.GetMetricBySelector(ctx, "shop", mustParse(t, "app=web"), pods(tc.metric), k8slabels.Everything())
			if tc.code != 0 {
				checkStatus(t, err, tc.code, tc.message)
			} else if err != nil {
				t.Fatal(err)
			} else if diff := cmp.Diff(tc.want, formatValueList(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.omitted, world.omissions()); diff != "" {
				t.Errorf("tachometer_provider_omissions_total (-want +got):\n%s", diff)
			}
		})
	}
}

// omissions are the omissions counted so far, by reason.
func (w *world) omissions() map[metric.Reason]int {
	var out map[metric.Reason]int
	for _, r := range []metric.Reason{
		metric.ReasonScrapeFailed, metric.ReasonAbsent, metric.ReasonWarmingUp, metric.ReasonStale, metric.ReasonNotScraped,
		metric.ReasonTerminating, metric.ReasonNotANumber, metric.ReasonOutOfRange, metric.ReasonNegative,
	} {
		if n := testutil.ToFloat64(w.metrics.omissions.WithLabelValues(string(r))); n > 0 {
			if out == nil {
				out = map[metric.Reason]int{}
			}
			out[r] = int(n)
		}
	}
	return out
}

// checkValue compares a response with the value want, or, unless code is 0, with the status of that code with the message want.
func checkValue(t *testing.T, got *custom_metrics.MetricValue, err error, code int, want string) {
	t.Helper()
	if code != 0 {
		checkStatus(t, err, code, want)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Value.String() != want {
		t.Errorf("value %s, want %s", got.Value.String(), want)
	}
}

func checkStatus(t *testing.T, err error, code int, message string) {
	t.Helper()
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		t.Fatalf("error %v is no API status, want code %d", err, code)
	}
	got := s.Status()
	if int(got.Code) != code || !strings.Contains(got.Message, message) {
		t.Errorf("status %d %q, want %d %q", got.Code, got.Message, code, message)
	}
	wantReason := map[int]metav1.StatusReason{
		http.StatusBadRequest: metav1.StatusReasonBadRequest, http.StatusNotFound: metav1.StatusReasonNotFound,
		http.StatusServiceUnavailable: metav1.StatusReasonServiceUnavailable, http.StatusInternalServerError: metav1.StatusReasonInternalError,
	}[code]
	if got.Reason != wantReason {
		t.Errorf("reason %q, want %q", got.Reason, wantReason)
	}
	if got.Details == nil || got.Details.RetryAfterSeconds != 0 {
		t.Errorf("details %+v: want some, without retry-after", got.Details)
	}
}

func pods(name string) metricsprovider.CustomMetricInfo { return newResourceMetricInfo("pods", name) }

func newResourceMetricInfo(resource, name string) metricsprovider.CustomMetricInfo {
	return metricsprovider.CustomMetricInfo{GroupResource: schema.ParseGroupResource(resource), Metric: name}
}

func newNamespacedName(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}
