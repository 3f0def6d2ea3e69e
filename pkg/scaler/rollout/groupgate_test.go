package rollout

import (
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newOpenGroup returns a bench with the holds of two workloads in a group, both open.
func newOpenGroup(t *testing.T, gatesOfCart []string) *bench {
	t.Helper()
	b := newBench()
	for name, gates := range map[string][]string{"shop": {"sale"}, "cart": gatesOfCart} {
		b.addWorkload(name, 2, hold.ReplicaBounds{})
		h := saleHold()
		h.Gates, h.Group, h.GroupSize = gates, "sale", 2
		b.apply(t, name, h)
	}
	b.mustPass(t)
	b.setGroupReady()
	b.mustPass(t)
	for _, name := range []string{"shop", "cart"} {
		wantState(t, b.find(name, "event/sale"), hold.Open, "")
	}
	if !b.gates.open["sale"] {
		t.Fatal("the gate is shut")
	}
	return b
}

// setGroupReady makes all pods ready.
func (b *bench) setGroupReady() {
	for _, w := range b.workloads {
		w.ready = w.replicas
	}
}

// TestD2GateOpensAgain: a gate that was shut because one workload of the group stood aside opens again with that workload, whichever of the holds
// names it, and not before.
func TestD2GateOpensAgain(t *testing.T) {
	t.Parallel()
	for name, gates := range map[string][]string{"gate of both": {"sale"}, "gate of the other": nil} {
		for way, aside := range map[string]func(t *testing.T, b *bench, out bool){
			"pause": func(t *testing.T, b *bench, out bool) { b.pauseHold(t, "cart", "event/sale", out, nil) },
			"other": func(t *testing.T, b *bench, out bool) { b.pauseHold(t, "shop", "event/sale", out, nil) },
			"replace": func(t *testing.T, b *bench, out bool) {
				if out {
					b.release(t, "cart", "event/sale")
					return
				}
				h := saleHold()
				h.Gates, h.Group, h.GroupSize = gates, "sale", 2
				b.apply(t, "cart", h)
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				b := newOpenGroup(t, gates)
				aside(t, b, true)
				b.mustPass(t)
				if b.gates.open["sale"] {
					t.Fatal("the gate is open without the whole group")
				}
				aside(t, b, false)
				b.mustPass(t)
				if b.gates.open["sale"] {
					t.Fatal("the gate is open before the pods are ready")
				}
				b.setGroupReady()
				b.mustPass(t)
				for _, workload := range []string{"shop", "cart"} {
					h := b.find(workload, "event/sale")
					wantState(t, h, hold.Open, "")
					if h.Status.GateOpen != (len(h.Spec.Gates) > 0) {
						t.Errorf("%s: gate open in its status: %v", workload, h.Status.GateOpen)
					}
				}
				if !b.gates.open["sale"] {
					t.Error("the gate stays shut, and both holds are open")
				}
			})
		}
	}
}
