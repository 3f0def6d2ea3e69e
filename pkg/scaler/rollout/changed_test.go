package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestEndOfAChangedHoldIsTold: what an earlier version of a hold told, such as its trouble, ends with the hold, also if the changed hold ends before it is up.
func TestEndOfAChangedHoldIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails bool
		told  []string
	}{
		"failed": {true, []string{"RolledBack", "Ended"}},
		"up":     {false, []string{"Up", "Ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			h := saleHold()
			h.Until = benchStart.Add(4 * time.Hour)
			b.apply(t, "shop", h)
			b.mustPass(t)
			if c.fails {
				b.now = b.now.Add(hold.DefaultWithin)
			} else {
				w.ready = 20
			}
			b.mustPass(t)
			b.wantTold(t, "event/sale", c.told[0])
			for range 2 {
				h.Replicas++
				b.apply(t, "shop", h)
				b.mustPass(t)
			}
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			b.wantTold(t, "event/sale", c.told...)
		})
	}
}
