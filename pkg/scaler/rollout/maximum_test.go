package rollout

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newAutoscaler returns an active autoscaler, other than all before.
func (b *bench) newAutoscaler(bounds hold.ReplicaBounds) *memoryAutoscaler {
	return &memoryAutoscaler{version: b.nextVersion(), bounds: bounds, active: true, life: b.nextVersion()}
}

// wantYielded checks that the only Hold of a workload says once, in each way, that it does not have what it asks for, and that its gate is open.
func (b *bench) wantYielded(t *testing.T, id, reason, text string) {
	t.Helper()
	h := b.find("shop", id)
	wantState(t, h, hold.Open, "")
	c := findHoldCondition(h, conditionYielded)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != reason || !strings.Contains(c.Message, text) {
		t.Errorf("condition %+v; want %s, %q", c, reason, text)
	}
	told := slices.DeleteFunc(slices.Clone(b.notifier.told["shop "+id]), func(m string) bool { return !strings.HasPrefix(m, "Yielded: ") })
	if len(told) != 1 || !strings.Contains(told[0], text) {
		t.Errorf("told %q; want %q once", told, text)
	}
	events := slices.DeleteFunc(slices.Clone(b.events), func(e string) bool { return !strings.HasPrefix(e, reasonYielded+": ") })
	if len(events) != 1 || !strings.Contains(events[0], text) {
		t.Errorf("Events %q; want %q once", events, text)
	}
	if n := testutil.ToFloat64(b.engine.Metrics.yields); n != 1 {
		t.Errorf("%v yields are counted; want 1", n)
	}
	if !b.gates.open["sale"] {
		t.Error("the gate is shut")
	}
}

// TestD1MaximumBelowOpenHold: an open hold tells in each way that its autoscaler takes pods from it. Its gate stays open.
func TestD1MaximumBelowOpenHold(t *testing.T) {
	t.Parallel()
	ten := hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 10}
	for name, c := range map[string]struct {
		bounds       hold.ReplicaBounds // before the hold
		change       func(b *bench, w *memoryWorkload)
		reason, text string
	}{
		"it comes":      {hold.ReplicaBounds{}, func(b *bench, w *memoryWorkload) { w.hpa = b.newAutoscaler(ten) }, "AutoscalerMaximum", "autoscaler shop allows at most 10 replicas; the hold asks for 20"},
		"it is lowered": {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}, func(b *bench, w *memoryWorkload) { w.setBounds(b.memoryCluster, ten) }, "SetByOther", "maxReplicas 10"},
		"another comes": {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}, func(b *bench, w *memoryWorkload) { w.hpa = b.newAutoscaler(ten) }, "AutoscalerMaximum", "at most 10 replicas"},
		"another comes, after a pass without": {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}, func(b *bench, w *memoryWorkload) {
			w.hpa = nil
			_ = b.pass(t.Context())
			w.hpa = b.newAutoscaler(ten)
		}, "AutoscalerMaximum", "at most 10 replicas"},
		"KEDA takes it": {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}, func(_ *bench, w *memoryWorkload) { w.hpa.scaledObject = "orders" }, "ScaledObject", "belongs to ScaledObject orders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, c.bounds)
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			w.ready = 20
			b.mustPass(t)
			c.change(b, w)
			w.follow(b.memoryCluster)
			b.mustPass(t)
			b.now = b.now.Add(time.Minute)
			b.mustPass(t)
			b.wantYielded(t, "event/sale", c.reason, c.text)
		})
	}
}

// TestD1MaximumOfAnotherHoldEnds: a hold that was accepted below the maxReplicas of another hold says so when that one ends.
func TestD1MaximumOfAnotherHoldEnds(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	b.apply(t, "shop", hold.Hold{ID: "set/alice", By: "alice", Replicas: 5, MaxReplicas: 30})
	b.mustPass(t)
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.mustPass(t)
	b.release(t, "shop", "set/alice")
	b.mustPass(t)
	w.follow(b.memoryCluster)
	b.mustPass(t)
	b.wantYielded(t, "event/sale", "AutoscalerMaximum", "at most 10 replicas")
}

// TestD1MaximumRisesAgain: the condition ends with its cause, and a second cause is told again.
func TestD1MaximumRisesAgain(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	ten, thirty := hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 10}, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}
	w.hpa = b.newAutoscaler(ten)
	w.follow(b.memoryCluster)
	b.mustPass(t)
	w.hpa = b.newAutoscaler(thirty)
	b.mustPass(t)
	if c := findHoldCondition(b.find("shop", "event/sale"), conditionYielded); c != nil || w.hpa.bounds.MinReplicas != 20 {
		t.Errorf("%+v, %+v", c, w.hpa.bounds)
	}
	w.hpa = b.newAutoscaler(ten)
	b.mustPass(t)
	if told := b.notifier.told["shop event/sale"]; len(told) != 3 {
		t.Errorf("told %q; want the hold up, and both maximums", told)
	}
}

// TestD1MaximumEndsWithTheHold: a hold that is no longer open does not go on to say that its autoscaler takes pods from it.
func TestD1MaximumEndsWithTheHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(b *bench, w *memoryWorkload)
		want   hold.State
	}{
		"the workload is deleted":  {func(_ *bench, w *memoryWorkload) { w.gone = true }, hold.Received},
		"a person breaks the hold": {func(b *bench, _ *memoryWorkload) { b.find("shop", "event/sale").Fault = "replicas: must be a number" }, hold.RolledBack},
		"the workload is replaced": {func(b *bench, w *memoryWorkload) { w.replace(b.memoryCluster, 2) }, hold.RolledBack},
	} {
		b, w := newOpenSale(t)
		w.hpa = b.newAutoscaler(hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 10})
		w.follow(b.memoryCluster)
		b.mustPass(t)
		b.wantYielded(t, "event/sale", yieldedToMaximum, "at most 10 replicas")
		c.change(b, w)
		b.mustPass(t)
		h := b.find("shop", "event/sale")
		wantState(t, h, c.want, "")
		if isHoldYielded(h) {
			t.Errorf("%s: %+v", name, findHoldCondition(h, conditionYielded))
		}
	}
}

// TestD1MaximumComesBeforeTheGate: a hold that is not open yet fails at once with the autoscaler that cannot have its pods.
func TestD1MaximumComesBeforeTheGate(t *testing.T) {
	t.Parallel()
	for _, state := range []hold.State{hold.Scaled, hold.Verified} {
		b := newBench()
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
		b.apply(t, "shop", saleHold())
		b.gates.fail = errors.New("away")
		b.mustPass(t)
		if state == hold.Verified {
			w.ready = 20
			b.mustPass(t)
		}
		wantState(t, b.find("shop", "event/sale"), state, "")
		w.hpa = b.newAutoscaler(hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 10})
		b.gates.fail = nil
		b.gates.onOpen = func(string, int) { t.Errorf("%s: the gate opens", state) }
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "allows at most 10 replicas")
		if w.hpa.bounds.MinReplicas != 1 {
			t.Errorf("%+v", w.hpa.bounds)
		}
	}
}

// TestYieldEndsWithAPause: a hold that is resumed states its numbers anew, and no longer says that it leaves one.
func TestYieldEndsWithAPause(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	w.scale(b.memoryCluster, 5)
	b.mustPass(t)
	b.pauseHold(t, "shop", "event/sale", true, nil)
	b.mustPass(t)
	b.pauseHold(t, "shop", "event/sale", false, nil)
	b.mustPass(t)
	h := b.find("shop", "event/sale")
	if c := findHoldCondition(h, conditionYielded); w.replicas != 20 || c != nil && c.Status == metav1.ConditionTrue {
		t.Errorf("%d replicas, %+v", w.replicas, c)
	}
}

// TestD4PersonsBoundBeyondTheOther: a bound that a person sets during a hold stays at its end, also beyond the original other bound, which
// makes room.
func TestD4PersonsBoundBeyondTheOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ was, persons, want hold.ReplicaBounds }{
		"minimum": {hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 5}, hold.ReplicaBounds{MinReplicas: 6, MaxReplicas: 30}, hold.ReplicaBounds{MinReplicas: 6, MaxReplicas: 6}},
		"maximum": {hold.ReplicaBounds{MinReplicas: 10, MaxReplicas: 12}, hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 8}, hold.ReplicaBounds{MinReplicas: 8, MaxReplicas: 8}},
	} {
		for _, retargeted := range []bool{false, true} {
			b := newBench()
			w := b.addWorkload("shop", 5, c.was)
			b.apply(t, "shop", hold.Hold{ID: "set/alice", By: "alice", Replicas: 3, MaxReplicas: 30, Lower: true})
			b.mustPass(t)
			if c.persons.MaxReplicas != w.hpa.bounds.MaxReplicas && c.persons.MinReplicas != w.hpa.bounds.MinReplicas {
				t.Fatalf("%s: the person sets both of %+v", name, w.hpa.bounds)
			}
			w.setBounds(b.memoryCluster, c.persons)
			if retargeted {
				w.retarget(b.memoryCluster, "elsewhere")
			} else {
				b.mustPass(t)
				b.release(t, "shop", "set/alice")
			}
			b.mustPass(t)
			if w.hpa.bounds != c.want {
				t.Errorf("%s, retargeted %v: %+v; want %+v", name, retargeted, w.hpa.bounds, c.want)
			}
		}
	}
}
