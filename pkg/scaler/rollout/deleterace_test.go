// Holds that change while another version of them is deleted.

package rollout

import (
	"context"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestChangedHoldIsNotDeleted: a pass whose cache has an ended hold does not delete the hold of the next window, which has its name.
func TestChangedHoldIsNotDeleted(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	day := hold.Hold{ID: "schedule/day", By: "schedule", Replicas: 2, Lower: true, Until: benchStart.Add(time.Hour)}
	b.apply(t, "shop", day)
	b.mustPass(t)
	b.now = day.Until
	for range 20 { // the process dies before it deletes the hold
		if b.find("shop", day.ID).Status.State == hold.Released {
			break
		}
		b.writesLeft, b.afterWrite = 1, true
		_ = b.pass(t.Context())
		b.restart()
	}
	wantState(t, b.find("shop", day.ID), hold.Released, "")
	cache := &staleReader{memoryCluster: b.memoryCluster}
	cache.holds, _ = b.ListHolds(t.Context(), "sale")
	b.engine.Reader = cache
	day.Replicas, day.Until = 8, benchStart.Add(14*time.Hour)
	b.apply(t, "shop", day)
	b.mustPass(t)
	if h := b.find("shop", day.ID); h == nil || h.DeletionTimestamp != nil || b.workloads["shop"].replicas != 8 {
		t.Errorf("%d replicas, hold %+v", b.workloads["shop"].replicas, h)
	}
}

// changingCluster changes holds before the first deletion.
type changingCluster struct {
	*memoryCluster

	change func()
}

func (c *changingCluster) DeleteHold(ctx context.Context, o *hold.Object) error {
	if change := c.change; change != nil {
		c.change = nil
		change()
	}
	return c.memoryCluster.DeleteHold(ctx, o)
}

// TestEndHoldsMatchesAgain: a hold that changes before it is deleted is deleted if it still matches, and each hold is named once.
func TestEndHoldsMatchesAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replicas int32
		want     int
	}{"it matches": {3, 2}, "it no longer matches": {9, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			b.addWorkload("shop", 2, hold.ReplicaBounds{})
			h, other := hold.Hold{ID: "set/a", By: "a", Replicas: 4}, hold.Hold{ID: "set/b", By: "b", Replicas: 4}
			b.apply(t, "shop", h)
			b.apply(t, "shop", other)
			cluster := &changingCluster{memoryCluster: b.memoryCluster, change: func() {
				h.Replicas = c.replicas
				b.apply(t, "shop", h)
			}}
			e := New(Options{Cluster: cluster, Checker: b.checker})
			ended, err := e.EndHolds(t.Context(), memoryRef("shop"), func(h *hold.Object) bool { return h.Spec.Replicas < 5 })
			if err != nil || len(ended) != c.want {
				t.Errorf("ended %q, %v; want %d", ended, err, c.want)
			}
			if there := b.find("shop", "set/a"); (there != nil && there.DeletionTimestamp == nil) != (c.want == 1) {
				t.Errorf("%+v", there)
			}
		})
	}
}
