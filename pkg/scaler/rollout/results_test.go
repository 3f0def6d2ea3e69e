package rollout

import (
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// TestResultsOfRemovedHolds: the process keeps no verdict of a hold that another process has removed, such as a command.
func TestResultsOfRemovedHolds(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	command := New(Options{Cluster: b.memoryCluster, Checker: b.checker})
	for range 3 {
		h := nightHold(8)
		h.Verify = &verify.Spec{URL: "/"}
		b.apply(t, "shop", h)
		b.mustPass(t)
		w.ready = 8
		b.mustPass(t)
		if n := b.engine.countResults(); n != 1 {
			t.Fatalf("%d results of an open hold", n)
		}
		b.release(t, "shop", h.ID)
		if _, err := command.ReconcileOnce(t.Context(), memoryRef("shop"), b.now); err != nil || b.find("shop", h.ID) != nil {
			t.Fatalf("%v, hold %+v", err, b.find("shop", h.ID))
		}
		if _, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now); err != nil {
			t.Fatal(err)
		}
		if n := b.engine.countResults(); n != 0 {
			t.Fatalf("%d results of a hold that is gone", n)
		}
	}
}
