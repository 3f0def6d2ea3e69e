package scrape

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestPanicEndsOneScrape has every sample of a pod panic: the others keep their samples, and the pod gets its own back after.
func TestPanicEndsOneScrape(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second, MaxConcurrent: 2}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		var targets []metric.Target
		for i := range 6 {
			pod := fmt.Sprintf("cart-%d", i)
			n.addServer(pod+":8080", &fakePage{body: "a 1\n"})
			targets = append(targets, newTestTarget(pod, "a"))
		}
		r.panics = "cart-0"
		m.SetTargets(targets)
		passFakeTime(20 * time.Second)
		for i := 1; i < 6; i++ {
			if got := len(r.pointsOfSeries(t, fmt.Sprintf(`pod="cart-%d"`, i))); got < 10 {
				t.Errorf("cart-%d has %d samples of 20 s, want 10", i, got)
			}
		}
		if got := testutil.ToFloat64(m.metrics.panics); got < 10 {
			t.Errorf("%v panics counted, want one for each of 10 scrapes", got)
		}
		checkDiagnosis(t, m, "cart-0", metric.ReasonScrapeFailed, "panic while reading the page, see the adapter's log", "a")
		r.mu.Lock()
		r.panics = ""
		r.mu.Unlock()
		passFakeTime(20 * time.Second)
		if got := len(r.pointsOfSeries(t, `pod="cart-0"`)); got < 9 {
			t.Errorf("cart-0 has %d samples of 20 s after the bug, want 10", got)
		}
		m.SetTargets(nil)
	})
}

// TestPanicEndsOneTarget has the end of a pod's series panic, when it is no longer a target and when its scrapes fail: the series of the
// others end, and the later sets of targets count.
func TestPanicEndsOneTarget(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second, MaxConcurrent: 2}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		var targets []metric.Target
		for i := range 3 {
			pod := fmt.Sprintf("cart-%d", i)
			n.addServer(pod+":8080", &fakePage{body: "a 1\n"})
			targets = append(targets, newTestTarget(pod, "a"))
		}
		m.SetTargets(targets)
		passFakeTime(10 * time.Second)
		r.mu.Lock()
		r.panics = "cart-0"
		r.mu.Unlock()
		m.SetTargets(targets[2:])
		points := r.pointsOfSeries(t, `pod="cart-1"`)
		if last := points[len(points)-1].v; !value.IsStaleNaN(last) {
			t.Errorf("the last sample of cart-1 is %v, want a staleness marker", last)
		}
		if got := testutil.ToFloat64(m.metrics.panics); got != 1 {
			t.Errorf("%v panics counted, want 1", got)
		}
		before := len(r.pointsOfSeries(t, `pod="cart-2"`))
		passFakeTime(10 * time.Second)
		if got := len(r.pointsOfSeries(t, `pod="cart-2"`)) - before; got < 4 {
			t.Errorf("cart-2 has %d samples of 10 s after the panic, want 5", got)
		}
	})
}
