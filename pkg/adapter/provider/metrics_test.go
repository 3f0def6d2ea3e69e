package provider

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestSelfMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"), livePod("b"))
	w.embedded.values = []metric.Value{fresh("a", 1)}
	read := func(name string) {
		_, _ = w.GetMetricBySelector(t.Context(), "shop", mustParse(t, "app=web"), pods(name), nil)
	}
	read("request_per_second")
	read("zero_if_missing")
	read("zero_if_missing")
	read("nonsense")
	want := `
# HELP tachometer_provider_requests_total Requests by API (custom or external) and outcome (success, not_found, unavailable, invalid or internal).
# TYPE tachometer_provider_requests_total counter
tachometer_provider_requests_total{api="custom",outcome="internal"} 0
tachometer_provider_requests_total{api="custom",outcome="invalid"} 0
tachometer_provider_requests_total{api="custom",outcome="not_found"} 1
tachometer_provider_requests_total{api="custom",outcome="success"} 3
tachometer_provider_requests_total{api="custom",outcome="unavailable"} 0
tachometer_provider_requests_total{api="external",outcome="internal"} 0
tachometer_provider_requests_total{api="external",outcome="invalid"} 0
tachometer_provider_requests_total{api="external",outcome="not_found"} 0
tachometer_provider_requests_total{api="external",outcome="success"} 0
tachometer_provider_requests_total{api="external",outcome="unavailable"} 0
# HELP tachometer_provider_substituted_total Missing values replaced by the rule's onMissing.
# TYPE tachometer_provider_substituted_total counter
tachometer_provider_substituted_total 1
`
	err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), "tachometer_provider_requests_total", "tachometer_provider_substituted_total")
	if err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(w.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}
