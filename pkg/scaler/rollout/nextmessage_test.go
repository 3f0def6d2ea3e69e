package rollout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD12FailureIsToldBeforeTheNextHold: a hold that failed, or left a gate open, tells so before the next of its name takes its place: of a process that
// died after any of its writes, and where it was released by then.
func TestD12FailureIsToldBeforeTheNextHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(t *testing.T, b *bench)
		told string
	}{
		"failed": {func(_ *testing.T, b *bench) { b.now = b.now.Add(hold.DefaultWithin) }, "RolledBack: "},
		"left its gate open": {func(t *testing.T, b *bench) {
			t.Helper()
			b.workloads["shop"].ready = 20
			b.mustPass(t)
			b.gates.lost = "sale"
			b.release(t, "shop", "event/sale")
		}, "Stuck: the gate stays open"},
	} {
		for writes := range 14 {
			b := newBench()
			b.addWorkload("shop", 2, hold.ReplicaBounds{})
			h := saleHold()
			h.Until = time.Time{} // it is not tried again
			b.apply(t, "shop", h)
			b.mustPass(t)
			c.end(t, b)
			b.writesLeft, b.afterWrite = writes+1, true
			if err := b.pass(t.Context()); err != nil && !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			b.restart()
			b.release(t, "shop", "event/sale")
			h.Gates = nil
			for range 3 {
				if _, err := b.engine.ApplyHold(t.Context(), memoryRef("shop"), h); err != nil && !errors.Is(err, errBeingReleased) {
					t.Fatal(err)
				}
				b.mustPass(t)
				b.now = b.now.Add(time.Second)
			}
			if h := b.find("shop", "event/sale"); h == nil || h.DeletionTimestamp != nil || len(h.Spec.Gates) > 0 {
				t.Fatalf("%s, after %d writes: the next hold is not there: %+v", name, writes+1, h)
			}
			if told := strings.Join(b.notifier.told["shop event/sale"], "\n"); strings.Count(told, c.told) != 1 {
				t.Errorf("%s, after %d writes: told\n%s", name, writes+1, told)
			}
		}
	}
}
