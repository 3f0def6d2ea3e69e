package rollout

import (
	"math"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD8ForgedFailures: no count of failures that somebody wrote into a status keeps a hold from being rolled back.
func TestD8ForgedFailures(t *testing.T) {
	t.Parallel()
	for _, failures := range []int32{-1, -5, math.MinInt32, math.MaxInt32 - 1, math.MaxInt32} {
		b := newBench()
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		b.find("shop", "event/sale").Status.Failures = failures
		b.now = b.now.Add(hold.DefaultWithin)
		b.mustPass(t)
		h := b.find("shop", "event/sale")
		wantState(t, h, hold.RolledBack, "pods not ready")
		if w.replicas != 2 || h.Status.Failures <= 0 {
			t.Errorf("%d failures: %d replicas, then %d failures", failures, w.replicas, h.Status.Failures)
		}
	}
}

// TestD8ForgedGateSteps: no count of steps that somebody wrote into a status keeps a gate open after its hold, or opens it beyond its plan.
func TestD8ForgedGateSteps(t *testing.T) {
	t.Parallel()
	for _, steps := range []int{-1, math.MinInt, 7, math.MaxInt} {
		b, w := newOpenSale(t)
		b.find("shop", "event/sale").Status.GateSteps = steps
		b.mustPass(t)
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		if b.gates.open["sale"] || w.replicas != 2 {
			t.Errorf("%d steps: gate %v, %d replicas", steps, b.gates.open["sale"], w.replicas)
		}
		stepped, _ := newSteppedSale(t, action.Plan{Steps: []int{10, 50, 100}, Pause: time.Minute})
		stepped.mustPass(t)
		stepped.find("shop", "event/sale").Status.GateSteps = steps
		stepped.now = stepped.now.Add(time.Minute)
		stepped.mustPass(t)
		if got := stepped.find("shop", "event/sale").Status.GateSteps; got < 1 || got > 3 {
			t.Errorf("%d steps: then %d", steps, got)
		}
	}
}

// TestD8FaultyHoldOfSet: a Hold of set that somebody broke stays, with the reason, until a person mends or releases it.
func TestD8FaultyHoldOfSet(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.ID, h.Gates, h.Notify = "set/me", nil, nil
	b.apply(t, "shop", h)
	b.mustPass(t)
	broken := b.find("shop", "set/me")
	broken.Generation++
	broken.Fault, broken.Spec.Until = `parsing time "soon"`, nil
	b.mustPass(t)
	b.mustPass(t)
	if b.find("shop", "set/me") == nil || w.replicas != 2 {
		t.Fatalf("%d replicas, hold %v", w.replicas, b.find("shop", "set/me"))
	}
	wantState(t, b.find("shop", "set/me"), hold.RolledBack, "cannot be read")
	b.release(t, "shop", "set/me")
	b.mustPass(t)
	if b.find("shop", "set/me") != nil {
		t.Errorf("%+v", b.find("shop", "set/me"))
	}
}
