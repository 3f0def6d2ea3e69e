package rule

import (
	"testing"
	"time"

	"tachometer/pkg/config"
)

// builtinSet is the set of a configuration without rules.
func builtinSet(t testing.TB) *Set {
	t.Helper()
	cfg := config.Default()
	s, err := Compile(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBuiltinRules(t *testing.T) {
	t.Parallel()
	s := builtinSet(t)
	for name, want := range map[string]string{
		"request_per_second":                `sum by (namespace, pod) (rate(http_requests_total{namespace="shop",pod=~"cart-1|cart-2"}[30s]))`,
		"orders_per_second":                 `sum by (namespace, pod) (rate({__name__="orders_total",namespace="shop",pod=~"cart-1|cart-2"}[30s]))`,
		"http_request_duration_seconds_p95": `histogram_quantile(95 / 100, sum by (namespace, pod, le) (rate({__name__="http_request_duration_seconds_bucket",namespace="shop",pod=~"cart-1|cart-2"}[30s])))`,
		"http_requests_in_flight":           `sum by (namespace, pod) ({__name__="http_requests_in_flight",namespace="shop",pod=~"cart-1|cart-2"})`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := s.Lookup("pods", name)
			if err != nil {
				t.Fatal(err)
			}
			got := Query{Rule: r, Namespace: "shop"}.Expr(30*time.Second, []string{"cart-2", "cart-1"})
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
