package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD6PodGoesWhileVerifying: a pod that a drain, a rolling update or the autoscaler takes away during its verification is no failure of the hold:
// the pods are verified again, for as long as new pods have time to become ready. A pod that stays and fails is.
func TestD6PodGoesWhileVerifying(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drains int // verifications during which the first pod is replaced
		runs   int // verifications in all; 0: any number
		passed bool
		passes time.Duration // of each verification
		want   hold.State
	}{
		"drained once":             {drains: 1, runs: 2, want: hold.Open},
		"drained three times":      {drains: 3, runs: 4, want: hold.Open},
		"drained, although passed": {drains: 1, runs: 2, passed: true, want: hold.Open},
		"stays":                    {runs: 1, want: hold.RolledBack},
		"drained again and again":  {drains: 100, passes: time.Minute, want: hold.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			runs := 0
			b.checker.passed = c.passed
			b.checker.onRun = func() {
				if runs++; runs <= c.drains {
					b.now = b.now.Add(c.passes)
					w.drain(b.memoryCluster, 1)
					return
				}
				b.checker.passed = c.drains > 0
			}
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			w.ready = 20
			for range 4 {
				b.mustPass(t)
			}
			wantState(t, b.find("shop", "event/sale"), c.want, "")
			if c.runs > 0 && runs != c.runs {
				t.Errorf("%d verifications; want %d", runs, c.runs)
			}
		})
	}
}

// TestD1VerifiedPodsAreThePodsAskedFor: pods that are ready for a moment only, and not while the others are verified, are not passed over: the
// verification waits for all of them, and the hold fails if they do not come back.
func TestD1VerifiedPodsAreThePodsAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		left, later int32 // ready pods when the verification begins, and after the time for new pods
		runs        int   // verifications
		want        hold.State
	}{
		"all gone":   {left: 0, later: 20, runs: 1, want: hold.Open},
		"the old":    {left: 2, later: 20, runs: 1, want: hold.Open},
		"one away":   {left: 19, later: 20, runs: 1, want: hold.Open},
		"never back": {left: 2, later: 2, want: hold.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			b.readLive() // its pause between two looks is shorter
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			runs := 0
			b.checker.onRun = func() { runs++ }
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			w.ready = 20
			if r, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now); err != nil || r.HoldToVerify == "" || r.PodsMissing {
				t.Fatalf("%+v, %v; want a hold to verify", r, err)
			}
			w.ready = c.left
			b.mustPass(t)
			if r, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now); err != nil || runs > 0 || !r.PodsMissing || r.NextPass.After(b.now.Add(waitInterval)) {
				t.Fatalf("%d verifications with %d of 20 pods; %+v, %v", runs, c.left, r, err)
			}
			w.ready = c.later
			b.now = b.now.Add(hold.DefaultWithin)
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), c.want, "")
			if runs != c.runs {
				t.Errorf("%d verifications; want %d", runs, c.runs)
			}
		})
	}
}

// TestD1PodsReplacedBeforeTheGate: pods that take the place of verified ones while the gate waits are verified too, before it opens any further.
func TestD1PodsReplacedBeforeTheGate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plan    action.Plan
		bad     bool // the new pods
		drained int
		want    hold.State
		runs    int
	}{
		"approval, good":     {plan: action.Plan{Approval: true}, drained: 20, want: hold.Open, runs: 2},
		"approval, bad":      {plan: action.Plan{Approval: true}, drained: 20, bad: true, want: hold.RolledBack, runs: 2},
		"approval, one":      {plan: action.Plan{Approval: true}, drained: 1, bad: true, want: hold.RolledBack, runs: 2},
		"approval, the same": {plan: action.Plan{Approval: true}, want: hold.Open, runs: 1},
		"steps, good":        {plan: action.Plan{Steps: []int{10, 100}, Pause: time.Hour}, drained: 20, want: hold.Open, runs: 2},
		"steps, bad":         {plan: action.Plan{Steps: []int{10, 100}, Pause: time.Hour}, drained: 20, bad: true, want: hold.RolledBack, runs: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			runs := 0
			b.checker.onRun = func() { runs++ }
			b.gates.plans = map[string]action.Plan{"sale": c.plan}
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			w.ready = 20
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.Verified, "")
			b.now = b.now.Add(30 * time.Minute)
			w.drain(b.memoryCluster, c.drained)
			b.checker.passed = !c.bad
			b.approveHold(t, "shop", "event/sale")
			b.mustPass(t)
			if !c.bad {
				b.now = b.now.Add(time.Hour)
				b.mustPass(t)
			}
			h := b.find("shop", "event/sale")
			wantState(t, h, c.want, "")
			if runs != c.runs || b.gates.open["sale"] != (c.want == hold.Open) {
				t.Errorf("%d verifications, gate open %v; want %d", runs, b.gates.open["sale"], c.runs)
			}
		})
	}
}
