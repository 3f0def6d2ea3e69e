// Runnable examples of the package.

package query_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// A rule is evaluated in memory: the samples are appended by hand, where the adapter would scrape them.
func ExampleEngine_Evaluate() {
	_, set, err := rule.Load([]byte(`
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- metric: request_per_second
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
  window: 30s
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := set.Lookup("pods", "request_per_second")
	if err != nil {
		fmt.Println(err)
		return
	}

	samples := store.New(store.Options{})
	begin := time.UnixMilli(1_700_000_000_000)
	series := labels.FromStrings("__name__", "http_requests_total", "namespace", "shop", "pod", "cart-0")
	for i := range 31 { // a sample every 2 s for a minute: 80 requests each, 40 a second
		at := begin.Add(time.Duration(i) * 2 * time.Second)
		if _, err := samples.Append(0, series, at.UnixMilli(), float64(80*i)); err != nil {
			fmt.Println(err)
			return
		}
	}

	engine := query.New(samples, query.Options{Settings: query.Settings{Interval: 2 * time.Second}})
	now := begin.Add(61 * time.Second)
	values, err := engine.Evaluate(context.Background(), rule.Query{Rule: r, Namespace: "shop"}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range values {
		fmt.Printf("%s: %.1f/s over %s, %s old\n", v.Object, v.Value, v.Window, v.Age(now))
	}
	// Output: shop/cart-0: 40.0/s over 30s, 1s old
}
