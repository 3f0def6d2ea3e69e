package rollout

import (
	"errors"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD4DisplacedBoundComesBack: a person's bound beyond the original other bound displaces that one, and only for as long as it lasts.
func TestD4DisplacedBoundComesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		was, first, second, want hold.ReplicaBounds
		retargeted               bool // before the scaler sees the second change
	}{
		"minimum": {was: hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10}, first: hold.ReplicaBounds{MinReplicas: 15, MaxReplicas: 30},
			second: hold.ReplicaBounds{MinReplicas: 4, MaxReplicas: 30}, want: hold.ReplicaBounds{MinReplicas: 4, MaxReplicas: 10}},
		"minimum, unseen": {was: hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10}, first: hold.ReplicaBounds{MinReplicas: 15, MaxReplicas: 30},
			second: hold.ReplicaBounds{MinReplicas: 4, MaxReplicas: 30}, want: hold.ReplicaBounds{MinReplicas: 4, MaxReplicas: 10}, retargeted: true},
		"minimum, still above": {was: hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10}, first: hold.ReplicaBounds{MinReplicas: 15, MaxReplicas: 30},
			second: hold.ReplicaBounds{MinReplicas: 12, MaxReplicas: 30}, want: hold.ReplicaBounds{MinReplicas: 12, MaxReplicas: 12}},
		"maximum": {was: hold.ReplicaBounds{MinReplicas: 10, MaxReplicas: 12}, first: hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 8},
			second: hold.ReplicaBounds{MinReplicas: 3, MaxReplicas: 14}, want: hold.ReplicaBounds{MinReplicas: 10, MaxReplicas: 14}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 5, c.was)
			b.apply(t, "shop", hold.Hold{ID: "set/alice", By: "alice", Replicas: 3, MaxReplicas: 30, Lower: true})
			b.mustPass(t)
			w.setBounds(b.memoryCluster, c.first)
			b.mustPass(t)
			w.setBounds(b.memoryCluster, c.second)
			if c.retargeted {
				w.retarget(b.memoryCluster, "elsewhere")
			}
			b.mustPass(t)
			b.release(t, "shop", "set/alice")
			b.mustPass(t)
			if w.hpa.bounds != c.want {
				t.Errorf("%+v; want %+v", w.hpa.bounds, c.want)
			}
		})
	}
}

// TestD4YieldedWhileGateStaysOpen: a person's number stays for as long as the gate of a hold that left it cannot be shut, also after that hold's end: a
// later hold does not lower it.
func TestD4YieldedWhileGateStaysOpen(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		b := newBench()
		w := b.addWorkload("shop", 3, bounds)
		b.apply(t, "shop", hold.Hold{ID: "event/sale", By: "event 1", Replicas: 4, Gates: []string{"sale"}, Until: b.now.Add(time.Hour)})
		b.mustPass(t)
		w.ready = 4
		b.mustPass(t)
		if w.hpa != nil {
			w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 8, MaxReplicas: 30})
		}
		w.scale(b.memoryCluster, 8)
		b.mustPass(t)
		b.gates.fail = errors.New("away")
		b.now = b.now.Add(2 * time.Hour)
		b.mustPass(t)
		b.apply(t, "shop", nightHold(5))
		b.mustPass(t)
		if w.replicas != 8 || w.hpa != nil && w.hpa.bounds.MinReplicas != 8 {
			t.Errorf("%s, gate open: %d replicas, %+v; want the person's 8", name, w.replicas, w.hpa)
		}
		b.gates.fail = nil
		b.mustPass(t)
		if now := w.replicas; w.hpa != nil && w.hpa.bounds.MinReplicas != 5 || w.hpa == nil && now != 5 {
			t.Errorf("%s, gate shut: %d replicas, %+v; want the night's 5", name, now, w.hpa)
		}
	}
}
