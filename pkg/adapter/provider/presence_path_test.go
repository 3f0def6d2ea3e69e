package provider

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// TestPresenceOnTheEngine: a series is present from its first sample to its end, however old its newest sample.
func TestPresenceOnTheEngine(t *testing.T) {
	t.Parallel()
	set := compileRules(t, `
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- metric: errors
  query: sum by (namespace, pod) (rate(http_requests_total{code="500"}[$window]))
`)
	r, err := set.Lookup("pods", "errors")
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(store.Options{})
	add := func(pod, code string, age time.Duration, v float64) {
		l := labels.FromStrings("__name__", "http_requests_total", "namespace", "shop", "pod", pod, "code", code)
		if _, err := s.Append(0, l, noon.Add(-age).UnixMilli(), v); err != nil {
			t.Fatal(err)
		}
	}
	add("fresh", "500", time.Second, 5)
	add("old", "500", 40*time.Second, 5)
	add("other", "200", time.Second, 5)
	add("ended", "500", 3*time.Second, 5)
	add("ended", "500", 2*time.Second, math.Float64frombits(value.StaleNaN))
	e := query.New(s, query.Options{Settings: query.Settings{Interval: interval}, Timeout: time.Hour})
	q := rule.Query{Rule: r.Presence(), Namespace: "shop", Objects: []string{"fresh", "old", "other", "ended", "unknown"}}
	values, err := e.Evaluate(t.Context(), q, noon)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range values {
		if v.Reason == "" {
			got = append(got, v.Object.Name)
		}
	}
	if diff := cmp.Diff([]string{"fresh", "old"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
