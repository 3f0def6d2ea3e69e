package provider

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestWarm: RunPrefetch evaluates the demands of autoscalers on remote backends as a request would, and no others.
func TestWarm(t *testing.T) {
	t.Parallel()
	web := mustParse(t, "app=web")
	standing := func(d discovery.Demand) discovery.Demand { d.Standing = true; return d }
	for name, tc := range map[string]struct {
		demand discovery.Demand
		want   []string // the queries' expressions
	}{
		"pods": {
			standing(newObjectDemand("pods", "remote", "shop", "", web)),
			[]string{`sum by (namespace, pod) (remote_gauge{namespace="shop",pod=~"a|b"})`},
		},
		"pods, by a metric selector": {
			standing(discovery.Demand{Resource: "pods", Metric: "remote", Namespace: "shop", Selector: web, MetricSelector: mustParse(t, "route=x")}),
			[]string{`sum by (namespace, pod) (remote_gauge{namespace="shop",pod=~"a|b",route="x"})`},
		},
		"one pod": {standing(newObjectDemand("pods", "remote", "shop", "a", nil)), []string{`sum by (namespace, pod) (remote_gauge{namespace="shop",pod="a"})`}},
		"pods of an object": {
			standing(newObjectDemand("deployments.apps", "remote", "shop", "web", nil)),
			[]string{`sum by (namespace, pod) (remote_gauge{namespace="shop",pod=~"a|b"})`},
		},
		"an object itself": {
			standing(newObjectDemand("services", "requests_of_service", "shop", "cart", nil)),
			[]string{`sum by (namespace, service) (requests{namespace="shop",service="cart"})`},
		},
		"external": {
			standing(discovery.Demand{External: true, Metric: "orders_or_fallback", Namespace: "shop", Selector: mustParse(t, "queue=x")}),
			[]string{`sum by (queue) (orders_waiting{namespace="shop",queue="x"})`},
		},
		"of a reader":           {newObjectDemand("pods", "remote", "shop", "", web), nil},
		"on the embedded one":   {standing(newObjectDemand("pods", "in_flight", "shop", "", web)), nil},
		"target not known":      {standing(newObjectDemand("pods", "remote", "shop", "", nil)), nil},
		"pod that is gone":      {standing(newObjectDemand("pods", "remote", "shop", "c", nil)), nil},
		"object that is gone":   {standing(newObjectDemand("deployments.apps", "remote", "shop", "none", nil)), nil},
		"metric without a rule": {standing(newObjectDemand("pods", "nothing", "shop", "", web)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("b"), livePod("a"), deadPod("z", metric.ReasonTerminating, ""))
			w.demands.hpas = []discovery.Demand{tc.demand}
			w.prefetchStandingDemands(t.Context())
			var got []string
			for _, q := range w.remote.queries {
				got = append(got, q.Expr(0, q.Objects))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(w.embedded.queries) > 0 {
				t.Errorf("the embedded backend was asked %d times", len(w.embedded.queries))
			}
			if len(w.demands.read) > 0 {
				t.Error("it counts as a reader's demand")
			}
		})
	}
}

func TestKeepWarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, livePod("a"))
		d := newObjectDemand("pods", "remote", "shop", "", mustParse(t, "app=web"))
		d.Standing = true
		w.demands.hpas = slices.Repeat([]discovery.Demand{d}, 20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Second)
		defer cancel()
		if err := w.RunPrefetch(ctx); err != nil {
			t.Error(err)
		}
		if n := len(w.remote.queries); n != 4*20 {
			t.Errorf("%d questions in a minute, want those of four rounds", n)
		}
	})
}
