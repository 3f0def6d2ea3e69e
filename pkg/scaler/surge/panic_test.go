package surge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// panickingWorld panics over the metrics of the namespace bad.
type panickingWorld struct{ *crowdedWorld }

func (w panickingWorld) ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []Reading {
	if a.Namespace == "bad" {
		panic("text of a response")
	}
	return w.crowdedWorld.ReadMetrics(ctx, a, selector, otherThan)
}

// TestPanicEndsOneLook: a look that panics is counted, and the lane looks at all others.
func TestPanicEndsOneLook(t *testing.T) {
	t.Parallel()
	w := panickingWorld{&crowdedWorld{&fakeWorld{sim: newLaneSim()}, 0, map[string]map[string]int{}}}
	lane := New(Options{Config: Config{Mode: ModeObserve}, Namespaces: []string{"bad", "shop"}, Reader: w, Readings: w, Raiser: w, Events: w})
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := lane.Run(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
	if got := w.looks["shop"]["web-0"]; got < 10 {
		t.Errorf("%d looks at the autoscaler of shop in 20 seconds", got)
	}
	if n := testutil.ToFloat64(lane.Metrics.panics.Counter()); n < 1 {
		t.Errorf("%v panics counted", n)
	}
}
