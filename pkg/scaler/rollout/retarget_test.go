// Autoscalers that are pointed at another workload while a hold has raised them.

package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// retarget points the autoscaler at another workload, as another client; empty: at its own.
func (w *memoryWorkload) retarget(c *memoryCluster, to string) {
	w.hpa.scales, w.hpa.version = to, c.nextVersion()
}

// wantReturned fails unless the autoscaler has its original bounds, without the scaler as a field manager, and no record names it.
func (b *bench) wantReturned(t *testing.T, a *memoryAutoscaler, want hold.ReplicaBounds) {
	t.Helper()
	if a.bounds != want || a.owned {
		t.Errorf("bounds %+v, owned %v; want %+v", a.bounds, a.owned, want)
	}
	for _, h := range b.holds {
		if n := h.Status.Numbers; n != nil && n.Autoscaler == "shop" && h.HeldWorkload().Name == "shop" && hasRaisedBounds(*n) {
			t.Errorf("hold %s still has numbers of autoscaler shop: %+v", h.Name, n)
		}
	}
}

// TestD16RetargetedAutoscaler: an autoscaler that is pointed away during a hold gets its own numbers back at once, whatever became of the
// workload, and whether the hold goes on or ended meanwhile.
func TestD16RetargetedAutoscaler(t *testing.T) {
	t.Parallel()
	bounds := hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}
	for name, change := range map[string]func(t *testing.T, b *bench, w *memoryWorkload){
		"the hold goes on":  func(*testing.T, *bench, *memoryWorkload) {},
		"the hold ended":    func(t *testing.T, b *bench, _ *memoryWorkload) { b.release(t, "shop", "event/sale") },
		"its end passed":    func(_ *testing.T, b *bench, _ *memoryWorkload) { b.now = b.now.Add(5 * time.Hour) },
		"the workload went": func(_ *testing.T, _ *bench, w *memoryWorkload) { w.gone = true },
		"another workload of its name": func(_ *testing.T, b *bench, w *memoryWorkload) {
			w.replace(b.memoryCluster, 3)
		},
		"another autoscaler came": func(_ *testing.T, b *bench, _ *memoryWorkload) {
			b.addWorkload("second", 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 25}).hpa.scales = "shop"
		},
		"several autoscalers came": func(_ *testing.T, b *bench, _ *memoryWorkload) {
			for _, name := range []string{"second", "third"} {
				b.addWorkload(name, 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 25}).hpa.scales = "shop"
			}
		},
		"the process was replaced": func(_ *testing.T, b *bench, _ *memoryWorkload) { b.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			h := saleHold()
			h.MaxReplicas = 40
			b.apply(t, "shop", h)
			b.mustPass(t)
			w.ready = 20
			b.mustPass(t)
			w.retarget(b.memoryCluster, "elsewhere")
			change(t, b, w)
			if err := b.pass(t.Context()); err != nil && !errors.Is(err, errTrouble) {
				t.Fatal(err)
			}
			b.wantReturned(t, w.hpa, bounds)
			delete(b.workloads, "third")
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			scaled := w.gone || b.workloads["second"] != nil // another autoscaler decides on the replicas
			if len(b.holds) > 0 || b.gates.open["sale"] || !scaled && w.replicas > 3 {
				t.Errorf("%d holds, gate %v, %d replicas", len(b.holds), b.gates.open["sale"], w.replicas)
			}
		})
	}
}

// TestD16RetargetKilled: a process that dies at any write leaves the return to the next one.
func TestD16RetargetKilled(t *testing.T) {
	t.Parallel()
	bounds := hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}
	for before := range 6 {
		for after := range 8 {
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			b.apply(t, "shop", saleHold())
			b.writesLeft, b.afterWrite = before+1, after%2 == 0
			_ = b.pass(t.Context())
			b.restart()
			w.retarget(b.memoryCluster, "elsewhere")
			b.writesLeft = after + 1
			_ = b.pass(t.Context())
			b.restart()
			b.mustPass(t)
			b.wantReturned(t, w.hpa, bounds)
		}
	}
}

// TestD16RetargetKeepsPersonsNumber: a number that a person set with the new target stays; the scaler takes its own back.
func TestD16RetargetKeepsPersonsNumber(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	h := saleHold()
	h.MaxReplicas = 40
	b.apply(t, "shop", h)
	b.mustPass(t)
	w.retarget(b.memoryCluster, "elsewhere")
	w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 7, MaxReplicas: 40})
	b.mustPass(t)
	b.wantReturned(t, w.hpa, hold.ReplicaBounds{MinReplicas: 7, MaxReplicas: 30})
}

// TestD16RetargetBetweenHolds: the hold of the workload that an autoscaler is pointed at starts from the autoscaler's own numbers, never from
// those of the hold before, and gives those back.
func TestD16RetargetBetweenHolds(t *testing.T) {
	t.Parallel()
	bounds := hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}
	for _, heldBefore := range []bool{true, false} {
		b := newBench()
		shop, cart := b.addWorkload("shop", 2, bounds), b.addWorkload("cart", 2, hold.ReplicaBounds{})
		b.apply(t, "shop", saleHold())
		if heldBefore {
			b.apply(t, "cart", newGateHold("set/me"))
		}
		b.mustPass(t)
		shop.retarget(b.memoryCluster, "cart")
		b.apply(t, "cart", newGateHold("set/me"))
		_, err := b.engine.ReconcileOnce(t.Context(), memoryRef("cart"), b.now) // before the pass over shop
		if err != nil {
			t.Fatal(err)
		}
		b.mustPass(t)
		if got := shop.hpa.bounds; got != (hold.ReplicaBounds{MinReplicas: 4, MaxReplicas: 30}) {
			t.Errorf("held before %v: %+v; want the minimum of cart's hold", heldBefore, got)
		}
		cart.ready = 4
		b.mustPass(t)
		h := b.find("cart", "set/me")
		wantState(t, h, hold.Open, "")
		if len(h.Status.Yielded) > 0 {
			t.Errorf("held before %v: yielded %v", heldBefore, h.Status.Yielded)
		}
		b.release(t, "cart", "set/me")
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		if shop.hpa.bounds != bounds || shop.hpa.owned || shop.replicas != 2 || len(b.holds) > 0 {
			t.Errorf("held before %v: %+v, shop %d, %d holds", heldBefore, shop.hpa, shop.replicas, len(b.holds))
		}
	}
}

// TestD16RetargetDenied: an autoscaler whose numbers the API server does not take back is told, and keeps its record until it does; a hold of its new
// workload fails after its time, and says why.
func TestD16RetargetDenied(t *testing.T) {
	t.Parallel()
	bounds := hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}
	b := newBench()
	shop := b.addWorkload("shop", 2, bounds)
	b.addWorkload("cart", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	shop.retarget(b.memoryCluster, "cart")
	b.deny = apierrors.NewForbidden(schema.GroupResource{Resource: "horizontalpodautoscalers"}, "shop", errors.New("policy says no"))
	b.release(t, "shop", "event/sale")
	next := newGateHold("set/me")
	next.Until = benchStart.Add(4 * time.Hour)
	b.apply(t, "cart", next)
	_ = b.pass(t.Context())
	b.now = b.now.Add(hold.DefaultWithin)
	_ = b.pass(t.Context())
	wantState(t, b.find("cart", "set/me"), hold.RolledBack, "autoscaler shop still has the numbers of a hold of shop")
	b.wantTold(t, "event/sale", "Stuck")
	b.deny = nil
	b.mustPass(t)
	b.wantReturned(t, shop.hpa, bounds)
	if b.find("shop", "event/sale") != nil || !slices.ContainsFunc(b.events, func(e string) bool { return strings.Contains(e, "no longer scales") }) {
		t.Errorf("holds %v, events %q", b.holds, b.events)
	}
}

// TestD16AutoscalerIsReplaced: an autoscaler that is deleted and made again during a hold gets its own bounds back, also if it is a copy with the bounds of
// the hold. Bounds of its own, which a person or Git gave it, are those that come back.
func TestD16AutoscalerIsReplaced(t *testing.T) {
	t.Parallel()
	raised := hold.ReplicaBounds{MinReplicas: 20, MaxReplicas: 40}
	for name, c := range map[string]struct {
		bounds, want hold.ReplicaBounds
	}{
		"a copy":                 {raised, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10}},
		"from Git":               {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10}, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10}},
		"a person's":             {hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 50}, hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 50}},
		"a person's own minimum": {hold.ReplicaBounds{MinReplicas: 5, MaxReplicas: 40}, hold.ReplicaBounds{MinReplicas: 5, MaxReplicas: 40}},
	} {
		for _, seen := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", seen without: ", seen), func(t *testing.T) {
				t.Parallel()
				b := newBench()
				w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
				h := saleHold()
				h.MaxReplicas = 40
				b.apply(t, "shop", h)
				b.mustPass(t)
				w.ready = 20
				b.mustPass(t)
				if w.hpa.bounds != raised {
					t.Fatalf("%+v", w.hpa.bounds)
				}
				w.hpa = nil
				if seen {
					b.mustPass(t)
				}
				w.hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: c.bounds, active: true, life: 1}
				b.mustPass(t)
				if w.hpa.bounds.MinReplicas != 20 || w.hpa.bounds.MaxReplicas < 40 {
					t.Fatalf("during the hold: %+v", w.hpa.bounds)
				}
				b.release(t, "shop", "event/sale")
				b.mustPass(t)
				if w.hpa.bounds != c.want || w.hpa.owned || len(b.holds) > 0 {
					t.Errorf("%+v, owned %v, %d holds; want %+v", w.hpa.bounds, w.hpa.owned, len(b.holds), c.want)
				}
			})
		}
	}
}
