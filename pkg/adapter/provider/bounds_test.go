package provider

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	k8slabels "k8s.io/apimachinery/pkg/labels"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// manyValues is a selector of n values, each of length size.
func manyValues(t *testing.T, n, size int) k8slabels.Selector {
	t.Helper()
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%0*d", size, i)
	}
	return mustParse(t, "app notin ("+strings.Join(values, ",")+")")
}

func manyRequirements(t *testing.T, n int) k8slabels.Selector {
	t.Helper()
	return mustParse(t, strings.TrimSuffix(strings.Repeat("c!=v,", n), ","))
}

// TestRequestBounds: what is too long is rejected by each of the three reads, and leaves nothing behind.
func TestRequestBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 254)
	for name, tc := range map[string]struct {
		namespace, object, metric string
		selector                  k8slabels.Selector
		want                      string
	}{
		"metric name":       {metric: long, want: "has 254 bytes; the limit is 253"},
		"huge metric name":  {metric: strings.Repeat("ü", 400_000), want: "has 800000 bytes; the limit is 253"},
		"object name":       {object: "Not_A_Name", want: `"Not_A_Name" is not the name of an object`},
		"long object name":  {object: long, want: "is not the name of an object"},
		"path in an object": {object: "a/../b", want: "is not the name of an object"},
		"namespace":         {namespace: long, want: "is not the name of a namespace"},
		"requirements":      {selector: manyRequirements(t, 101), want: "a selector has 101 requirements; the limit is 100"},
		"values":            {selector: manyValues(t, 1001, 4), want: "a selector has 1001 values; the limit is 1000"},
		"selector bytes":    {selector: manyValues(t, 1000, 17), want: "a selector has 18004 bytes; the limit is 16384"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("a"))
			w.embedded.values = []metric.Value{fresh("a", 1)}
			namespace, metricName := tc.namespace, tc.metric
			if namespace == "" {
				namespace = "shop"
			}
			if metricName == "" {
				metricName = "request_per_second"
			}
			object := tc.object
			if object == "" {
				object = "a"
			}
			_, err := w.GetMetricByName(t.Context(), newNamespacedName(namespace, object), pods(metricName), tc.selector)
			errs := []error{err}
			if tc.object == "" {
				_, err = w.GetMetricBySelector(t.Context(), namespace, k8slabels.Everything(), pods(metricName), tc.selector)
				errs = append(errs, err)
				_, err = w.GetExternalMetric(t.Context(), namespace, tc.selector, metricsprovider.ExternalMetricInfo{Metric: metricName})
				errs = append(errs, err)
			}
			if tc.selector != nil {
				_, err = w.GetMetricBySelector(t.Context(), namespace, tc.selector, pods(metricName), k8slabels.Everything())
				errs = append(errs, err)
			}
			for _, err := range errs {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("error %.300v, want %q", err, tc.want)
				}
				if text, _ := json.Marshal(err); len(text) > 1500 {
					t.Errorf("the status has %d bytes", len(text))
				}
			}
			if n := len(w.demands.Demanded()); n != 0 || len(w.embedded.queries) != 0 {
				t.Errorf("%d demands and %d queries are left behind", n, len(w.embedded.queries))
			}
		})
	}
}

// TestRequestWithinBounds: the greatest request is served, and its selector is not repeated for each pod.
func TestRequestWithinBounds(t *testing.T) {
	t.Parallel()
	var all []labelledPod
	var found []metric.Value
	for i := range 200 {
		name := fmt.Sprintf("p-%03d", i)
		all, found = append(all, livePod(name)), append(found, fresh(name, 1))
	}
	w := newWorld(t, all...)
	w.embedded.values = found
	for _, selector := range []k8slabels.Selector{manyValues(t, 1000, 15), manyRequirements(t, 100)} {
		list, err := w.GetMetricBySelector(t.Context(), "shop", k8slabels.Everything(), pods("request_per_second"), selector)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(list); len(list.Items) != 200 || len(text) > 200*2048 {
			t.Errorf("%d items in %d bytes", len(list.Items), len(text))
		}
	}
	list, err := w.GetMetricBySelector(t.Context(), "shop", k8slabels.Everything(), pods("request_per_second"), mustParse(t, "code=500"))
	if err != nil || list.Items[0].Metric.Selector == nil {
		t.Errorf("a short selector is left out: %v", err)
	}
}

// TestPrefetchBounds: an HPA's demand has the bounds of a request.
func TestPrefetchBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	w.remote.values = []metric.Value{fresh("a", 1)}
	d := newObjectDemand("pods", "remote", "shop", "", k8slabels.Everything())
	d.Standing, d.MetricSelector = true, manyRequirements(t, 101)
	if err := w.prefetchDemandedMetric(t.Context(), d); err == nil || len(w.remote.queries) != 0 {
		t.Errorf("prefetched, error %v", err)
	}
	d.MetricSelector = nil
	if err := w.prefetchDemandedMetric(t.Context(), d); err != nil || len(w.remote.queries) != 1 {
		t.Errorf("%d queries, error %v", len(w.remote.queries), err)
	}
}
