package query

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// TestDifferentBuckets: a quantile of pods' buckets together needs the same buckets in each pod.
func TestDifferentBuckets(t *testing.T) {
	t.Parallel()
	const merged, each = "histogram_quantile(0.9, sum by (le) (rate(x_bucket[$window])))", "max(histogram_quantile(0.9, sum by (pod, le) (rate(x_bucket[$window]))))"
	old, other := []string{"0.5", "1.0", "+Inf"}, []string{"0.5", "0.7", "1.0", "+Inf"}
	for name, c := range map[string]struct {
		query string
		pods  [][]string
		want  string // of the error; empty: a value
	}{
		"the same":               {merged, [][]string{old, old, old}, ""},
		"written differently":    {merged, [][]string{old, {"0.50", "1", "+Inf"}}, ""},
		"several histograms":     {merged, [][]string{old, append(old, old...)}, ""},
		"one has a bucket more":  {merged, [][]string{old, old, other}, "web-2: other buckets than web-0"},
		"one has a bucket less":  {merged, [][]string{other, old, other}, "web-1: other buckets than web-0"},
		"as many, and others":    {merged, [][]string{old, {"0.7", "1.0", "+Inf"}}, "web-1: other buckets than web-0"},
		"a quantile of each pod": {each, [][]string{old, other}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store.New(store.Options{Retention: 500 * time.Second})
			for pod, bounds := range c.pods {
				for i, bound := range bounds {
					for at := int64(-70_000); at <= 0; at += 2000 {
						l := labels.FromStrings(model.MetricNameLabel, "x_bucket", "namespace", "shop", "pod", fmt.Sprint("web-", pod), "le", bound, "route", fmt.Sprint(i/3))
						if len(bounds) != 6 {
							l = labels.NewBuilder(l).Del("route").Labels()
						}
						if _, err := s.Append(0, l, epoch+at, float64(100+at/1000)*10); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			r := compileRule(t, interval, "external: true", "query: '"+c.query+"'", "window: 30s")
			values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
			var missing *metric.MissingError
			got := ""
			if errors.As(err, &missing) {
				for _, o := range missing.Omissions {
					got += o.Object.Name + ": " + o.Detail
				}
			} else if err != nil || len(values) != 1 {
				t.Fatal(values, err)
			}
			if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
