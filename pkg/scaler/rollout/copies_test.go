// Workloads and autoscalers that are deleted and made again from their live copies, or deleted for good, during a hold.

package rollout

import (
	"fmt"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD16CopiedWorkload: a workload that is made again from a copy, with a number of the holds, gets back what was there before them. Its pods are all new.
func TestD16CopiedWorkload(t *testing.T) {
	t.Parallel()
	for _, bounds := range []hold.ReplicaBounds{{}, {MinReplicas: 2, MaxReplicas: 30}} {
		for _, seen := range []bool{true, false} {
			for copied, want := range map[int32]int32{20: 2, 8: 2, 3: 3} { // of the sale, of the schedule, and of its own
				t.Run(fmt.Sprint(bounds, " seen ", seen, " copied ", copied), func(t *testing.T) {
					t.Parallel()
					b := newBench()
					w := b.addWorkload("shop", 2, bounds)
					if w.hpa != nil {
						w.hpa.active = false // it leaves the way down to the scaler
					}
					b.apply(t, "shop", nightHold(8))
					b.apply(t, "shop", saleHold())
					b.mustPass(t)
					w.ready = 20
					b.mustPass(t)
					w.gone = true
					if seen {
						b.mustPass(t)
					}
					w.replace(b.memoryCluster, copied)
					b.now = b.now.Add(time.Minute)
					b.mustPass(t)
					if h := b.find("shop", "event/sale"); h.Status.ReplicasBefore != 0 || b.gates.open["sale"] || w.replicas != 20 {
						t.Fatalf("%+v, gate %v, %d replicas", h.Status, b.gates.open["sale"], w.replicas)
					}
					w.ready = 20
					b.mustPass(t)
					wantState(t, b.find("shop", "event/sale"), hold.Open, "")
					for _, id := range []string{"event/sale", "schedule/hours"} {
						b.release(t, "shop", id)
						b.mustPass(t)
					}
					if w.replicas != want || w.owned || len(b.holds) > 0 || w.hpa != nil && w.hpa.bounds != bounds {
						t.Errorf("%d replicas, owned %v, %d holds; want %d", w.replicas, w.owned, len(b.holds), want)
					}
				})
			}
		}
	}
}

// TestD16CopiedWorkloadAndAutoscaler: both are deleted, and made again from their copies, with passes in between.
func TestD16CopiedWorkloadAndAutoscaler(t *testing.T) {
	t.Parallel()
	for passes := range 8 {
		b := newBench()
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
		pass := func(bit int) {
			if passes&(1<<bit) != 0 {
				b.mustPass(t)
			}
		}
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		w.hpa = nil
		pass(0)
		w.gone = true
		pass(1)
		w.replace(b.memoryCluster, 20)
		pass(2)
		w.hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: hold.ReplicaBounds{MinReplicas: 20, MaxReplicas: 30}, life: 1}
		b.mustPass(t)
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		if w.replicas != 2 || w.hpa.bounds != (hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}) || w.hpa.owned || len(b.holds) > 0 {
			t.Errorf("passes %b: %d replicas, %+v, %d holds", passes, w.replicas, w.hpa, len(b.holds))
		}
	}
}

// TestD16EditedCopyOfAutoscaler: a copy whose maximum a person edited gets its original minimum back, and keeps that maximum.
func TestD16EditedCopyOfAutoscaler(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: hold.ReplicaBounds{MinReplicas: 20, MaxReplicas: 50}, active: true, life: 1}
	b.mustPass(t)
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	if want := (hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 50}); w.hpa.bounds != want || w.hpa.owned {
		t.Errorf("%+v; want %+v", w.hpa, want)
	}
}

// TestD16DeletedAutoscaler: an autoscaler that is deleted during a hold leaves as many replicas as it asked for while the hold lasts, and the original ones after
// it.
func TestD16DeletedAutoscaler(t *testing.T) {
	t.Parallel()
	for _, active := range []bool{true, false} {
		for _, moved := range []int32{20, 25} {
			for _, seen := range []bool{true, false} {
				b := newBench()
				w := b.addWorkload("shop", 5, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
				b.apply(t, "shop", saleHold())
				b.mustPass(t)
				w.scale(b.memoryCluster, moved)
				w.ready, w.hpa.active = moved, active
				b.mustPass(t)
				w.hpa = nil
				if seen {
					b.mustPass(t)
					b.now = b.now.Add(time.Minute)
					b.mustPass(t)
					if h := b.find("shop", "event/sale"); w.replicas != moved || !b.gates.open["sale"] || len(h.Status.Yielded) > 0 {
						t.Errorf("active %v: %d replicas, gate %v, yielded %v; want %d", active, w.replicas, b.gates.open["sale"], h.Status.Yielded, moved)
					}
				}
				b.release(t, "shop", "event/sale")
				b.mustPass(t)
				if w.replicas != 5 || w.owned || len(b.holds) > 0 {
					t.Errorf("active %v, moved %d, seen %v: %d replicas, owned %v; want 5", active, moved, seen, w.replicas, w.owned)
				}
			}
		}
	}
}

// TestD17ScaledObjectComes: KEDA takes the autoscaler of a held workload over, or makes one. The scaler writes nothing there but the original bounds; a hold that is
// not open yet fails with the reason.
func TestD17ScaledObjectComes(t *testing.T) {
	t.Parallel()
	for _, own := range []hold.ReplicaBounds{{}, {MinReplicas: 2, MaxReplicas: 30}} {
		for _, open := range []bool{true, false} {
			b := newBench()
			w := b.addWorkload("shop", 2, own)
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			if open {
				w.ready = 20
				b.mustPass(t)
			}
			if w.hpa == nil {
				w.hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 10}, active: true, life: 1}
			}
			w.hpa.scaledObject = "orders"
			want := w.hpa.bounds
			if own.MaxReplicas > 0 {
				want = own
			}
			b.mustPass(t)
			if w.hpa.bounds != want {
				t.Errorf("own %v, open %v: %+v; want %+v", own, open, w.hpa.bounds, want)
			}
			if !open {
				wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "belongs to ScaledObject orders")
			}
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			if w.hpa.bounds != want || w.hpa.owned || len(b.holds) > 0 || b.gates.open["sale"] {
				t.Errorf("own %v, open %v: %+v, %d holds, gate %v", own, open, w.hpa, len(b.holds), b.gates.open["sale"])
			}
		}
	}
}

// TestD16CopiesInEachOrder: workload and autoscaler are deleted, and made again from their copies, in each order and with passes between any
// of the four. The autoscaler has metrics or not, and the hold was open or waited for pods. Both get their original numbers back.
func TestD16CopiesInEachOrder(t *testing.T) {
	t.Parallel()
	own := hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}
	for way := range 1 << 8 {
		bit := func(i int) bool { return way&(1<<i) != 0 }
		autoscalerGoesFirst, autoscalerComesFirst, active, open := bit(0), bit(1), bit(2), bit(3)
		b := newBench()
		w := b.addWorkload("shop", 2, own)
		w.hpa.active = active
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		if open {
			w.ready = 20
			b.mustPass(t)
		}
		live := w.hpa.bounds
		deleteOne := func(autoscaler bool) {
			if autoscaler {
				w.hpa = nil
			} else {
				w.gone = true
			}
		}
		restoreOne := func(autoscaler bool) {
			if autoscaler {
				w.hpa = b.newAutoscaler(live)
				w.hpa.active = active
			} else {
				w.replace(b.memoryCluster, 20)
			}
		}
		for i, change := range []func(){
			func() { deleteOne(autoscalerGoesFirst) }, func() { deleteOne(!autoscalerGoesFirst) },
			func() { restoreOne(autoscalerComesFirst) }, func() { restoreOne(!autoscalerComesFirst) },
		} {
			if change(); bit(4 + i) {
				b.now = b.now.Add(time.Minute)
				b.mustPass(t)
			}
		}
		w.follow(b.memoryCluster)
		b.mustPass(t)
		if b.gates.open["sale"] && w.ready == 0 {
			t.Errorf("way %08b: the gate is open over no pods", way)
		}
		w.ready = w.replicas
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.Open, "")
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		b.now = b.now.Add(time.Minute)
		b.mustPass(t)
		if w.hpa.bounds != own || w.hpa.owned || !active && w.replicas != 2 || len(b.holds) > 0 {
			t.Errorf("way %08b: %d replicas, %+v, %d holds", way, w.replicas, w.hpa.bounds, len(b.holds))
		}
	}
}
