package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestStateHasOneEvent: a hold that opens, ends or fails has one Event about it, with or without notifiers.
func TestStateHasOneEvent(t *testing.T) {
	t.Parallel()
	for name, notifiers := range map[string][]string{"told": {"oncall"}, "untold": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
			h := saleHold()
			h.Notify = notifiers
			b.apply(t, "shop", h)
			b.mustPass(t)
			w.ready = 20
			b.mustPass(t)
			b.wantOneEvent(t, hold.Open, "up: 20 replicas")
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			b.wantOneEvent(t, hold.Released, "ended; ")

			b.events, w.ready = nil, 2
			b.apply(t, "shop", h)
			b.mustPass(t)
			b.now = b.now.Add(time.Hour)
			b.mustPass(t)
			b.wantOneEvent(t, hold.RolledBack, "18 of 20 pods not ready after")
		})
	}
}

// wantOneEvent fails unless one Event has the state as its reason, and the text.
func (b *bench) wantOneEvent(t *testing.T, state hold.State, text string) {
	t.Helper()
	found := slices.DeleteFunc(slices.Clone(b.events), func(e string) bool { return !strings.HasPrefix(e, string(state)+": ") })
	if len(found) != 1 || !strings.Contains(found[0], text) {
		t.Errorf("Events %q; want one %s with %q", b.events, state, text)
	}
}

// TestRollbackSentence: an active autoscaler lowers the replicas after a rollback; without one they are the original ones.
func TestRollbackSentence(t *testing.T) {
	t.Parallel()
	for want, autoscaler := range map[string]*Autoscaler{
		"failed and rolled back to minReplicas 2; the autoscaler lowers the 20 replicas": {Active: true, Bounds: hold.ReplicaBounds{MinReplicas: 2}},
		"failed and rolled back to 20 replicas":                                          {Bounds: hold.ReplicaBounds{MinReplicas: 2}},
	} {
		o := HeldWorkload{Scale: &Scale{Replicas: 20}, Autoscaler: autoscaler}
		if got := o.describeRollback(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
