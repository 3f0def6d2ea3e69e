package rule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPresence(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		`sum by (namespace, pod) (rate(a_total{code="500"}[$window]))`:                     `count by (namespace, pod) (a_total{code="500",namespace="shop",pod="x"})`,
		`rate(a_sum[30s]) / rate(a_count[30s])`:                                            `count by (namespace, pod) (a_sum{namespace="shop",pod="x"} or a_count{namespace="shop",pod="x"})`,
		`max_over_time(sum by (namespace, pod) (rate({"a.b", c="$window"}[20s]))[30s:2s])`: `count by (namespace, pod) ({__name__="a.b",c="$window",namespace="shop",pod="x"})`,
	} {
		q := Query{Rule: compileQuery(t, query).Presence(), Namespace: "shop", Objects: []string{"x"}}
		if diff := cmp.Diff(want, q.Expr(time.Minute, q.Objects)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	s := loadTestSet(t, "rules:\n- {metric: m, external: true, query: sum(a)}\n")
	if r, err := s.External("m"); err != nil || r.Presence() != nil {
		t.Errorf("presence of an external rule: %v, error %v", r.Presence(), err)
	}
}
