package query

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// bucketedPod has a histogram with these bounds for each of its routes.
type bucketedPod struct {
	namespace string
	routes    [][]string
}

func newBucketStore(tb testing.TB, pods []bucketedPod) *store.Store {
	tb.Helper()
	s := store.New(store.Options{Retention: 500 * time.Second})
	for i, pod := range pods {
		for route, bounds := range pod.routes {
			for _, bound := range bounds {
				l := labels.FromStrings(model.MetricNameLabel, "x_bucket", "namespace", pod.namespace, "pod", fmt.Sprint("web-", i), "le", bound, "route", fmt.Sprint(route))
				for at := int64(-70_000); at <= 0; at += 2000 {
					if _, err := s.Append(0, l, epoch+at, float64(100+at/1000)*10); err != nil {
						tb.Fatal(err)
					}
				}
			}
		}
	}
	return s
}

// TestDifferentBuckets: a quantile of several histograms' buckets together needs the same buckets in each.
func TestDifferentBuckets(t *testing.T) {
	t.Parallel()
	quantile := func(buckets string) string { return "histogram_quantile(0.9, " + buckets + ")" }
	merged, rate := quantile("sum by (le) (rate(x_bucket[$window]))"), "(rate(x_bucket[$window]))"
	old, other := []string{"0.5", "1.0", "+Inf"}, []string{"0.5", "0.7", "1.0", "+Inf"}
	pod := func(routes ...[]string) bucketedPod { return bucketedPod{"shop", routes} }
	const remedy = ", so that their quantile would be wrong; wait for the end of the rollout, or give both the same buckets, or write " +
		"max(histogram_quantile(…, sum by (namespace, pod, le) (…)))"
	canary := []bucketedPod{pod(old), pod(old), pod(other)}
	const ofCanary = `web-2 has the bucket le="0.7", web-0 has not`
	for name, c := range map[string]struct {
		query string
		pods  []bucketedPod
		want  string // of the error; empty: a value
	}{
		"the same":                    {merged, []bucketedPod{pod(old), pod(old), pod(old)}, ""},
		"written differently":         {merged, []bucketedPod{pod(old), pod([]string{"0.50", "1", "+Inf"})}, ""},
		"several histograms":          {merged, []bucketedPod{pod(old), pod(old, old)}, ""},
		"one has a bucket more":       {merged, canary, ofCanary + remedy},
		"one has a bucket less":       {merged, []bucketedPod{pod(other), pod(old), pod(other)}, `web-0 has the bucket le="0.7", web-1 has not` + remedy},
		"as many, and others":         {merged, []bucketedPod{pod(old), pod([]string{"0.7", "1.0", "+Inf"})}, `web-0 has the bucket le="0.5", web-1 has not` + remedy},
		"two namespaces":              {merged, []bucketedPod{pod(old), {"mail", [][]string{other}}}, `web-1 has the bucket le="0.7", web-0 has not` + remedy},
		"two namespaces apart":        {"max(" + quantile("sum by (namespace, le) "+rate) + ")", []bucketedPod{pod(old), {"mail", [][]string{other}}}, ""},
		"an average":                  {quantile("avg by (le) " + rate), canary, ofCanary},
		"a maximum":                   {quantile("max by (le) " + rate), canary, ofCanary},
		"an average of the same":      {quantile("avg by (le) " + rate), []bucketedPod{pod(old), pod(old)}, ""},
		"without labels":              {quantile("sum without (pod, route, namespace) " + rate), canary, ofCanary},
		"another label":               {"max(" + quantile("sum by (route, le) "+rate) + ")", canary, ofCanary},
		"another label tells apart":   {"max(" + quantile("sum by (route, le) "+rate) + ")", []bucketedPod{pod(old, other), pod(old, other)}, ""},
		"a sum of sums":               {quantile("sum by (le) (sum by (pod, le) " + rate + ")"), canary, ofCanary},
		"chosen, then added":          {quantile("sum by (le) (topk(100, rate(x_bucket[$window])))"), canary, ofCanary},
		"newest values":               {quantile("sum without (pod, route, namespace) (x_bucket)"), canary, ofCanary},
		"a fraction":                  {"histogram_fraction(0, 0.5, sum by (le) " + rate + ")", canary, ofCanary},
		"joined":                      {quantile("sum by (le) (rate(x_bucket[$window]) unless on (pod) x_bucket{le=\"0.7\"})"), canary, ""},
		"a quantile of each pod":      {"max(" + quantile("sum by (namespace, pod, le) "+rate) + ")", canary, ""},
		"in a pod":                    {"max(" + quantile("sum by (namespace, pod, le) "+rate) + ")", []bucketedPod{pod(old, other)}, `a histogram of web-0 has the bucket le="0.7", another has not`},
		"a quantile of each, in pods": {"max(" + quantile("sum by (namespace, pod, route, le) "+rate) + ")", []bucketedPod{pod(old, other)}, ""},
		"twice":                       {merged, []bucketedPod{pod(old), pod([]string{"0.5", "1.0", "1", "+Inf"})}, `web-1 has the bucket le="1" twice, written differently`},
		"a bound that is no number":   {merged, []bucketedPod{pod(old), pod(append([]string{"all"}, old...))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace, lines := "shop", []string{"external: true", "query: '" + c.query + "'"}
			if strings.HasPrefix(name, "two namespaces") {
				namespace, lines = "", append(lines, "namespaced: false", "from: all")
			}
			if strings.Contains(c.query, "$window") {
				lines = append(lines, "window: 30s")
			}
			r := compileRule(t, interval, lines...)
			values, err := New(newBucketStore(t, c.pods), unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: namespace}, time.UnixMilli(epoch))
			switch {
			case c.want == "":
				if err != nil || len(values) != 1 {
					t.Errorf("%v, %v, want a value", values, err)
				}
			case err == nil || !strings.Contains(err.Error(), c.want):
				t.Errorf("%v, %v, want %s", values, err, c.want)
			}
		})
	}
}

// TestDifferentBucketsInAPod: a pod with histograms of different buckets has no quantile of both; the other pods have theirs.
func TestDifferentBucketsInAPod(t *testing.T) {
	t.Parallel()
	old, other := []string{"0.5", "1.0", "+Inf"}, []string{"0.5", "0.7", "1.0", "+Inf"}
	r := compileRule(t, interval, "query: histogram_quantile(0.9, sum by (namespace, pod, le) (rate(x_bucket[$window])))", "window: 30s")
	s := newBucketStore(t, []bucketedPod{{"shop", [][]string{old, old}}, {"shop", [][]string{old, other}}, {"shop", [][]string{other}}})
	values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range values {
		got = append(got, v.Object.Name+": "+string(v.Reason))
	}
	if want := []string{"web-0: ", "web-1: warming_up", "web-2: "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestUnboundedHistogram: a native histogram has only the last bucket in the text format, so that its quantile is unknown.
func TestUnboundedHistogram(t *testing.T) {
	t.Parallel()
	bounded, unbounded := []string{"0.5", "1.0", "+Inf"}, []string{"+Inf"}
	pods := []bucketedPod{{"shop", [][]string{bounded}}, {"shop", [][]string{unbounded, unbounded}}, {"shop", [][]string{unbounded, bounded}}}
	for _, query := range []string{
		"query: max by (namespace, pod) (histogram_quantile(0.9, rate(x_bucket[$window])))",
		"query: histogram_quantile(0.9, sum by (namespace, pod, le) (rate(x_bucket{route='0'}[$window])))",
	} {
		r := compileRule(t, interval, query, "window: 30s", "onMissing: zero")
		values, err := New(newBucketStore(t, pods), unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, v := range values {
			got[v.Object.Name] = strings.TrimSpace(string(v.Reason) + " " + v.Detail)
		}
		if want := "out_of_range " + unboundedHistogram; got["web-0"] != "" || got["web-1"] != want {
			t.Errorf("%s: %q, want web-1 %q", query, got, want)
		}
	}
	r := compileRule(t, interval, "external: true", "query: histogram_quantile(0.9, sum by (le) (rate(x_bucket[$window])))", "window: 30s")
	values, err := New(newBucketStore(t, pods[1:2]), unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
	if err == nil || !strings.Contains(err.Error(), `its only bucket is le="+Inf"`) {
		t.Errorf("external: %v, %v", values, err)
	}
}
