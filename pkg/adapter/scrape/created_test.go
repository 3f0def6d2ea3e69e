package scrape

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestRestartByCreated scrapes a service that, like Python's client, shows the samples that a request names. It restarts before its fifth page,
// and again before its sixth, which has no less than the fifth: its counter began at 0 in between.
func TestRestartByCreated(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		began, pages := time.Now().Add(-time.Minute), 0
		n.addServer("cart-1:8080", namesPage{[]string{"a_total", "a_created"}, func() string {
			switch pages++; pages {
			case 5:
				began = time.Now().Add(-300 * time.Millisecond)
			case 6:
				began = time.Now().Add(-time.Second)
			}
			return fmt.Sprintf("a_total %.0f\na_created %.3f\n", 100*time.Since(began).Seconds(), float64(began.UnixMilli())/1000)
		}})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a_total")})
		passFakeTime(13 * time.Second)
		points := r.pointsOfSeries(t, "a_total")
		if got := formatPoints(points); pages < 6 || !strings.Contains(got, " 30 0 100 ") {
			t.Errorf("samples %s, want 0 between 30 and 100", got)
		}
		for _, p := range points {
			if p.v == 0 && p.t != began.UnixMilli() {
				t.Errorf("0 at %d ms, want %d", p.t, began.UnixMilli())
			}
		}
	})
}

// TestLongNames: a request that would be too long with the names of created samples goes without them.
func TestLongNames(t *testing.T) {
	t.Parallel()
	for count, want := range map[int]string{1: "created", 60: "names", 180: "whole"} {
		var families []string
		for i := range count {
			families = append(families, fmt.Sprintf("family_of_requests_with_a_number_%03d_total", i))
		}
		raw, got := newScrapedEndpoint("http://cart-1:8080/metrics", exposition.NewFamilies(families)).namedRequest.raw, "whole"
		switch {
		case strings.Contains(string(raw), "_created"):
			got = "created"
		case raw != nil:
			got = "names"
		}
		if got != want {
			t.Errorf("%d families: request for %s, want %s", count, got, want)
		}
	}
}
