package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// BenchmarkEvaluateQuantile evaluates a quantile of 100 pods with 24 buckets each: of each pod, and of all together.
func BenchmarkEvaluateQuantile(b *testing.B) {
	const pods, buckets = 100, 24
	data := store.New(store.Options{})
	for pod := range pods {
		for bucket := range buckets {
			bound := fmt.Sprintf("%g", float64(bucket+1)/8)
			if bucket == buckets-1 {
				bound = "+Inf"
			}
			l := labels.FromStrings(model.MetricNameLabel, "x_bucket", "namespace", "shop", "pod", fmt.Sprintf("checkout-7d9f8b6c5d-%05d", pod),
				"node", fmt.Sprintf("node-%02d", pod%50), "route", "/orders", "le", bound)
			for at := epoch - 100_000 + int64(pod*37)%2000; at <= epoch; at += 2000 {
				if _, err := data.Append(0, l, at, float64((at-epoch+100_000)*int64(bucket+1)/1000)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name   string
		lines  []string
		values int
	}{
		{"pods", []string{"query: histogram_quantile(0.95, sum by (namespace, pod, le) (rate(x_bucket[$window])))", "window: 60s"}, pods},
		{"together", []string{"external: true", "query: histogram_quantile(0.95, sum by (le) (rate(x_bucket[$window])))", "window: 60s"}, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			e := New(data, Options{})
			q := rule.Query{Rule: compileRule(b, interval, c.lines...), Namespace: "shop"}
			for b.Loop() {
				if values, err := e.Evaluate(b.Context(), q, time.UnixMilli(epoch)); err != nil || len(values) != c.values {
					b.Fatal(len(values), err)
				}
			}
		})
	}
}
