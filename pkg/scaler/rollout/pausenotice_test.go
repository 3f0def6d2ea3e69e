package rollout

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestPauseIsTold: a pause shuts the gate, gives the numbers back, and is a condition and a message; so is its end, each time.
func TestPauseIsTold(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.mustPass(t)
	for range 2 {
		b.pauseHold(t, "shop", "event/sale", true, nil)
		b.mustPass(t)
		h := b.find("shop", "event/sale")
		if c := findHoldCondition(h, conditionPaused); c == nil || c.Reason != "ByPerson" || !isPauseNoted(h) {
			t.Fatalf("condition %+v", c)
		}
		if w.hpa.bounds.MinReplicas != 2 || b.gates.open["sale"] {
			t.Fatalf("%+v, gate %v", w.hpa.bounds, b.gates.open)
		}
		b.pauseHold(t, "shop", "event/sale", false, nil)
		b.mustPass(t)
		w.ready = 20
		b.mustPass(t)
		if isPauseNoted(b.find("shop", "event/sale")) || w.hpa.bounds.MinReplicas != 20 || !b.gates.open["sale"] {
			t.Fatalf("%+v, gate %v", w.hpa.bounds, b.gates.open)
		}
	}
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	b.wantTold(t, "event/sale", "Up", "Paused", "Resumed", "Up", "Paused", "Resumed", "Up", "Ended")
}

// TestPausedByOwner: a paused schedule holds nothing until the configuration resumes it; a person's pause outlasts the configuration's changes.
func TestPausedByOwner(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	want := func(minReplicas int32, paused bool) {
		t.Helper()
		b.mustPass(t)
		if h := b.find("shop", "schedule/hours"); w.hpa.bounds.MinReplicas != minReplicas || h.IsPaused(b.now) != paused || isPauseNoted(h) != paused {
			t.Fatalf("%+v, paused %v; want %d, %v", w.hpa.bounds, h.Spec.Paused, minReplicas, paused)
		}
	}
	h := nightHold(8)
	h.Paused = true
	b.apply(t, "shop", h)
	want(2, true)
	if c := findHoldCondition(b.find("shop", "schedule/hours"), conditionPaused); c.Reason != "ByOwner" {
		t.Errorf("condition %+v", c)
	}
	b.now = b.now.Add(15 * time.Hour) // between two windows
	want(2, true)
	h.Until = b.now.Add(time.Hour)
	b.apply(t, "shop", h)
	want(2, true)
	h.Paused = false
	b.apply(t, "shop", h)
	want(8, false)
	b.pauseHold(t, "shop", "schedule/hours", true, nil)
	want(2, true)
	h.Replicas = 9
	b.apply(t, "shop", h)
	want(2, true)
	b.pauseHold(t, "shop", "schedule/hours", false, nil)
	want(9, false)
}

// TestPauseOfAFailedHoldEnds: a hold that failed before its pause says after it that it is no longer paused, whether it is tried again or not, and is
// paused again like any other.
func TestPauseOfAFailedHoldEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gate string
		want hold.State
	}{
		"tried again": {"sale", hold.Scaled},
		"waits":       {"forbidden", hold.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			b.checker.passed = false
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			h := saleHold()
			h.Gates = []string{c.gate}
			b.apply(t, "shop", h)
			b.mustPass(t)
			w.ready = w.replicas
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
			for range 2 {
				end := metav1.NewTime(b.now.Add(time.Hour))
				b.pauseHold(t, "shop", "event/sale", true, &end)
				b.mustPass(t)
				if !isPauseNoted(b.find("shop", "event/sale")) || w.replicas != 2 {
					t.Fatalf("not paused: %d replicas", w.replicas)
				}
				b.now = end.Time
				b.mustPass(t)
				got := b.find("shop", "event/sale")
				wantState(t, got, c.want, "")
				if isPauseNoted(got) {
					t.Fatalf("still paused: %+v", findHoldCondition(got, conditionPaused))
				}
			}
		})
	}
}
