package rollout

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD12ClockSetBack: a clock that is set back by hours, at a change of the leader or under one, makes no wait longer: not the time for the pods,
// not the pause of a gate, not that before another try.
func TestD12ClockSetBack(t *testing.T) {
	t.Parallel()
	const back = 3 * time.Hour
	t.Run("pods", func(t *testing.T) {
		t.Parallel()
		b := newBench()
		b.addWorkload("shop", 2, hold.ReplicaBounds{})
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		b.now = b.now.Add(-back)
		b.mustPass(t)
		b.now = b.now.Add(hold.DefaultWithin)
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "18 of 20 pods not ready")
		b.now = b.now.Add(-back)
		b.mustPass(t)
		if at := b.find("shop", "event/sale").Status.RetryAt; at.After(b.now.Add(maxRetryPause)) {
			t.Errorf("the next try is in %s", at.Sub(b.now))
		}
	})
	t.Run("gate", func(t *testing.T) {
		t.Parallel()
		b, _ := newSteppedSale(t, action.Plan{Steps: []int{10, 100}, Pause: time.Minute})
		b.now = b.now.Add(-back)
		b.mustPass(t)
		b.now = b.now.Add(time.Minute)
		b.mustPass(t)
		b.wantPercents(t, 10, 100)
	})
}

// TestD16ServerClockAhead: replicas are lowered also where the API server's clock, which says when the bounds were set, is hours ahead.
func TestD16ServerClockAhead(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	w.hpa.active, w.hpa.clockAhead = false, 3*time.Hour
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	if w.replicas != 2 || len(b.holds) > 0 {
		t.Errorf("%d replicas, %d holds", w.replicas, len(b.holds))
	}
}

// TestUntilInThePast: a Hold from Git whose end is past says so, and holds nothing; with another end it begins.
func TestUntilInThePast(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.Until = benchStart.Add(-time.Hour)
	o := hold.NewObject(memoryRef("shop"), h, "")
	o.Labels, o.Finalizers = nil, nil
	if _, err := b.CreateHold(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Released, "its end was past before it began")
	if w.replicas != 2 {
		t.Fatalf("%d replicas", w.replicas)
	}
	later := b.find("shop", "event/sale").DeepCopy()
	later.Spec.Until = &metav1.Time{Time: benchStart.Add(time.Hour)}
	if _, err := b.UpdateHold(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
}

// TestD16AdoptedByController: the controller labels a hold of a person or of Git as one that it acts on, so that it finds the hold again without
// its namespace in the configuration; another controller's label stays.
func TestD16AdoptedByController(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	for id, labels := range map[string]map[string]string{"git": nil, "other": {hold.ControllerLabel: "other"}} {
		h := nightHold(4)
		h.ID = id
		o := hold.NewObject(memoryRef("shop"), h, "")
		o.Labels, o.Finalizers = labels, nil
		if _, err := b.CreateHold(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.mustPass(t)
	for id, want := range map[string]string{"git": "bench", "other": "other"} {
		if h := b.find("shop", id); h.Labels[hold.ControllerLabel] != want || h.Labels[hold.OwnerLabel] != "" || len(h.Finalizers) != 1 {
			t.Errorf("%s: %v, %v", id, h.Labels, h.Finalizers)
		}
	}
}

// TestD25HundredsOfHolds: a workload with hundreds of holds takes one pass for all.
func TestD25HundredsOfHolds(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	for i := range 150 {
		h := nightHold(int32(i%8 + 1))
		h.ID, h.Lower = "set/"+time.Duration(i).String(), false
		b.apply(t, "shop", h)
	}
	if _, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now); err != nil {
		t.Fatal(err)
	}
	if w.hpa.bounds.MinReplicas != 8 {
		t.Errorf("%+v", w.hpa.bounds)
	}
}

// TestD1PodsOfASlowerClock: pods that take the place of those before a hold are new, also where the scaler's clock is ahead of the API server's by less
// than the skew of machines with a time service.
func TestD1PodsOfASlowerClock(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(b *bench, w *memoryWorkload){
		"a new hold": func(b *bench, _ *memoryWorkload) {
			h := saleHold()
			h.Replicas = 4
			b.apply(t, "shop", h)
		},
		"an open hold that asks for more": func(b *bench, w *memoryWorkload) {
			h := saleHold()
			h.Replicas, h.Gates = 3, nil
			b.apply(t, "shop", h)
			b.mustPass(t)
			w.ready = 3
			b.mustPass(t)
			wantState(t, b.find("shop", h.ID), hold.Open, "")
			b.now = b.now.Add(time.Hour)
			h.Replicas = 4
			b.apply(t, "shop", h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			b.now = b.now.Add(time.Hour)
			begin(b, w)
			b.mustPass(t)
			b.checker.tested = nil
			b.now = b.now.Add(-maxClockSkew / 2)
			w.drain(b.memoryCluster, 2)
			w.ready = 4
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.Open, "")
			tested := map[types.UID]bool{}
			for _, pod := range b.checker.tested {
				tested[pod.UID] = true
			}
			for _, pod := range w.pods[:2] {
				if !tested[pod.uid] {
					t.Errorf("pod %+v is not tested", pod)
				}
			}
		})
	}
}
