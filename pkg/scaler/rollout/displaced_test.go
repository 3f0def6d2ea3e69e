package rollout

import (
	"testing"

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
