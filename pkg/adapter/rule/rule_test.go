// Set, and rules for remote backends.

package rule

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// builtinSet returns the set of a configuration without rules.
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

// The limits of the embedded backend do not apply to a server, which keeps more.
func TestCompileRemote(t *testing.T) {
	t.Parallel()
	hour := config.Window{Duration: time.Hour}
	for name, tc := range map[string]struct {
		query  string
		window config.Window
		has    bool
		want   string
	}{
		"a name by pattern, long ago":  {`rate({__name__=~"a.*"}[2h] offset 1d)`, config.Window{}, false, ""},
		"a long window":                {`rate(a[$window])`, hour, true, ""},
		"no window":                    {`rate(a[$window])`, config.Window{}, false, "rules[0].window: required: the query uses [$window], and auto needs the backend scrape"},
		"auto":                         {`rate(a[$window])`, config.Window{Auto: true}, true, "rules[0].window: auto needs the backend scrape; give a duration"},
		"the labels are still checked": {`sum(a)`, config.Window{}, false, "rules[0].query: the result has no label namespace; aggregate by (namespace, pod)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.HasRules = true
			cfg.Rules = []config.Rule{{
				Metric: "m", Resource: "pods", Query: tc.query, Backend: "prometheus", Window: tc.window, HasWindow: tc.has,
				Labels: config.DefaultLabels(),
			}}
			_, err := Compile(&cfg)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("error %q, want %q", got, tc.want)
			}
		})
	}
}
