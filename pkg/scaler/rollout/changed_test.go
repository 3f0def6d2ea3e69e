package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// TestEndOfAChangedHoldIsTold: what an earlier version of a hold told, such as its trouble, ends with the hold, also if the changed hold ends before it is up.
func TestEndOfAChangedHoldIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails bool
		told  []string
	}{
		"failed": {true, []string{"RolledBack", "Ended"}},
		"up":     {false, []string{"Up", "Ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			h := saleHold()
			h.Until = benchStart.Add(4 * time.Hour)
			b.apply(t, "shop", h)
			b.mustPass(t)
			if c.fails {
				b.now = b.now.Add(hold.DefaultWithin)
			} else {
				w.ready = 20
			}
			b.mustPass(t)
			b.wantTold(t, "event/sale", c.told[0])
			for range 2 {
				h.Replicas++
				b.apply(t, "shop", h)
				b.mustPass(t)
			}
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			b.wantTold(t, "event/sale", c.told...)
		})
	}
}

// TestOpenGroupGetsAVerification: open holds of a group that get their first verification test their pods, and their gate is shut where these fail.
// A verified hold that asks for less stays verified.
func TestOpenGroupGetsAVerification(t *testing.T) {
	t.Parallel()
	b := newBench()
	h := saleHold()
	h.Group, h.GroupSize, h.Notify = "both", 2, nil
	asked := h.Verify
	apply := func(replicas int32, spec *verify.Spec) {
		h.Replicas, h.Verify = replicas, spec
		for _, name := range []string{"shop", "cart"} {
			b.apply(t, name, h)
		}
		b.mustPass(t)
		for _, w := range b.workloads {
			w.setReady(b.memoryCluster, w.replicas)
		}
		b.mustPass(t)
	}
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.addWorkload("cart", 2, hold.ReplicaBounds{})
	apply(20, nil)
	if !b.gates.open["sale"] {
		t.Fatal("the gate is shut over ready pods without a verification")
	}
	b.checker.passed = false
	apply(19, asked)
	if b.gates.open["sale"] {
		t.Error("the gate is open over pods that fail the verification")
	}
	b.checker.passed = true
	for _, replicas := range []int32{18, 17} {
		apply(replicas, asked)
		if got := b.find("shop", "event/sale"); got.Status.State != hold.Open || got.Status.YoungestVerified.IsZero() || !b.gates.open["sale"] {
			t.Errorf("%d replicas: %+v", replicas, got.Status)
		}
	}
}
