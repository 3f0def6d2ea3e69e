// Failed holds that are tried again inside their window.

package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// TestD14RejectedHoldIsTriedAgain: a hold that is rejected at its beginning costs no more than a retry after the reason is gone.
func TestD14RejectedHoldIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason      string
		begin, mend func(b *bench, w *memoryWorkload)
	}{
		"the maximum is too low": {
			"allows at most 6 replicas", func(*bench, *memoryWorkload) {},
			func(b *bench, w *memoryWorkload) {
				w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
			},
		},
		"the autoscaler belongs to KEDA": {
			"belongs to ScaledObject", func(_ *bench, w *memoryWorkload) { w.hpa.scaledObject = "shop" },
			func(_ *bench, w *memoryWorkload) { w.hpa = nil },
		},
		"the gate is not in the configuration": {
			"is not in the scaler's configuration", func(b *bench, w *memoryWorkload) { w.hpa, b.gates.lost = nil, "a" },
			func(b *bench, _ *memoryWorkload) { b.gates.lost = "" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 6})
			c.begin(b, w)
			h := newGateHold("schedule/day", "a")
			h.Replicas, h.Until = 8, benchStart.Add(14*time.Hour)
			b.apply(t, "shop", h)
			b.mustPass(t)
			wantState(t, b.find("shop", "schedule/day"), hold.RolledBack, c.reason)
			b.now = b.now.Add(firstRetryPause)
			b.mustPass(t)
			wantState(t, b.find("shop", "schedule/day"), hold.RolledBack, c.reason)
			b.wantTold(t, "schedule/day", "RolledBack")
			c.mend(b, w)
			b.now = b.now.Add(2 * firstRetryPause)
			b.mustPass(t)
			w.ready = 8
			b.mustPass(t)
			wantState(t, b.find("shop", "schedule/day"), hold.Open, "")
			b.release(t, "shop", "schedule/day")
			b.mustPass(t)
			if len(b.holds) > 0 || b.gates.open["a"] || w.hpa == nil && w.replicas != 2 || w.hpa != nil && w.hpa.bounds.MinReplicas != 2 {
				t.Errorf("%d holds, gate %v, %d replicas, %+v", len(b.holds), b.gates.open["a"], w.replicas, w.hpa)
			}
		})
	}
}

// TestD14GroupIsTriedAgain: one workload of a group that fails its verification costs the group no more than a retry: all are tried again together.
func TestD14GroupIsTriedAgain(t *testing.T) {
	t.Parallel()
	for fails := 1; fails <= 3; fails++ {
		b := newBench()
		shop, cart := b.addWorkload("shop", 2, hold.ReplicaBounds{}), b.addWorkload("cart", 2, hold.ReplicaBounds{})
		h := saleHold()
		h.Group, h.GroupSize = "event/sale", 2
		b.apply(t, "shop", h)
		b.mustPass(t)
		b.now = b.now.Add(time.Second) // the second member comes a little later
		b.apply(t, "cart", h)
		for try := 1; try <= fails; try++ {
			b.mustPass(t)
			if shop.ready = 20; try == 2 {
				cart.ready = 20 // and the first lacks its pods
				shop.ready = 2
			}
			b.checker.passed = false
			b.now = b.now.Add(hold.DefaultWithin)
			b.mustPass(t)
			b.mustPass(t)
			for _, name := range []string{"shop", "cart"} {
				m := b.find(name, "event/sale")
				wantState(t, m, hold.RolledBack, "")
				if m.Status.RetryAt.IsZero() || m.Status.Failures != int32(try) {
					t.Fatalf("%d of %d: %s failed %d times, and is tried again at %s", try, fails, name, m.Status.Failures, m.Status.RetryAt)
				}
			}
			if b.gates.open["sale"] || shop.replicas != 2 || cart.replicas != 2 {
				t.Fatalf("gate %v, %d and %d replicas", b.gates.open["sale"], shop.replicas, cart.replicas)
			}
			b.now = b.now.Add(firstRetryPause << (try - 1))
		}
		b.checker.passed = true
		b.mustPass(t)
		b.now = b.now.Add(time.Second)
		b.mustPass(t)
		shop.ready, cart.ready = 20, 20
		b.mustPass(t)
		b.mustPass(t)
		for _, name := range []string{"shop", "cart"} {
			wantState(t, b.find(name, "event/sale"), hold.Open, "")
		}
		if !b.gates.open["sale"] {
			t.Fatal("the gate is shut")
		}
	}
}

// TestD14GroupGivesUpTogether: a member that is not tried again ends the tries of its group.
func TestD14GroupGivesUpTogether(t *testing.T) {
	t.Parallel()
	b := newBench()
	shop, cart := b.addWorkload("shop", 2, hold.ReplicaBounds{}), b.addWorkload("cart", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.Group, h.GroupSize, h.Verify = "event/sale", 2, &verify.Spec{URL: "/"}
	b.apply(t, "shop", h)
	b.apply(t, "cart", h)
	b.mustPass(t)
	shop.ready = 20
	cart.scale(b.memoryCluster, 3) // a person's number: never taken back in this window
	for range 5 {
		b.mustPass(t)
		b.now = b.now.Add(maxRetryPause)
	}
	for _, name := range []string{"shop", "cart"} {
		if m := b.find(name, "event/sale"); m != nil && (m.Status.State != hold.RolledBack || !m.Status.RetryAt.IsZero()) {
			t.Errorf("%s: %s, again at %s", name, m.Status.State, m.Status.RetryAt)
		}
	}
	if b.gates.open["sale"] || shop.replicas != 2 || cart.replicas != 3 {
		t.Errorf("gate %v, %d and %d replicas", b.gates.open["sale"], shop.replicas, cart.replicas)
	}
}

// TestD14HoldWithoutEnd: a hold from Git without an end is tried again until it is up or deleted. The hold of a command is not: nobody waits for it.
func TestD14HoldWithoutEnd(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.checker.passed = false
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := newGateHold("launch", "a")
	h.Verify = &verify.Spec{URL: "/"}
	o := hold.NewObject(memoryRef("shop"), h, "")
	o.Labels, o.Finalizers = nil, nil
	if _, err := b.CreateHold(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for try := 1; try <= 3; try++ {
		b.mustPass(t)
		w.ready = 4
		b.mustPass(t)
		wantState(t, b.find("shop", "launch"), hold.RolledBack, "")
		if s := b.find("shop", "launch").Status; s.Failures != int32(try) || w.replicas != 2 {
			t.Fatalf("try %d: %d failures, %d replicas", try, s.Failures, w.replicas)
		}
		b.now = b.now.Add(firstRetryPause << (try - 1))
	}
	b.wantTold(t, "launch", "RolledBack")
	b.checker.passed = true
	b.mustPass(t)
	w.ready = 4
	b.mustPass(t)
	wantState(t, b.find("shop", "launch"), hold.Open, "")
	b.checker.passed = false
	command := newGateHold("set/me")
	command.Replicas, command.Verify = 6, &verify.Spec{URL: "/"}
	b.apply(t, "shop", command)
	b.mustPass(t)
	w.ready = 6
	b.mustPass(t)
	if b.find("shop", "set/me") != nil || w.replicas != 4 {
		t.Errorf("the command's hold: %+v, %d replicas", b.find("shop", "set/me"), w.replicas)
	}
}

// TestD14RetryVerifiesKeptPods: pods that failed their verification, and that the autoscaler keeps until the next try, are verified again.
func TestD14RetryVerifiesKeptPods(t *testing.T) {
	t.Parallel()
	for _, changed := range []bool{false, true} {
		b := newBench()
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
		b.checker.passed = false
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		w.ready = 20
		b.now = b.now.Add(time.Minute)
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
		if b.now = b.now.Add(firstRetryPause); changed {
			again := saleHold()
			again.Until = again.Until.Add(time.Hour)
			b.apply(t, "shop", again)
		}
		b.mustPass(t)
		if w.replicas != 20 || b.gates.open["sale"] {
			t.Fatalf("changed %v: %d replicas, gate %v: %s", changed, w.replicas, b.gates.open["sale"], b.find("shop", "event/sale").Status.Message)
		}
		wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
	}
}

// TestD14ResumeVerifiesKeptPods: a hold that was paused before its pods were verified verifies them after the pause, if the autoscaler kept them.
func TestD14ResumeVerifiesKeptPods(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	b.setPaused(t, true)
	b.mustPass(t)
	w.ready = 20
	b.checker.passed = false
	b.now = b.now.Add(time.Minute)
	b.setPaused(t, false)
	b.mustPass(t)
	if b.gates.open["sale"] || w.replicas != 20 {
		t.Errorf("gate %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
}

// TestD14NextHoldVerifiesKeptPods: the next hold of an ended one that failed verifies the pods that the autoscaler kept, before its gate opens.
func TestD14NextHoldVerifiesKeptPods(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.checker.passed = false
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	for _, passed := range []bool{false, true} {
		b.checker.passed = passed
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		b.now = b.now.Add(time.Minute)
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		if b.gates.open["sale"] != passed || w.replicas != 20 {
			t.Fatalf("passed %v: gate %v, %d replicas: %s", passed, b.gates.open["sale"], w.replicas, b.find("shop", "event/sale").Status.Message)
		}
	}
}

// setPaused pauses or resumes the sale.
func (b *bench) setPaused(t *testing.T, paused bool) {
	t.Helper()
	h := b.find("shop", "event/sale").DeepCopy()
	h.Spec.Paused = paused
	if _, err := b.UpdateHold(t.Context(), h); err != nil {
		t.Fatal(err)
	}
}
