package remote

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(reg)
		w := newTestBackend(t, "", sharedRules, Options{Metrics: m})
		stop := w.startBackend()
		synctest.Wait()
		want := func(when, text string) {
			t.Helper()
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "tachometer_backend_up", "tachometer_backend_refreshed_queries"); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		const help = `
# HELP tachometer_backend_refreshed_queries Queries repeated every refresh interval.
# TYPE tachometer_backend_refreshed_queries gauge
tachometer_backend_refreshed_queries{backend="prometheus"} 1
# HELP tachometer_backend_up Whether the backend responds (1) or fails (0).
# TYPE tachometer_backend_up gauge
tachometer_backend_up{backend="prometheus"} `
		_, _ = w.evaluateRequests("shop")
		want("first read", help+"1\n")
		w.server.updateState(func(s *fakeServer) { s.down = true })
		passTime(10 * time.Second)
		want("down", help+"0\n")

		next := newTestBackend(t, "", sharedRules, Options{Metrics: m}) // of a reload
		stopNext := next.startBackend()
		synctest.Wait()
		_, _ = next.evaluateRequests("shop")
		stop()
		want("reloaded", help+"1\n")
		if got := testutil.ToFloat64(m.requests.WithLabelValues("prometheus", "success")); got < 2 {
			t.Errorf("%v requests, want those of both", got)
		}
		stopNext()
		if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
			t.Errorf("%d series of a backend that is gone, %v", n, err)
		}
	})
}
