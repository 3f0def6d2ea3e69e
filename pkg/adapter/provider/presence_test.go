package provider

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// presentSeries is a backend whose store has living series of these pods, with or without values.
type presentSeries struct {
	Backend
	pods []string
}

func (b presentSeries) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	if !strings.HasPrefix(q.Expr(time.Minute, nil), "count by (namespace, pod)") {
		return b.Backend.Evaluate(ctx, q, now)
	}
	var out []metric.Value
	for _, pod := range b.pods {
		if slices.Contains(q.Objects, pod) {
			out = append(out, fresh(pod, 1))
		}
	}
	return out, nil
}

// TestAbsenceByTheStore: a page with the family, and a store without a series that the rule selects, prove that a pod adds
// nothing. The scraper alone would not know before the retention is over.
func TestAbsenceByTheStore(t *testing.T) {
	t.Parallel()
	const sum, warming = "3500m", "a sum over 3 pods needs them all: 1 warming up"
	for name, tc := range map[string]struct {
		cause   metric.Reason
		page    bool
		present []string
		started time.Duration // before now
		want    string
	}{
		"a page without a series that matches": {cause: metric.ReasonWarmingUp, page: true, started: time.Minute, want: sum},
		"the age is unknown":                   {cause: metric.ReasonWarmingUp, page: true, want: sum},
		"a series, and no value so far":        {cause: metric.ReasonWarmingUp, page: true, present: []string{"c"}, started: time.Minute, want: warming},
		"no page":                              {cause: metric.ReasonWarmingUp, started: time.Minute, want: warming},
		"a young pod":                          {cause: metric.ReasonWarmingUp, page: true, started: time.Second, want: warming},
		"an old page":                          {cause: metric.ReasonStale, page: true, started: time.Minute, want: "a sum over 3 pods needs them all: 1 stale"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := livePod("c")
			if tc.started > 0 {
				c.Started = noon.Add(-tc.started)
			}
			w := newWorld(t, livePod("a"), livePod("b"), c)
			w.demandEverything("request_per_second")
			w.embedded.values = []metric.Value{fresh("a", 1), fresh("b", 2.5)}
			w.backends["scrape"] = presentSeries{w.embedded, tc.present}
			w.causes["c"] = metric.Omission{Reason: tc.cause}
			if tc.page {
				w.types["c/http_requests_total"] = model.MetricTypeCounter
			}
			got := ""
			if v, err := w.getMetricOfNamedObject(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", "request_per_second"), nil); err != nil {
				got = err.Error()
			} else {
				got = v.Value.String()
			}
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}
