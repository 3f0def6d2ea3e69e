package equal

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

// otherwise finds the functions that MetricsQL computes otherwise than PromQL:
//
//   - rate, increase, delta, deriv, resets and changes: PromQL takes the samples within the range, and extrapolates the first
//     three to its ends; VictoriaMetrics takes the one before the range too, and does not extrapolate. So they differ after a
//     change of load, by no more than what happened in about two scrape intervals, and an increase is a whole number.
//   - round takes halves away from zero, and not up; sgn gives 0 for series that have ended (both in version 1.79).
//   - ln and sqrt of what is negative: NaN is no result.
var otherwise = regexp.MustCompile(`\b(rate|increase|delta|deriv|resets|changes|round|sgn|ln|sqrt)\(`)

// TestEmbeddedEqualsVictoriaMetrics asks what means the same in MetricsQL: the newest samples, what is computed with them,
// and over a range all that takes each of its samples alike.
func TestEmbeddedEqualsVictoriaMetrics(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(seed, true)
			local, remote := w.embedded(t), newRemoteBackend(t, servers.VictoriaMetrics(t, servers.Options{Series: w.series}))
			asked, found := 0, 0
			for _, q := range questions(w.rand) {
				if otherwise.MatchString(q.lines[0]) {
					continue
				}
				asked++
				found += q.compare(t, local, remote, w.now())
			}
			if asked < 15 || found < 20 {
				t.Errorf("only %d questions asked and %d values compared", asked, found)
			}
		})
	}
}

// TestVictoriaMetricsRate: under a steady load the rate is the same.
func TestVictoriaMetricsRate(t *testing.T) {
	t.Parallel()
	w := newWorld(0, true)
	w.series = nil
	for i, rate := range []int64{1, 20, 300} {
		p := w.page("shop", fmt.Sprint("p-", i), w.end)
		values := make([]float64, len(p.times))
		for n, at := range p.times {
			values[n] = float64(rate * (at - p.times[0])) // per millisecond, so that it is whole
		}
		p.add("http_requests_total", values)
	}
	local, remote := w.embedded(t), newRemoteBackend(t, servers.VictoriaMetrics(t, servers.Options{Series: w.series}))
	q := question{lines: []string{"query: sum by (namespace, pod) (rate(http_requests_total[$window]))", "window: 20s"}, namespace: "shop"}
	if n := q.compare(t, local, remote, w.now()); n != 3 {
		t.Errorf("%d values compared, want 3", n)
	}
}
