package query

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// TestStretchEdgesOfSeries: the requests of a pod move to another series, and some of them to another pod, within an increment. The pod
// counts 800/s until 5 s, and 100/s since then, and none in its first series since 3 s.
func TestStretchEdgesOfSeries(t *testing.T) {
	t.Parallel()
	pod := &evaluatedPod{labels: labels.FromStrings("pod", "web-1")}
	times := []int64{-10_000, -5_000, 0, 6_000, 11_000, 16_000}
	series := func(code string, values ...float64) evaluatedSeries {
		return evaluatedSeries{labels: labels.FromStrings("pod", "web-1", "code", code), pod: pod, times: times, values: values, isCounter: true}
	}
	selectors := []exprSelector{{name: "x_total", isCounter: true}}
	s := evaluationScan{seriesBySelector: [][]evaluatedSeries{{
		series("200", 0, 4000, 8000, 10400, 10400, 10400), series("500", 0, 0, 0, 1700, 2200, 2700),
	}}}
	for from, want := range map[int64]float64{3_500: 1300, 5_500: 50, 6_000: 0} {
		s.setStretchEdgeCounts(selectors, timeSpan{from, 16_000}, 5_000)
		got := 0.0
		for _, c := range s.seriesBySelector[0] {
			r := countedRange{from: from, to: 16_000, interval: 5_000}
			r.setSeriesCountedRange(pod, c.labels, s.edgeCounts)
			n, _ := increaseBetweenSamples(c.times, c.values, r)
			got += n
		}
		if want += 1000; math.Abs(got-want) > 1e-6 {
			t.Errorf("since %d ms: %v, want %v", from, got, want)
		}
	}
}

// TestShareEdgeCount: a count is shared by series that counted before an edge, and none gets more than its increment.
func TestShareEdgeCount(t *testing.T) {
	t.Parallel()
	for total, want := range map[float64][3]float64{5: {5, 0, 0}, 10: {10, 0, 0}, 40: {40, 0, 0}, 80: {50, 15, 15}, 150: {50, 50, 50}} {
		parts := []edgeIncrement{{count: 50, until: 10}, {count: 50}, {count: 50}}
		shareEdgeCount(parts, total, 10)
		for i, part := range parts {
			if math.Abs(part.until-want[i]) > 1e-9 {
				t.Errorf("total %v, part %d: %v, want %v", total, i, part.until, want[i])
			}
		}
	}
}
