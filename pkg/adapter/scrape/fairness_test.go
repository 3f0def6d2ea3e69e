package scrape

import (
	"fmt"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestNamespacesShareThePlaces has many targets of other namespaces be silent or slow, far more than there are places: a small namespace
// is scraped on time all the while, from the first moment on.
func TestNamespacesShareThePlaces(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		namespaces, targets int
		delay               time.Duration // of a page; 0: no page ever comes
		changing            bool          // slow every other time, so that each scrape begins in the fast lane
	}{
		"silent":              {namespaces: 1, targets: 2000},
		"silent in three":     {namespaces: 3, targets: 700},
		"slow":                {namespaces: 1, targets: 2000, delay: 1900 * time.Millisecond},
		"just within fast":    {namespaces: 1, targets: 1000, delay: 240 * time.Millisecond},
		"silent now and then": {namespaces: 2, targets: 600, delay: 1900 * time.Millisecond, changing: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second, MaxConcurrent: 16}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				var targets []metric.Target
				var slow []*fakePage
				for i := range tc.namespaces * tc.targets {
					tg := newTestTarget(fmt.Sprintf("evil-%d", i), "a")
					tg.Namespace = fmt.Sprintf("evil-%d", i%tc.namespaces)
					targets = append(targets, tg)
					if tc.delay == 0 {
						n.addServer(tg.Pod+":8080", nil)
						continue
					}
					page := &fakePage{body: "a 1\n", delay: tc.delay}
					n.addServer(tg.Pod+":8080", page)
					slow = append(slow, page)
				}
				for i := range 4 {
					n.addServer(fmt.Sprintf("cart-%d:8080", i), &fakePage{body: "a 1\n"})
					targets = append(targets, newTestTarget(fmt.Sprintf("cart-%d", i), "a"))
				}
				m.SetTargets(targets)
				for range 20 {
					passFakeTime(2 * time.Second)
					for _, p := range slow {
						if tc.changing {
							p.setDelay(tc.delay - p.currentDelay())
						}
					}
				}
				for i := range 4 {
					ps := r.pointsOfSeries(t, fmt.Sprintf(`pod="cart-%d"`, i))
					if len(ps) < 19 {
						t.Errorf("cart-%d has %d samples of 40 s, want 20", i, len(ps))
					}
					for k := 1; k < len(ps); k++ {
						if gap := ps[k].t - ps[k-1].t; gap > 2300 {
							t.Errorf("cart-%d: %d ms between two samples, want 2000", i, gap)
							break
						}
					}
				}
				m.SetTargets(nil)
				passFakeTime(5 * time.Second)
				m.mu.Lock()
				defer m.mu.Unlock()
				if len(m.places) > 0 || m.running != [2]int{} || len(m.heldJobs) > 0 {
					t.Errorf("after all targets: %d namespaces, %v running, %d held", len(m.places), m.running, len(m.heldJobs))
				}
			})
		})
	}
}
