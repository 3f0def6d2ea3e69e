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

// TestTimedPauseBesideTheOwners: a person's pause with an end lasts until that end, whenever the owner pauses and resumes the hold meanwhile, and the owner's
// lasts until the owner ends it. The condition says which pause counts.
func TestTimedPauseBesideTheOwners(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ownerEnds, personEnds time.Duration
	}{
		"the owner's ends first":  {time.Hour, 2 * time.Hour},
		"the person's ends first": {2 * time.Hour, time.Hour},
		"a person's without end":  {time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
			night := nightHold(8)
			night.Until = b.now.Add(24 * time.Hour)
			b.apply(t, "shop", night)
			b.mustPass(t)
			start, owners := b.now, func(paused bool) {
				t.Helper()
				for range 2 { // the controller repeats it
					if _, err := b.engine.PauseByOwner(t.Context(), b.find("shop", "schedule/hours"), paused); err != nil {
						t.Fatal(err)
					}
					h := night
					h.Paused = paused
					if _, err := b.engine.ApplyHold(t.Context(), memoryRef("shop"), h); err != nil {
						t.Fatal(err)
					}
				}
			}
			var until *metav1.Time
			if c.personEnds > 0 {
				until = new(metav1.NewTime(start.Add(c.personEnds)))
			}
			b.pauseHold(t, "shop", "schedule/hours", true, until)
			for at := time.Duration(0); at <= 3*time.Hour; at += 30 * time.Minute {
				b.now = start.Add(at)
				owners(at < c.ownerEnds)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				byPerson, byOwner := c.personEnds == 0 || at < c.personEnds, at < c.ownerEnds
				h := b.find("shop", "schedule/hours")
				want := int32(8)
				if byPerson || byOwner {
					want = 2
				}
				if w.hpa.bounds.MinReplicas != want || h.IsPaused(b.now) != (byPerson || byOwner) {
					t.Fatalf("after %s: %+v, paused %v until %v; by the person %v, by the owner %v", at, w.hpa.bounds, h.Spec.Paused, h.Spec.PausedUntil, byPerson, byOwner)
				}
				reason := "ByPerson"
				if byOwner && c.personEnds > 0 {
					reason = "ByOwner"
				}
				if got := findHoldCondition(h, conditionPaused); want == 2 && got.Reason != reason {
					t.Errorf("after %s: %s, %s; want %s", at, got.Reason, got.Message, reason)
				}
			}
		})
	}
}

// TestPauseIsProlonged: a pause whose end a person moves says so.
func TestPauseIsProlonged(t *testing.T) {
	t.Parallel()
	b, _ := newOpenSale(t)
	for _, end := range []time.Duration{time.Hour, 2 * time.Hour} {
		until := metav1.NewTime(b.now.Add(end))
		b.pauseHold(t, "shop", "event/sale", true, &until)
		b.mustPass(t)
		if c := findHoldCondition(b.find("shop", "event/sale"), conditionPaused); c.Message != "paused by a person until "+until.UTC().Format(time.RFC3339) {
			t.Errorf("%s; the end is %s", c.Message, until.UTC())
		}
	}
	b.wantTold(t, "event/sale", "Up", "Paused")
}

// newNightOfOtherGates returns a bench with a schedule's hold that a person pauses, until a time or nil, and the hold that the schedule asks for after it
// has got a gate.
func newNightOfOtherGates(t *testing.T, until *metav1.Time) (*bench, *memoryWorkload, hold.Hold) {
	t.Helper()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	night := nightHold(8)
	b.apply(t, "shop", night)
	b.mustPass(t)
	b.pauseHold(t, "shop", "schedule/hours", true, until)
	b.mustPass(t)
	night.Gates = []string{"sale"}
	return b, w, night
}

// TestPauseOutlastsOtherGates: a schedule that gets a gate takes it into its next hold, and a paused hold stays until its pause has ended.
func TestPauseOutlastsOtherGates(t *testing.T) {
	t.Parallel()
	until := metav1.NewTime(benchStart.Add(time.Hour))
	b, w, night := newNightOfOtherGates(t, &until)
	for _, c := range []struct {
		after    time.Duration
		replicas int32
	}{{0, 2}, {59 * time.Minute, 2}, {time.Hour, 8}} {
		b.now = until.Add(c.after - time.Hour)
		for range 3 { // the controller repeats it
			_, _ = b.engine.ApplyHold(t.Context(), memoryRef("shop"), night)
			b.mustPass(t)
		}
		if w.replicas != c.replicas {
			t.Errorf("after %s: %d replicas; want %d", c.after, w.replicas, c.replicas)
		}
	}
	if got := b.find("shop", "schedule/hours"); len(got.Spec.Gates) != 1 {
		t.Errorf("gates %v", got.Spec.Gates)
	}
}

// TestPauseOutlastsWindowsOfOtherGates: the pause of a person without an end lasts over the coming windows, also if the schedule's gates have changed.
func TestPauseOutlastsWindowsOfOtherGates(t *testing.T) {
	t.Parallel()
	b, w, night := newNightOfOtherGates(t, nil)
	for range 3 {
		_, _ = b.engine.ApplyHold(t.Context(), memoryRef("shop"), night)
		b.mustPass(t)
		b.now = night.Until.Add(-time.Minute) // the window before ends after the next begins
		night.Until = night.Until.Add(14 * time.Hour)
	}
	h := b.find("shop", "schedule/hours")
	if w.replicas != 2 || !h.IsPaused(b.now) {
		t.Errorf("%d replicas, paused %t at %v", w.replicas, h.IsPaused(b.now), b.now)
	}
	b.pauseHold(t, "shop", "schedule/hours", false, nil)
	for range 3 {
		_, _ = b.engine.ApplyHold(t.Context(), memoryRef("shop"), night)
		b.mustPass(t)
	}
	if h := b.find("shop", "schedule/hours"); w.replicas != 8 || len(h.Spec.Gates) != 1 {
		t.Errorf("resumed: %d replicas, gates %v", w.replicas, h.Spec.Gates)
	}
}
