package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newUpdatedSale returns a bench with an open sale of 20 replicas that now asks for 30.
func newUpdatedSale(t *testing.T, bounds hold.ReplicaBounds) (*bench, *memoryWorkload) {
	t.Helper()
	b := newBench()
	w := b.addWorkload("shop", 2, bounds)
	h := saleHold()
	h.Until = benchStart.Add(4 * time.Hour)
	b.apply(t, "shop", h)
	b.mustPass(t)
	w.ready = 20
	b.mustPass(t)
	h.Replicas = 30
	b.apply(t, "shop", h)
	b.mustPass(t)
	return b, w
}

// wantKept checks that the sale has its 20 replicas and its open gate.
func (b *bench) wantKept(t *testing.T, w *memoryWorkload, message string) {
	t.Helper()
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, message)
	if !b.gates.open["sale"] || w.hpa == nil && w.replicas != 20 || w.hpa != nil && w.hpa.bounds.MinReplicas != 20 {
		t.Fatalf("gate %v, %d replicas, %+v", b.gates.open["sale"], w.replicas, w.hpa)
	}
}

// TestD6FailedUpdateKeepsWhatWasUp: an open hold that asks for more, and does not get it, keeps the pods and the gate that it had. It is told, tried again,
// and ends as any other.
func TestD6FailedUpdateKeepsWhatWasUp(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]hold.ReplicaBounds{"plain": {}, "autoscaled": {MinReplicas: 2, MaxReplicas: 40}, "above the maximum": {MinReplicas: 2, MaxReplicas: 25}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, w := newUpdatedSale(t, bounds)
			b.now = b.now.Add(hold.DefaultWithin)
			b.mustPass(t)
			b.wantKept(t, w, "the 20 replicas of before stay")
			b.wantTold(t, "event/sale", "Up", "RolledBack")
			b.restart()
			b.now = b.now.Add(time.Minute)
			b.mustPass(t)
			b.wantKept(t, w, "")
			if bounds.MaxReplicas != 25 {
				b.now = b.now.Add(firstRetryPause)
				b.mustPass(t)
				w.ready = 30
				b.mustPass(t)
				wantState(t, b.find("shop", "event/sale"), hold.Open, "")
				b.wantTold(t, "event/sale", "Up", "RolledBack", "Up")
			}
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			if told := b.notifier.told["shop event/sale"]; !strings.HasPrefix(told[len(told)-1], "Ended: ") {
				t.Errorf("told %q", told)
			}
			if len(b.holds) > 0 || b.gates.open["sale"] || w.hpa == nil && w.replicas != 2 || w.hpa != nil && w.hpa.bounds != bounds {
				t.Errorf("%d holds, gate %v, %d replicas, %+v", len(b.holds), b.gates.open["sale"], w.replicas, w.hpa)
			}
		})
	}
}

// TestD6KeptUpdateEnds: what was up before a failed update ends with the hold's end, a pause, a person's number and the workload itself.
func TestD6KeptUpdateEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end      func(b *bench, w *memoryWorkload)
		replicas int32
	}{
		"its end":          {func(b *bench, _ *memoryWorkload) { b.now = benchStart.Add(5 * time.Hour) }, 2},
		"a pause":          {func(b *bench, _ *memoryWorkload) { b.pauseHold(t, "shop", "event/sale", true, nil) }, 2},
		"another workload": {func(b *bench, w *memoryWorkload) { w.replace(b.memoryCluster, 3) }, 30},
		"a failure for good": {func(b *bench, w *memoryWorkload) {
			w.scale(b.memoryCluster, 5)
			b.mustPass(t)
			b.now = b.now.Add(time.Hour)
		}, 5},
		"an update that asks less": {func(b *bench, _ *memoryWorkload) { h := saleHold(); h.Replicas = 4; b.apply(t, "shop", h) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, w := newUpdatedSale(t, hold.ReplicaBounds{})
			b.now = b.now.Add(hold.DefaultWithin)
			b.mustPass(t)
			b.wantKept(t, w, "10 of 30 pods not ready")
			c.end(b, w)
			b.mustPass(t)
			if h := b.find("shop", "event/sale"); w.replicas != c.replicas || h != nil && h.IsKept() {
				t.Errorf("%d replicas, %+v", w.replicas, h)
			}
		})
	}
}

// TestD9KeptNightDoesNotLower: a window that fails after a night does not keep the night's low number: the workload has its own again.
func TestD9KeptNightDoesNotLower(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 6, hold.ReplicaBounds{})
	night := nightHold(2)
	b.apply(t, "shop", night)
	b.mustPass(t)
	if w.replicas != 2 {
		t.Fatalf("%d replicas at night", w.replicas)
	}
	day := nightHold(8)
	day.Until = benchStart.Add(12 * time.Hour)
	b.apply(t, "shop", day)
	b.mustPass(t)
	b.now = b.now.Add(hold.DefaultWithin)
	b.mustPass(t)
	if w.replicas != 6 {
		t.Errorf("%d replicas after the day failed; want the workload's own 6", w.replicas)
	}
}
