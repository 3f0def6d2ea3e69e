package surge

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// laneCounts are the lane's metrics after a run.
type laneCounts struct {
	values map[string]float64 // by name, and by the value of the only label
	leads  *dto.Histogram
}

// playCountedLane runs a lane with metrics for a time. The step comes after two minutes.
func playCountedLane(t *testing.T, w *fakeWorld, c Config, length time.Duration, during func()) laneCounts {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(2*time.Minute + 300*time.Millisecond)
		lane := New(Options{Config: c, Namespaces: []string{"shop"}, Reader: w, Readings: w, Raiser: w, Events: w, Metrics: NewMetrics(reg)})
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		if during != nil {
			go during()
		}
		if err := lane.Run(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
	return gatherLaneCounts(t, reg)
}

func gatherLaneCounts(t *testing.T, reg prometheus.Gatherer) laneCounts {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	c := laneCounts{values: map[string]float64{}}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			c.values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if m.GetHistogram() != nil {
				c.leads = m.GetHistogram()
			}
		}
	}
	return c
}

// TestLaneMetrics: each outcome of a look, each raise and each lead is counted under its name.
func TestLaneMetrics(t *testing.T) {
	t.Parallel()
	const looks, raises = "tachometer_scaler_surge_looks_total ", "tachometer_scaler_surge_raises_total "
	after := func(w *fakeWorld, d time.Duration, change func()) func() {
		return func() {
			waitVirtually(d)
			w.mu.Lock()
			defer w.mu.Unlock()
			change()
		}
	}
	type bounds struct{ least, most float64 }
	for name, tc := range map[string]struct {
		mode   Mode
		length time.Duration
		deny   bool
		during func(w *fakeWorld) func()
		want   map[string]bounds
		leads  []time.Duration
	}{
		"a raise": {
			mode: ModeAct, length: 3 * time.Minute,
			want: map[string]bounds{
				looks + "settling": {55, 65}, looks + "success": {115, 190}, raises + "act": {1, 1}, "tachometer_scaler_surge_autoscalers": {1, 1},
				"tachometer_scaler_surge_unmatched_total": {0, 0},
			},
		},
		"an observed raise that the autoscaler makes": {
			mode: ModeObserve, length: 3 * time.Minute,
			during: func(w *fakeWorld) func() { return after(w, 2*time.Minute+20*time.Second, func() { w.sim.setPods(20) }) },
			want:   map[string]bounds{raises + "observe": {1, 1}, "tachometer_scaler_surge_unmatched_total": {0, 0}},
			leads:  []time.Duration{17 * time.Second},
		},
		"an observed raise that the autoscaler does not make": {
			mode: ModeObserve, length: 8 * time.Minute,
			want: map[string]bounds{raises + "observe": {1, 9}, "tachometer_scaler_surge_unmatched_total": {1, 1}},
		},
		"a used up budget": {
			mode: ModeAct, length: 6 * time.Minute, // a wish over windows of a minute must last for two of them
			during: func(w *fakeWorld) func() {
				w.sim.observed.Autoscaler.Status.CurrentReplicas, w.sim.observed.Autoscaler.Status.DesiredReplicas = 20, 20 // its hold is not extended
				return after(w, 3*time.Minute, func() { w.sim.setPods(2) })
			},
			want: map[string]bounds{looks + "budget": {10, 130}, raises + "act": {1, 1}},
		},
		"a rejected hold": {
			mode: ModeAct, length: 150 * time.Second, deny: true,
			want: map[string]bounds{looks + "error": {10, 70}},
		},
		"no answers": {
			mode: ModeAct, length: time.Minute,
			during: func(w *fakeWorld) func() { return after(w, 30*time.Second, func() { w.broken = true }) },
			want:   map[string]bounds{looks + "settling": {28, 31}, looks + "unanswered": {28, 31}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &fakeWorld{sim: newLaneSim(), deny: tc.deny}
			w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: "budget=1/h"}
			var during func()
			if tc.during != nil {
				during = tc.during(w)
			}
			got := playCountedLane(t, w, Config{Mode: tc.mode, Notify: []string{"oncall"}}, tc.length, during)
			for name, want := range tc.want {
				if n, isThere := got.values[name]; !isThere || n < want.least || n > want.most {
					t.Errorf("%s is %g, want %g to %g; all: %v", name, n, want.least, want.most, got.values)
				}
			}
			checkLaneLeads(t, got.leads, tc.leads)
			for _, h := range w.raises {
				if !slices.Equal(h.Notify, []string{"oncall"}) {
					t.Errorf("the hold notifies %v", h.Notify)
				}
			}
		})
	}
}

// checkLaneLeads expects these leads, each within two seconds.
func checkLaneLeads(t *testing.T, got *dto.Histogram, want []time.Duration) {
	t.Helper()
	var sum time.Duration
	for _, lead := range want {
		sum += lead
	}
	if off := got.GetSampleSum() - sum.Seconds(); int(got.GetSampleCount()) != len(want) || off > 2 || off < -2 {
		t.Errorf("%d leads of %.1f s in all, want %v", got.GetSampleCount(), got.GetSampleSum(), want)
	}
}
