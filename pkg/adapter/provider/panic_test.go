package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// panickingBackend panics over every query.
type panickingBackend struct{}

func (panickingBackend) Evaluate(context.Context, rule.Query, time.Time) ([]metric.Value, error) {
	panic("text of a series")
}

// TestPanicEndsOneRead: a panic is an error of its own read or prefetch, shows nothing of what was read, and is counted.
func TestPanicEndsOneRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	web := mustParse(t, "app=web")
	w.backends["prometheus"] = panickingBackend{}
	w.embedded.values = []metric.Value{fresh("a", 1)}
	for range 2 {
		_, err := w.GetMetricBySelector(t.Context(), "shop", web, pods("remote"), nil)
		var status apierrors.APIStatus
		if !errors.As(err, &status) || status.Status().Code != http.StatusInternalServerError || strings.Contains(err.Error(), "text of a series") {
			t.Errorf("a read that panics: %v", err)
		}
	}
	w.demands.hpas = []discovery.Demand{{Resource: "pods", Metric: "remote", Namespace: "shop", Selector: web, Standing: true}}
	w.prefetchStandingDemands(t.Context())
	if got := testutil.ToFloat64(w.metrics.panics); got != 3 {
		t.Errorf("%v panics counted, want 2 reads and a prefetch", got)
	}
	if _, err := w.GetMetricBySelector(t.Context(), "shop", web, pods("request_per_second"), nil); err != nil {
		t.Errorf("a read of another metric: %v", err)
	}
}
