package scrape

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestUnseenPods ends pods with and without an accepted page: only a ready pod without any has counts on no page.
func TestUnseenPods(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body  string
		ready bool
		end   func(*metric.Target)
		want  bool
	}{
		"a ready pod without a page is deleted":        {"<html>", true, func(tg *metric.Target) { tg.Ending = true }, true},
		"a ready pod without a page stops being so":    {"<html>", true, func(tg *metric.Target) { tg.Ready = false }, true},
		"a pod that was never ready is deleted":        {"<html>", false, func(tg *metric.Target) { tg.Ending = true }, false},
		"a ready pod with a page is deleted":           {"a_total 1\n", true, func(tg *metric.Target) { tg.Ending = true }, false},
		"a ready pod without a page takes another URL": {"<html>", true, func(tg *metric.Target) { tg.URL += "/other" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second, Retention: time.Minute}, func(m *Manager, n *fakeNetwork, _ *recordingAppender) {
				p := &fakePage{}
				p.setBody(tc.body)
				n.addServer("cart-1:8080", p)
				tg := newTestTarget("cart-1", "a_total")
				tg.Ready = tc.ready
				m.SetTargets([]metric.Target{tg})
				passFakeTime(5 * time.Second)
				tc.end(&tg)
				m.SetTargets([]metric.Target{tg})
				span, ok := m.UnseenPods()[tg.Key()]
				if ok != tc.want {
					t.Fatalf("unseen %v, want %v", ok, tc.want)
				}
				if took := span.To.Sub(span.From); ok && took.Round(time.Second) != 5*time.Second {
					t.Errorf("served for %v, want 5s", took)
				}
				passFakeTime(2 * time.Minute)
				m.SetTargets([]metric.Target{tg})
				if n := len(m.UnseenPods()); n > 0 {
					t.Errorf("%d pods are kept beyond the retention", n)
				}
			})
		})
	}
}
