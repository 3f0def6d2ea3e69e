// Runnable examples of the package.

package rule_test

import (
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// A pattern rule serves every metric whose name matches. Lookup expands it, and Expr adds the matchers of a request.
func ExampleLoad() {
	_, set, err := rule.Load([]byte(`
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- match: ^(.+)_per_second$
  query: sum by (namespace, pod) (rate({__name__="${1}_total"}[$window]))
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := set.Lookup("pods", "orders_per_second")
	if err != nil {
		fmt.Println(err)
		return
	}
	q := rule.Query{Rule: r, Namespace: "shop"}
	fmt.Println(r.Families(), r.Window)
	fmt.Println(q.Expr(30*time.Second, []string{"cart-0", "cart-1"}))
	_, err = set.Lookup("pods", "orders_per_secnd")
	fmt.Println(err)
	// Output:
	// [orders_total] auto
	// sum by (namespace, pod) (rate({__name__="orders_total",namespace="shop",pod=~"cart-0|cart-1"}[30s]))
	// no rule for metric "orders_per_secnd" on pods; nearest: orders_per_second
}
