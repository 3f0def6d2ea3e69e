package rollout

import (
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD12EndDuringAPauseIsTold: a hold that was told, and ends while it is paused, is told to have ended: once, at its end or when a person deletes it, at
// whatever write a process dies.
func TestD12EndDuringAPauseIsTold(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *bench){
		"released":         func(t *testing.T, b *bench) { b.release(t, "shop", "event/sale") }, //nolint:thelper // an action of the test
		"over":             func(_ *testing.T, b *bench) { b.now = benchStart.Add(4 * time.Hour) },
		"over, longer ago": func(_ *testing.T, b *bench) { b.now = benchStart.Add(24 * time.Hour) },
		"released after its end": func(t *testing.T, b *bench) {
			b.now = benchStart.Add(5 * time.Hour)
			b.release(t, "shop", "event/sale")
		}, //nolint:thelper // as above
		"resumed after its end": func(t *testing.T, b *bench) {
			b.now = benchStart.Add(5 * time.Hour)
			b.pauseHold(t, "shop", "event/sale", false, nil)
		}, //nolint:thelper // as above
		"resumed and released": func(t *testing.T, b *bench) {
			b.pauseHold(t, "shop", "event/sale", false, nil)
			b.release(t, "shop", "event/sale")
		}, //nolint:thelper // as above
	} {
		for writes := range 8 {
			t.Run(fmt.Sprintf("%s, killed after %d writes", name, writes), func(t *testing.T) {
				t.Parallel()
				b, w := newOpenSale(t)
				b.pauseHold(t, "shop", "event/sale", true, nil)
				b.mustPass(t)
				b.wantTold(t, "event/sale", "Up", "Paused")
				end(t, b)
				b.writesLeft = writes + 1
				_ = b.pass(t.Context())
				b.restart()
				for range 3 {
					b.mustPass(t)
					b.now = b.now.Add(time.Minute)
				}
				b.wantTold(t, "event/sale", "Up", "Paused", "Ended")
				if h := b.find("shop", "event/sale"); h != nil || w.replicas != 2 {
					t.Errorf("%d replicas, left %+v", w.replicas, h)
				}
			})
		}
	}
}

// TestD12ScheduleDuringAPause: a schedule's hold that stays paused over several windows is told to have ended once, and starts anew with the window in
// which it is resumed.
func TestD12ScheduleDuringAPause(t *testing.T) {
	t.Parallel()
	b, w, night := newToldHold(t)
	b.pauseHold(t, "shop", night.ID, true, nil)
	b.mustPass(t)
	for range 3 {
		b.now = night.Until.Add(time.Hour)
		b.mustPass(t)
		night.WindowStart, night.Until = b.now, b.now.Add(10*time.Hour)
		b.apply(t, "shop", night)
		b.mustPass(t)
	}
	b.wantTold(t, night.ID, "Up", "Paused", "Ended")
	b.pauseHold(t, "shop", night.ID, false, nil)
	b.mustPass(t)
	w.ready = w.replicas
	b.mustPass(t)
	b.wantTold(t, night.ID, "Up", "Paused", "Ended", "Up")
	b.wantStarts(t, night.ID, 2)
	b.now = night.Until
	b.mustPass(t)
	b.wantTold(t, night.ID, "Up", "Paused", "Ended", "Up", "Ended")
}

// TestEndDuringAPauseIsSeen: the scaler looks at a paused hold at its end, and tells nobody of one that never began.
func TestEndDuringAPauseIsSeen(t *testing.T) {
	t.Parallel()
	until := metav1.NewTime(benchStart.Add(10 * time.Second))
	h := hold.NewObject(memoryRef("shop"), saleHold(), "")
	h.Spec.Paused, h.Spec.Until = true, &until
	o := HeldWorkload{Workload: memoryRef("shop"), Holds: []hold.Object{*h}, Scale: &Scale{Replicas: 2}, Gated: true}
	if next := o.nextLook(benchStart); !next.Equal(until.Time) {
		t.Errorf("looks at %v; want %v", next, until)
	}
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	sale := saleHold()
	sale.Paused = true
	b.apply(t, "shop", sale)
	b.mustPass(t)
	b.now = sale.Until
	b.mustPass(t)
	b.wantTold(t, sale.ID)
}

// TestD12PauseBetweenWindows: a schedule's hold whose end was told, and that has not begun since, is paused in silence. Its end was not told again, and the
// pause would be the last word about it.
func TestD12PauseBetweenWindows(t *testing.T) {
	t.Parallel()
	b, _, night := newToldHold(t)
	b.notifier.down = true // the hold stays, since it owes its end
	b.now = night.Until
	b.mustPass(t)
	night.WindowStart, night.Until = b.now, b.now.Add(10*time.Hour)
	b.apply(t, "shop", night)
	b.pauseHold(t, "shop", night.ID, true, nil)
	b.mustPass(t)
	b.notifier.down = false
	b.restart()
	for range 2 {
		b.mustPass(t)
		b.now = night.Until
	}
	b.wantTold(t, night.ID, "Up", "Ended")
	if h := b.find("shop", night.ID); h == nil || !isPauseNoted(h) {
		t.Errorf("the pause is not in the status: %+v", h)
	}
}

// TestD12FailureAfterAPause: a hold that fails at once after its pause tells the failure, and no longer that it was resumed: that would be the last word about
// a hold that fails again.
func TestD12FailureAfterAPause(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	b.pauseHold(t, "shop", "event/sale", true, nil)
	b.mustPass(t)
	b.deny = apierrors.NewForbidden(schema.GroupResource{Resource: "deployments/scale"}, "shop", errors.New("the role is gone"))
	b.pauseHold(t, "shop", "event/sale", false, nil)
	_ = b.pass(t.Context())
	b.wantTold(t, "event/sale", "Up", "Paused", "RolledBack")
	b.deny, w.ready = nil, 2
	for range 3 { // it is tried again, and its pods do not become ready
		b.now = b.now.Add(20 * time.Minute)
		b.mustPass(t)
	}
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	b.wantTold(t, "event/sale", "Up", "Paused", "RolledBack", "Ended") // it was tried at that moment
}
