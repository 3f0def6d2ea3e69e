package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD5YieldEndsWithItsObject: a number that a person set goes with the object that had it: the holds raise the next workload or autoscaler of its name.
func TestD5YieldEndsWithItsObject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bounds  hold.ReplicaBounds
		replace func(b *bench, w *memoryWorkload)
	}{
		"workload": {hold.ReplicaBounds{}, func(b *bench, w *memoryWorkload) { w.replace(b.memoryCluster, 2) }},
		"workload, gone for a while": {hold.ReplicaBounds{}, func(b *bench, w *memoryWorkload) {
			w.gone = true
			_ = b.pass(t.Context())
			w.replace(b.memoryCluster, 2)
		}},
		"autoscaler": {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}, func(b *bench, w *memoryWorkload) {
			w.hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 40}, active: true, life: 1}
		}},
		"autoscaler, gone for a while": {hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}, func(b *bench, w *memoryWorkload) {
			w.hpa = nil
			_ = b.pass(t.Context())
			w.hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 40}, active: true, life: 1}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, c.bounds)
			h := nightHold(20)
			h.Until = b.now.Add(24 * time.Hour)
			b.apply(t, "shop", h)
			b.mustPass(t)
			w.ready = w.replicas
			b.mustPass(t)
			if w.hpa != nil {
				w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 30})
			} else {
				w.scale(b.memoryCluster, 3)
			}
			b.mustPass(t)
			c.replace(b, w)
			b.mustPass(t)
			w.ready = w.replicas
			b.mustPass(t)
			got := b.find("shop", "schedule/hours")
			wantState(t, got, hold.Open, "")
			if w.hpa != nil && w.hpa.bounds.MinReplicas != 20 || w.replicas != 20 || isHoldYielded(got) {
				t.Errorf("%d replicas, %+v, yielded %v: %+v", w.replicas, w.hpa, got.Status.Yielded, got.Status)
			}
			b.release(t, "shop", "schedule/hours")
			b.mustPass(t)
			if w.hpa != nil && w.hpa.bounds.MinReplicas != 1 || w.hpa == nil && w.replicas != 2 {
				t.Errorf("released: %d replicas, %+v", w.replicas, w.hpa)
			}
		})
	}
}

// TestD5YieldOfAHoldThatChanges: the next step of a ramp comes with another workload of the same name. The number that a person set on the one before is no
// number of this one, also if the hold never opened.
func TestD5YieldOfAHoldThatChanges(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := nightHold(4)
	b.apply(t, "shop", h)
	b.mustPass(t)
	w.scale(b.memoryCluster, 5) // enough, and before the pods are ready
	b.mustPass(t)
	w.replace(b.memoryCluster, 2)
	h.Replicas = 6
	b.apply(t, "shop", h)
	b.mustPass(t)
	if got := b.find("shop", "schedule/hours"); w.replicas != 6 || isHoldYielded(got) {
		t.Errorf("%d replicas: %+v", w.replicas, got.Status)
	}
}
