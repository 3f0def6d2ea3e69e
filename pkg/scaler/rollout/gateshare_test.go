// Gates that several holds have open, and gates that leave the configuration.

package rollout

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newGateHold returns a hold without an end on gates.
func newGateHold(id string, gates ...string) hold.Hold {
	return hold.Hold{ID: id, By: "a person", Replicas: 4, Gates: gates, Notify: []string{"oncall"}}
}

// TestD3DifferentGates: of the gates of a hold that ends, those shut that no other hold has open.
func TestD3DifferentGates(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	for _, h := range []hold.Hold{newGateHold("both", "a", "b"), newGateHold("one", "a")} {
		b.apply(t, "shop", h)
		b.mustPass(t)
		w.ready = 4
		b.mustPass(t)
	}
	b.release(t, "shop", "both")
	b.mustPass(t)
	if !b.gates.open["a"] || b.gates.open["b"] {
		t.Errorf("open: %v; want a alone", b.gates.open)
	}
}

// TestD3StepsOfASharedGate: a gate is open as far as the hold asks that asks for most, whichever hold begins and ends.
func TestD3StepsOfASharedGate(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.gates.places["a"] = "closed"
	b.gates.plans = map[string]action.Plan{"a": {Steps: []int{10, 50, 100}, Pause: time.Minute}}
	shop, cart := b.addWorkload("shop", 2, hold.ReplicaBounds{}), b.addWorkload("cart", 2, hold.ReplicaBounds{})
	raise := func(w *memoryWorkload, id string, passes int) {
		b.apply(t, w.name, newGateHold(id, "a"))
		b.mustPass(t)
		w.ready = 4
		for range passes {
			b.mustPass(t)
			b.now = b.now.Add(time.Minute)
		}
	}
	want := func(what string, percent string) {
		t.Helper()
		if b.gates.places["a"] != percent {
			t.Fatalf("%s: the gate is at %s; want %s", what, b.gates.places["a"], percent)
		}
	}
	raise(shop, "first", 3)
	want("the first is open", "100")
	raise(cart, "second", 1)
	want("the second begins its steps", "100")
	b.release(t, "shop", "first")
	b.mustPass(t)
	want("the first ends while the second is at its second step", "50")
	b.release(t, "cart", "second")
	b.mustPass(t)
	want("both ended", "closed")
}

// TestD3GateLeavesConfiguration: a gate that the configuration lost while it was open cannot be shut, and the notifiers learn so.
func TestD3GateLeavesConfiguration(t *testing.T) {
	t.Parallel()
	b, w := newOpenGate(t)
	b.gates.lost = "a"
	b.release(t, "shop", "set/me")
	b.mustPass(t)
	if len(b.holds) > 0 || w.replicas != 2 {
		t.Fatalf("%d holds, %d replicas", len(b.holds), w.replicas)
	}
	if !strings.Contains(strings.Join(b.notifier.whys, "\n"), "gate a stays open") {
		t.Errorf("told: %q, %q", b.notifier.told, b.notifier.whys)
	}
}

// TestD3GateIsRenamed: a gate that the configuration has under another name by now opens and shuts as before, whenever in the course of its hold the name
// changed, once or back again. A gate with other actions does not take its place.
func TestD3GateIsRenamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lost []string // by minute
		same string
		told string
	}{
		"before its pods are ready": {lost: []string{"a"}, same: "a"},
		"between two steps":         {lost: []string{"", "", "a"}, same: "a"},
		"while it is open":          {lost: []string{"", "", "", "", "a"}, same: "a"},
		"and back again":            {lost: []string{"", "", "a", "b"}, same: "a"},
		"to other actions":          {lost: []string{"", "", "", "", "a"}, same: "c", told: "gate a stays open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			b.gates.places["a"], b.gates.same = "closed", map[string]string{"b": c.same}
			plan := action.Plan{Steps: []int{10, 50, 100}, Pause: time.Minute}
			b.gates.plans = map[string]action.Plan{"a": plan, "b": plan}
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			b.apply(t, "shop", newGateHold("set/me", "a"))
			b.mustPass(t)
			for minute := range 6 {
				if minute < len(c.lost) {
					b.gates.lost = c.lost[minute]
					b.restart()
				}
				b.mustPass(t)
				w.ready = 4
				b.mustPass(t)
				b.now = b.now.Add(time.Minute)
			}
			if wantState(t, b.find("shop", "set/me"), hold.Open, ""); b.gates.places["a"] != "100" {
				t.Fatalf("the gate is at %s", b.gates.places["a"])
			}
			b.release(t, "shop", "set/me")
			b.mustPass(t)
			if shut := b.gates.places["a"] == "closed"; len(b.holds) > 0 || shut != (c.told == "") {
				t.Errorf("%d holds; the gate is at %s", len(b.holds), b.gates.places["a"])
			}
			if why := strings.Join(b.notifier.whys, "\n"); strings.Contains(why, "stays open") != (c.told != "") || !strings.Contains(why, c.told) {
				t.Errorf("told: %q", why)
			}
		})
	}
}

// TestD3FewerSteps: a configuration with fewer steps than a gate has already made is no fault of the hold.
func TestD3FewerSteps(t *testing.T) {
	t.Parallel()
	b, w := newSteppedSale(t, action.Plan{Steps: []int{10, 50, 100}, Pause: time.Minute})
	b.now = b.now.Add(time.Minute)
	b.mustPass(t)
	b.wantPercents(t, 10, 50)
	b.gates.plans["sale"] = action.Plan{}
	second := saleHold()
	second.ID = "event/other"
	b.apply(t, "shop", second)
	b.mustPass(t)
	w.ready = 20
	b.now = b.now.Add(time.Minute)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	wantState(t, b.find("shop", "event/other"), hold.Open, "")
}

// TestD3GatesWithTheSameActions: two rules whose gates have the same actions have one gate: it is open for as long as one hold with its pods has it
// open, whichever ends first and however it ends, and then has what was there before the first.
func TestD3GatesWithTheSameActions(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, b *bench, id string){
		"released": func(t *testing.T, b *bench, id string) { b.release(t, "shop", id) },
		"over":     func(_ *testing.T, b *bench, _ string) { b.now = b.now.Add(time.Hour) },
		"paused":   func(_ *testing.T, b *bench, id string) { b.find("shop", id).Spec.Paused = true },
		"workload gone": func(_ *testing.T, b *bench, _ string) {
			b.workloads["shop"].gone = true
		},
	} {
		for _, first := range []string{"sale", "vip"} {
			b := newBench()
			b.gates.same, b.gates.places["vip"] = map[string]string{"sale": "vip"}, "closed"
			shop, cart := b.addWorkload("shop", 2, hold.ReplicaBounds{}), b.addWorkload("cart", 2, hold.ReplicaBounds{})
			second := map[string]string{"sale": "vip", "vip": "sale"}[first]
			ending, staying := newGateHold("set/first", first), newGateHold("set/second", second)
			ending.Until = benchStart.Add(time.Hour)
			b.apply(t, "shop", ending)
			b.mustPass(t)
			shop.ready = 4
			b.mustPass(t)
			b.apply(t, "cart", staying)
			b.mustPass(t)
			cart.ready = 4
			b.mustPass(t)
			wantState(t, b.find("cart", "set/second"), hold.Open, "")
			end(t, b, "set/first")
			b.mustPass(t)
			if !b.gates.open["vip"] || b.gates.places["vip"] != "100" {
				t.Errorf("%s, %s first: the gate is at %q while the second hold is open", name, first, b.gates.places["vip"])
			}
			b.release(t, "cart", "set/second")
			b.mustPass(t)
			if b.gates.open["vip"] || b.gates.places["vip"] != "closed" {
				t.Errorf("%s, %s first: the gate is at %q after both", name, first, b.gates.places["vip"])
			}
		}
	}
}

// conflictingGates are gates of which one would shut another.
type conflictingGates struct {
	*memoryGates
	conflict string // of the gate sale
}

func (g *conflictingGates) Conflict(gate string) string {
	if gate == "sale" {
		return g.conflict
	}
	return ""
}

// TestD3ConflictingGate: a hold does not begin to use a gate that would shut another, as only the cluster tells. One that has it open already shuts it at its end.
func TestD3ConflictingGate(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	gates := &conflictingGates{b.gates, "gate sale changes ClusterEdge cdn, as gate a does for another namespace"}
	b.engine = New(Options{Cluster: b.memoryCluster, Checker: b.checker, Gates: gates, Notifier: b.notifier, Owner: "bench"})
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	if b.gates.open["sale"] || w.replicas != 2 {
		t.Fatalf("gate %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, gates.conflict)
	if w.replicas != 2 {
		t.Errorf("%d replicas", w.replicas)
	}
}

// newOpenGate returns a bench with a hold of the workload shop, whose gate a is open.
func newOpenGate(t *testing.T) (*bench, *memoryWorkload) {
	t.Helper()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", newGateHold("set/me", "a"))
	b.mustPass(t)
	w.ready = 4
	b.mustPass(t)
	if !b.gates.open["a"] {
		t.Fatal("the gate is not open")
	}
	return b, w
}

// lastTold returns the newest message about a hold of a workload; empty: none.
func lastTold(b *bench, of string) string {
	if all := b.notifier.told[of]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// TestD3GateMovesToAnotherNamespace: a gate that is for another namespace by now is shut at the end of a hold that has it open, and no hold opens it.
func TestD3GateMovesToAnotherNamespace(t *testing.T) {
	t.Parallel()
	b, w := newOpenGate(t)
	b.gates.moved = "a"
	b.restart()
	b.release(t, "shop", "set/me")
	b.mustPass(t)
	if b.gates.open["a"] || len(b.holds) > 0 || w.replicas != 2 {
		t.Errorf("open %v, %d holds, %d replicas", b.gates.open["a"], len(b.holds), w.replicas)
	}
	b.apply(t, "shop", newGateHold("set/me", "a"))
	b.mustPass(t)
	w.ready = 4
	b.mustPass(t)
	if b.gates.open["a"] {
		t.Error("another hold opened the gate")
	}
}

// TestD3GateStaysOpen: the notifiers learn of a gate that only a person can shut, and no later message ends that at a receiver.
func TestD3GateStaysOpen(t *testing.T) {
	t.Parallel()
	b, _ := newOpenGate(t)
	b.gates.lost = "a"
	b.release(t, "shop", "set/me")
	b.notifier.down = true
	b.mustPass(t)
	wantCondition(t, b.find("shop", "set/me"), conditionGateShut, metav1.ConditionFalse, "gate a stays open")
	b.notifier.down = false
	b.restart()
	b.mustPass(t)
	if got := lastTold(b, "shop set/me"); got != "Stuck: the gate stays open: 2 replicas" || len(b.holds) > 0 {
		t.Errorf("told %q, %d holds", b.notifier.told, len(b.holds))
	}
}

// TestD3GateCannotBeShut: the notifiers learn of a gate that cannot be shut for a minute, which keeps the pods, and then of the end.
func TestD3GateCannotBeShut(t *testing.T) {
	t.Parallel()
	b, w := newOpenGate(t)
	b.gates.fail = errors.New("the receiver is away")
	b.release(t, "shop", "set/me")
	for _, c := range []struct {
		after time.Duration
		told  string
	}{{0, "Up: up: 4 replicas"}, {gateOpenTimeout - time.Second, "Up: up: 4 replicas"}, {time.Second, "Stuck: the gate stays open: 4 replicas"}, {time.Hour, "Stuck: the gate stays open: 4 replicas"}} {
		b.now = b.now.Add(c.after)
		b.mustPass(t)
		if got := lastTold(b, "shop set/me"); got != c.told || w.replicas != 4 || !FailsToShutGates(b.find("shop", "set/me")) {
			t.Errorf("after %s: told %q; %d replicas", c.after, b.notifier.told, w.replicas)
		}
	}
	wantCondition(t, b.find("shop", "set/me"), conditionGateShut, metav1.ConditionFalse, "the receiver is away")
	b.gates.fail = nil
	b.now = b.now.Add(retryInterval)
	b.mustPass(t)
	if got := lastTold(b, "shop set/me"); got != "Ended: ended: 2 replicas" || len(b.holds) > 0 || w.replicas != 2 || b.gates.open["a"] {
		t.Errorf("told %q; %d holds, %d replicas, open %v", b.notifier.told, len(b.holds), w.replicas, b.gates.open["a"])
	}
}
