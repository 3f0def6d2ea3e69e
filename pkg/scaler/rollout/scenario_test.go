// Scenarios in memory, by the harm that they once did.

package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

func saleHold() hold.Hold {
	return hold.Hold{ID: "event/sale", By: "event 1", Replicas: 20, Until: benchStart.Add(4 * time.Hour), Gates: []string{"sale"}, Notify: []string{"oncall"}, Verify: &verify.Spec{URL: "/"}}
}

func nightHold(replicas int32) hold.Hold {
	return hold.Hold{ID: "schedule/hours", By: "scaler", Replicas: replicas, Lower: true, WindowStart: benchStart, Until: benchStart.Add(14 * time.Hour)}
}

func (b *bench) apply(t *testing.T, workload string, h hold.Hold) {
	t.Helper()
	if _, err := b.engine.ApplyHold(t.Context(), memoryRef(workload), h); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) mustPass(t *testing.T) {
	t.Helper()
	if err := b.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) release(t *testing.T, workload, id string) {
	t.Helper()
	if _, err := b.engine.EndHolds(t.Context(), memoryRef(workload), func(h *hold.Object) bool { return h.HoldID() == id }); err != nil {
		t.Fatal(err)
	}
}

func wantState(t *testing.T, h *hold.Object, want hold.State, message string) {
	t.Helper()
	switch {
	case h == nil:
		t.Fatalf("the hold is gone; want %s", want)
	case h.Status.State != want || !strings.Contains(h.Status.Message, message):
		t.Fatalf("state %s, %q; want %s, %q", h.Status.State, h.Status.Message, want, message)
	}
}

// TestUpAndBack raises, opens the gate after the pods are there, and gives everything back.
func TestUpAndBack(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
			if w.replicas != 20 || w.hpa != nil && w.hpa.bounds.MinReplicas != 20 || b.gates.open["sale"] {
				t.Fatalf("%+v, gate %v", w, b.gates.open)
			}
			w.ready = 20
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.Open, "")
			if !b.gates.open["sale"] {
				t.Fatal("the gate is shut")
			}
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			if w.hpa != nil && (w.hpa.bounds != bounds || w.hpa.owned) || w.hpa == nil && (w.replicas != 2 || w.owned) || len(b.holds) > 0 || b.gates.open["sale"] {
				t.Fatalf("%+v %+v, holds %v, gate %v", w, w.hpa, b.holds, b.gates.open)
			}
			if told := b.notifier.told["shop event/sale"]; len(told) != 2 {
				t.Fatalf("told %q", told)
			}
		})
	}
}

// TestD1: a gate opens over no fewer pods than the hold asks for.
func TestD1GateNeedsAllPods(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.scale(b.memoryCluster, 2) // as Argo CD does
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "another client set 2 replicas")
	if b.gates.open["sale"] || w.replicas != 2 || len(b.notifier.told["shop event/sale"]) != 1 {
		t.Fatalf("gate %v, %d replicas, told %q", b.gates.open, w.replicas, b.notifier.told)
	}
}

// TestD2: one gate for two workloads opens after both are up, and stays shut when one fails.
func TestD2GroupOpensTogether(t *testing.T) {
	t.Parallel()
	for _, cartStarts := range []bool{true, false} {
		b := newBench()
		shop, cart := b.addWorkload("shop", 2, hold.ReplicaBounds{}), b.addWorkload("cart", 2, hold.ReplicaBounds{})
		h := saleHold()
		h.Group, h.GroupSize = "event/sale", 2
		b.apply(t, "shop", h)
		b.apply(t, "cart", h)
		b.mustPass(t)
		shop.ready = 20
		b.mustPass(t)
		if b.gates.open["sale"] {
			t.Fatal("the gate opened with one of two workloads")
		}
		if cartStarts {
			cart.ready = 20
		} else {
			b.now = b.now.Add(hold.DefaultWithin)
		}
		b.mustPass(t)
		b.mustPass(t)
		if b.gates.open["sale"] != cartStarts {
			t.Fatalf("cart starts: %v, gate %v", cartStarts, b.gates.open)
		}
		if !cartStarts {
			wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "group")
		}
	}
}

// TestD3: a gate that a dead process opened is shut by whoever rolls the hold back.
func TestD3GateShutAfterKill(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.gates.onOpen = func(string, int) { b.writesLeft = 1 } // dies before it writes Open
	if err := b.pass(t.Context()); err == nil || !b.gates.open["sale"] {
		t.Fatalf("%v, gate %v", err, b.gates.open)
	}
	b.gates.onOpen = nil
	b.restart()
	w.scale(b.memoryCluster, 2)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "another client")
	if b.gates.open["sale"] {
		t.Fatal("the gate stayed open after a rollback")
	}
}

// TestD4: a person's number stays where the hold's number is the workload's own.
func TestD4PersonAtNight(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	b.apply(t, "shop", nightHold(2))
	b.mustPass(t)
	w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 6, MaxReplicas: 10})
	b.mustPass(t)
	b.now = b.now.Add(time.Hour)
	b.mustPass(t)
	h := b.find("shop", "schedule/hours")
	if w.hpa.bounds.MinReplicas != 6 || findHoldCondition(h, conditionYielded) == nil {
		t.Fatalf("bounds %+v, status %+v", w.hpa.bounds, h.Status)
	}
}

// TestD5: a yield ends with its window, and the next window states its number anew.
func TestD5YieldEndsWithWindow(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	b.apply(t, "shop", nightHold(8))
	b.mustPass(t)
	w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 10})
	b.mustPass(t)
	if w.hpa.bounds.MinReplicas != 3 {
		t.Fatalf("taken back: %+v", w.hpa.bounds)
	}
	next := nightHold(5)
	next.WindowStart, next.Until = next.Until, next.Until.Add(10*time.Hour)
	b.apply(t, "shop", next)
	b.mustPass(t)
	if w.hpa.bounds.MinReplicas != 5 {
		t.Fatalf("the next window: %+v", w.hpa.bounds)
	}
	b.release(t, "shop", "schedule/hours")
	b.mustPass(t)
	if w.hpa.bounds.MinReplicas != 3 {
		t.Fatalf("the person's number did not come back: %+v", w.hpa.bounds)
	}
}

// TestD6: pods that the autoscaler adds are not the hold's failure, and a rollback leaves them to it.
func TestD6AutoscalerAdds(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.scale(b.memoryCluster, 25)
	w.ready = 20
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	b = newBench()
	w = b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.checker.passed = false
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.scale(b.memoryCluster, 25)
	w.ready = 25
	b.mustPass(t)
	if w.hpa.bounds.MinReplicas != 2 || w.replicas != 25 || b.gates.open["sale"] {
		t.Fatalf("%+v, %d replicas", w.hpa.bounds, w.replicas)
	}
}

// TestD8: a hold names gates; a gate that is not allowed in its namespace is no gate.
func TestD8ForbiddenGate(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.Gates, h.Until = []string{"forbidden"}, benchStart.Add(time.Hour)
	b.apply(t, "shop", h)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "not allowed for namespace sale")
	if w.replicas != 2 {
		t.Fatalf("%d replicas", w.replicas)
	}
}

// TestD12: an outcome that is owed is told by the next process.
func TestD12ToldByTheNext(t *testing.T) {
	t.Parallel()
	for writes := 1; writes < 14; writes++ {
		b := newFailedSale(t)
		b.writesLeft = writes
		_ = b.pass(t.Context())
		b.restart()
		b.mustPass(t)
		b.mustPass(t)
		if told := b.notifier.told["shop event/sale"]; len(told) == 0 || !strings.HasPrefix(told[0], "RolledBack: ") {
			t.Fatalf("died at write %d, told %q", writes, told)
		}
	}
}

// TestD14: a failed verification is tried again inside the window, with growing pauses, and told once.
func TestD14RetryInWindow(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.checker.passed = false
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := nightHold(8)
	h.Verify, h.Notify = &verify.Spec{URL: "/"}, []string{"oncall"}
	b.apply(t, "shop", h)
	b.mustPass(t)
	w.ready = 8
	b.mustPass(t)
	wantState(t, b.find("shop", "schedule/hours"), hold.RolledBack, "")
	b.now = b.now.Add(firstRetryPause)
	b.mustPass(t)
	w.ready = 8
	b.mustPass(t)
	h2 := b.find("shop", "schedule/hours")
	if pause := h2.Status.RetryAt.Sub(b.now); h2.Status.Failures != 2 || pause != 2*firstRetryPause || len(b.notifier.told["shop schedule/hours"]) != 1 {
		t.Fatalf("%+v, pause %s, told %q", h2.Status, pause, b.notifier.told)
	}
	b.checker.passed = true
	b.now = b.now.Add(2 * firstRetryPause)
	b.mustPass(t)
	w.ready = 8
	b.mustPass(t)
	wantState(t, b.find("shop", "schedule/hours"), hold.Open, "")
}

// TestD17: an autoscaler of KEDA is rejected with a sentence that says so.
func TestD17ScaledObject(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	w.hpa.scaledObject = "shop-keda"
	h := saleHold()
	h.Until = benchStart.Add(time.Hour)
	b.apply(t, "shop", h)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "ScaledObject shop-keda")
	if w.hpa.bounds.MinReplicas != 2 || w.replicas != 2 {
		t.Fatalf("%+v %+v", w, w.hpa)
	}
}

// TestD18: the night comes down where the autoscaler has no metrics, and leaves the autoscaler's own number.
func TestD18NightWithoutMetrics(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	w.hpa.active = false
	b.apply(t, "shop", nightHold(8))
	b.mustPass(t)
	if w.replicas != 8 {
		t.Fatalf("day: %d replicas", w.replicas)
	}
	w.ready = 8
	b.mustPass(t)
	night := nightHold(2)
	night.Until = night.Until.Add(10 * time.Hour)
	b.apply(t, "shop", night)
	b.mustPass(t)
	if w.replicas != 2 {
		t.Fatalf("night: %d replicas", w.replicas)
	}
}

// TestD19: 0 beside an autoscaler is rejected, and a workload that was at 0 goes back to 0.
func TestD19Zero(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	h := nightHold(0)
	b.apply(t, "shop", h)
	b.mustPass(t)
	wantState(t, b.find("shop", "schedule/hours"), hold.RolledBack, "at least one replica")
	b.release(t, "shop", "schedule/hours")
	b.mustPass(t)
	w.scale(b.memoryCluster, 0)
	b.apply(t, "shop", nightHold(4))
	b.mustPass(t)
	if w.replicas != 4 {
		t.Fatalf("%d replicas", w.replicas)
	}
	b.release(t, "shop", "schedule/hours")
	b.mustPass(t)
	if w.replicas != 0 {
		t.Fatalf("after the release: %d replicas", w.replicas)
	}
}

// TestD25: many failed holds keep no other out.
func TestD25ManyFailedHolds(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	for i := range 40 {
		h := saleHold() // above the maximum
		h.ID, h.Until = "event/"+strings.Repeat("x", i+1), benchStart.Add(time.Hour)
		b.apply(t, "shop", h)
	}
	b.apply(t, "shop", nightHold(8))
	b.mustPass(t)
	wantState(t, b.find("shop", "schedule/hours"), hold.Scaled, "")
}

// TestPodsOfBefore: a hold that is tried again while another rollback lowers the workload is not judged by the pods of before.
func TestPodsOfBefore(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	b.release(t, "shop", "event/sale")
	small := saleHold()
	small.ID, small.Replicas, small.Verify, small.Gates = "event/small", 5, nil, []string{"small"}
	b.apply(t, "shop", small)
	b.gates.onOpen = func(string, int) {
		if w.ready < 5 {
			t.Errorf("the gate opens with %d of 5 pods", w.ready)
		}
	}
	b.mustPass(t)
}

// TestD5YieldLastsForTheWindow: a person's number stays until the end of the window, although the steps of a ramp, or a change of the configuration, change
// the schedule's hold meanwhile, and nobody is told of a failure. A pause still counts. The next window states its number anew.
func TestD5YieldLastsForTheWindow(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			number := func() int32 {
				if w.hpa != nil {
					return w.hpa.bounds.MinReplicas
				}
				return w.replicas
			}
			window := nightHold(4)
			window.Reason, window.Notify = "day", []string{"oncall"}
			pass := func(h hold.Hold, want int32) {
				t.Helper()
				b.apply(t, "shop", h)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				if got := number(); got != want {
					t.Fatalf("%s, %d replicas: %d; want %d", h.Reason, h.Replicas, got, want)
				}
			}
			pass(window, 4)
			if w.hpa != nil {
				w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 30})
			} else {
				w.scale(b.memoryCluster, 3)
			}
			b.mustPass(t)
			for _, replicas := range []int32{6, 8, 2} {
				window.Replicas = replicas
				pass(window, 3)
			}
			window.Notify = []string{"oncall", "team"}
			pass(window, 3)
			window.Paused = true
			pass(window, 3)
			if !b.find("shop", "schedule/hours").IsPaused(b.now) {
				t.Error("not paused")
			}
			window.Paused = false
			pass(window, 2) // resumed, it states its number anew
			night := nightHold(5)
			night.Reason, night.WindowStart, night.Until = "night", window.Until, window.Until.Add(8*time.Hour)
			pass(night, 5)
			if told := b.notifier.told["shop schedule/hours"]; slices.ContainsFunc(told, func(m string) bool { return strings.HasPrefix(m, "RolledBack") }) {
				t.Errorf("told %v", told)
			}
		})
	}
}

// TestD5MaximumInARamp: a person's maximum does not stop the minimum of a ramp, and stays.
func TestD5MaximumInARamp(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	window := nightHold(4)
	window.Reason, window.MaxReplicas = "day", 20
	for _, replicas := range []int32{4, 6, 8} {
		window.Replicas = replicas
		b.apply(t, "shop", window)
		b.mustPass(t)
		w.ready = w.replicas
		b.mustPass(t)
		if replicas == 4 {
			w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 4, MaxReplicas: 15})
			b.mustPass(t)
		}
		if got, want := w.hpa.bounds, (hold.ReplicaBounds{MinReplicas: replicas, MaxReplicas: 15}); got != want {
			t.Errorf("%+v; want %+v", got, want)
		}
	}
	b.release(t, "shop", "schedule/hours")
	b.mustPass(t)
	if got, want := w.hpa.bounds, (hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 15}); got != want {
		t.Errorf("released: %+v; want %+v", got, want)
	}
}
