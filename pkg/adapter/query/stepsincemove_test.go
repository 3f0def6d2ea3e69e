package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// TestStepSinceMove: soon after half of the pods ended, a step of all others is in the total within two intervals and a half. A rule
// whose written range reaches back beyond the end of the pods keeps their counts.
func TestStepSinceMove(t *testing.T) {
	t.Parallel()
	const step = epoch + 100_000
	const ended = step - 20_000
	for name, tc := range map[string]struct {
		rule      []string
		low, high float64 // of the total from 4.5 s to 10 s after the step
	}{
		"pods":           {[]string{perPodQuery, "window: auto"}, 2300, 2500},
		"a sum":          {[]string{"external: true", "query: sum(rate(http_requests_total[$window]))", "window: auto"}, 2300, 2500},
		"an older range": {[]string{"query: sum by (namespace, pod) (rate(http_requests_total[1m]) or rate(http_requests_total[$window]))", "window: auto"}, 1300, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pods []*simPod
			for i := range int64(8) {
				p := &simPod{name: fmt.Sprint("web-", i), rate: 200, started: epoch - 1000_000, watched: epoch + 230*i}
				if i < 4 {
					p.changes, p.then = step, 600
				} else {
					p.gone = ended
				}
				pods = append(pods, p)
			}
			w, r := newSimCluster(t, interval, pods...), compileRule(t, interval, tc.rule...)
			for now := step + 4500; now < step+10_000; now += 500 {
				w.advanceTo(now)
				q := rule.Query{Rule: r, Namespace: "shop", Moved: time.UnixMilli(ended), MovedAt: time.UnixMilli(ended)}
				values, err := w.engine.Evaluate(t.Context(), q, time.UnixMilli(now))
				if err != nil {
					t.Fatal(err)
				}
				if total := sumRightValues(values); total < tc.low || total > tc.high {
					t.Errorf("%d ms after the step: %.0f in %d values, want %.0f to %.0f", now-step, total, len(values), tc.low, tc.high)
				}
			}
		})
	}
}
