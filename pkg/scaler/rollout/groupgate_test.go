package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
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

// addSaleGroup adds the workloads shop and cart with a hold each, which are a group, and raises them.
func (b *bench) addSaleGroup(t *testing.T) {
	t.Helper()
	for _, name := range []string{"shop", "cart"} {
		b.addWorkload(name, 2, hold.ReplicaBounds{})
		h := saleHold()
		h.Group, h.GroupSize = "sale", 2
		b.apply(t, name, h)
	}
	b.mustPass(t)
}

// TestD2ReplacedPodsOfAGroup: pods of one workload that were replaced since their verification keep the gate of the group shut until they pass.
func TestD2ReplacedPodsOfAGroup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		passed bool
		want   hold.State
	}{"good": {true, hold.Open}, "bad": {false, hold.RolledBack}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			b.gates.plans = map[string]action.Plan{"sale": {Approval: true}}
			b.addSaleGroup(t)
			b.setGroupReady()
			b.mustPass(t)
			b.now = b.now.Add(time.Hour)
			b.workloads["cart"].drain(b.memoryCluster, 3)
			b.checker.passed = c.passed
			b.gates.onOpen = func(string, int) {
				if h := b.find("cart", "event/sale"); h.Status.YoungestVerified.Time.Before(b.now) {
					t.Errorf("the gate opens over pods of cart that were never verified")
				}
			}
			b.approveHold(t, "shop", "event/sale")
			b.mustPass(t)
			for _, name := range []string{"shop", "cart"} {
				wantState(t, b.find(name, "event/sale"), c.want, "")
			}
		})
	}
}

// TestD2ApprovalOfAGroupLeavesTime: after a long wait for a person, the approval of one hold gives the pods of all workloads of the group the same time
// to be ready, in whatever order the workloads are looked at.
func TestD2ApprovalOfAGroupLeavesTime(t *testing.T) {
	t.Parallel()
	for _, approved := range []string{"shop", "cart"} {
		for _, away := range []string{"shop", "cart"} {
			t.Run(approved+" approved, "+away+" lacks a pod", func(t *testing.T) {
				t.Parallel()
				b := newBench()
				b.gates.plans = map[string]action.Plan{"sale": {Approval: true}}
				b.addSaleGroup(t)
				b.setGroupReady()
				b.mustPass(t)
				b.now = b.now.Add(time.Hour)
				b.workloads[away].ready--
				b.approveHold(t, approved, "event/sale")
				b.mustPass(t)
				for _, name := range []string{"shop", "cart"} {
					wantState(t, b.find(name, "event/sale"), hold.Verified, "")
				}
				b.now = b.now.Add(gateOpenTimeout - time.Second)
				b.setGroupReady()
				b.mustPass(t)
				for _, name := range []string{"shop", "cart"} {
					wantState(t, b.find(name, "event/sale"), hold.Open, "")
				}
			})
		}
	}
}

// TestD6PodAwayWhileTheGroupWaits: a pod of a verified workload that is away for a moment, while the gate still waits for another workload of the group or
// has just stopped to, is no failure of the group. A pod that stays away is.
func TestD6PodAwayWhileTheGroupWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ready [][2]int32 // pods of shop and cart, every half a minute
		want  hold.State
	}{
		"back before the other": {[][2]int32{{20, 2}, {20, 20}}, hold.Open},
		"back after the other":  {[][2]int32{{19, 20}, {20, 20}}, hold.Open},
		"stays away":            {[][2]int32{{19, 20}, {19, 20}, {19, 20}}, hold.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			b.addSaleGroup(t)
			shop, cart := b.workloads["shop"], b.workloads["cart"]
			shop.ready = 20
			b.mustPass(t)
			b.now = b.now.Add(3 * time.Minute)
			shop.ready = 19
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.Verified, "")
			for _, ready := range c.ready {
				shop.ready, cart.ready = ready[0], ready[1]
				b.mustPass(t)
				b.now = b.now.Add(gateOpenTimeout / 2)
			}
			wantState(t, b.find("shop", "event/sale"), c.want, "")
		})
	}
}

// TestD2OpenMemberIsVerifiedAgain: a gate that was shut because a workload of the group was replaced opens again only after the pods of the other workloads
// are verified too, which may be others by now.
func TestD2OpenMemberIsVerifiedAgain(t *testing.T) {
	t.Parallel()
	b := newOpenGroup(t, []string{"sale"})
	b.now = b.now.Add(time.Minute)
	b.workloads["shop"].drain(b.memoryCluster, 20)
	b.mustPass(t)
	b.now = b.now.Add(time.Minute)
	b.checker.tested = nil
	b.workloads["cart"].replace(b.memoryCluster, 2)
	b.mustPass(t)
	if b.gates.open["sale"] {
		t.Fatal("the gate is open over no pods of cart")
	}
	b.setGroupReady()
	for range 2 {
		b.mustPass(t)
	}
	tested := map[string]bool{}
	for _, pod := range b.checker.tested {
		tested[string(pod.UID)] = true
	}
	for name, w := range b.workloads {
		wantState(t, b.find(name, "event/sale"), hold.Open, "")
		for _, pod := range w.listPods(b.memoryCluster) {
			if !tested[string(pod.UID)] {
				t.Errorf("pod %s is not tested", pod.Name)
			}
		}
	}
	if !b.gates.open["sale"] {
		t.Error("the gate stays shut")
	}
}
