package rollout

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// pauseWorkload pauses shop, as the command does.
func (b *bench) pauseWorkload(t *testing.T, until time.Time) {
	t.Helper()
	if _, err := b.engine.PauseWorkload(t.Context(), memoryRef("shop"), "alice", until); err != nil {
		t.Fatal(err)
	}
	b.setPauses(t, true, until)
}

// setPauses pauses or resumes all holds, as the commands do.
func (b *bench) setPauses(t *testing.T, paused bool, until time.Time) {
	t.Helper()
	for _, h := range b.holds {
		next := h.DeepCopy()
		next.Spec.Paused, next.Spec.PausedUntil = paused, nil
		if paused && !until.IsZero() {
			next.Spec.PausedUntil = &metav1.Time{Time: until}
		}
		if _, err := b.UpdateHold(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPauseCoversLaterHolds: a hold of a schedule, an event or Git that comes while its workload is paused holds nothing until the pause ends: by itself,
// or by a person. Then the schedule's current window counts. Every pass may be of another process, which dies after any write.
func TestPauseCoversLaterHolds(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		for _, held := range []bool{true, false} {
			for _, byItself := range []bool{true, false} {
				for writes := range 6 {
					t.Run(fmt.Sprintf("%s, held before %v, ends by itself %v, killed after %d writes", name, held, byItself, writes), func(t *testing.T) {
						t.Parallel()
						b := newBench()
						w := b.addWorkload("shop", 2, bounds)
						night := nightHold(8)
						if held {
							b.apply(t, "shop", night)
							b.mustPass(t)
						}
						end, until := b.now.Add(time.Hour), time.Time{}
						if byItself {
							until = end
						}
						b.pauseWorkload(t, until)
						b.mustPass(t)
						b.apply(t, "shop", night)
						b.apply(t, "shop", saleHold())
						fromGit := hold.NewObject(memoryRef("shop"), hold.Hold{ID: "git", Replicas: 6, Until: end}, "")
						fromGit.Labels, fromGit.Finalizers = nil, nil
						if _, err := b.CreateHold(t.Context(), fromGit); err != nil {
							t.Fatal(err)
						}
						b.writesLeft = writes + 1
						_ = b.pass(t.Context())
						b.restart()
						for range 3 {
							b.mustPass(t)
							w.ready = w.replicas
							b.now = b.now.Add(10 * time.Minute)
						}
						if w.number() != 2 || b.gates.open["sale"] {
							t.Fatalf("paused: %d replicas, %+v, gate %v", w.replicas, w.hpa, b.gates.open["sale"])
						}
						for _, h := range b.holds {
							if !h.IsPaused(b.now) || !isPauseNoted(h) {
								t.Errorf("hold %s is not shown as paused: %+v", h.Name, h.Status.Conditions)
							}
						}
						night.Replicas, night.WindowStart = 9, b.now
						b.apply(t, "shop", night)
						b.mustPass(t)
						b.release(t, "shop", "event/sale")
						b.now = end
						if !byItself {
							b.mustPass(t)
							b.setPauses(t, false, time.Time{})
						}
						b.mustPass(t)
						if found := max(w.replicas, w.boundsOrNone().MinReplicas); found != 9 {
							t.Errorf("after the pause: %d replicas; want those of the current window", found)
						}
						if pause := b.find("shop", hold.WorkloadPauseID); pause != nil {
							t.Errorf("the pause is left: %+v", pause)
						}
						b.apply(t, "shop", saleHold())
						b.mustPass(t)
						if w.number() != 20 {
							t.Errorf("an event after the pause: %d replicas", w.number())
						}
					})
				}
			}
		}
	}
}

// boundsOrNone returns the bounds of the workload's autoscaler.
func (w *memoryWorkload) boundsOrNone() hold.ReplicaBounds {
	if w.hpa == nil {
		return hold.ReplicaBounds{}
	}
	return w.hpa.bounds
}

// number returns the number of the workload that holds set: its autoscaler's minimum, or its replicas.
func (w *memoryWorkload) number() int32 {
	if w.hpa == nil {
		return w.replicas
	}
	return w.hpa.bounds.MinReplicas
}

// TestPausedWorkloadObeysPeople: a person who sets replicas of a paused workload, or resumes one of its holds, has them; the pause goes on for the rest.
func TestPausedWorkloadObeysPeople(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.pauseWorkload(t, time.Time{})
	b.apply(t, "shop", hold.Hold{ID: "set/bob", Replicas: 4, Lower: true})
	b.apply(t, "shop", nightHold(8))
	b.mustPass(t)
	if w.replicas != 4 {
		t.Errorf("%d replicas; want those of set", w.replicas)
	}
	b.pauseHold(t, "shop", "schedule/hours", false, nil)
	b.mustPass(t)
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	if w.replicas != 8 {
		t.Errorf("%d replicas; want those of the resumed schedule", w.replicas)
	}
	b.release(t, "shop", hold.WorkloadPauseID)
	b.mustPass(t)
	if h := b.find("shop", "event/sale"); !h.IsPaused(b.now) || w.replicas != 8 {
		t.Errorf("the pause of the sale is its own by now: paused %v, %d replicas", h.IsPaused(b.now), w.replicas)
	}
}

// TestWorkloadPauseHoldsNothing: a workload that nothing else holds keeps its numbers, whatever a person does to its pause or its own numbers.
func TestWorkloadPauseHoldsNothing(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		for _, managed := range []bool{true, false} {
			b := newBench()
			w := b.addWorkload("shop", 5, bounds)
			b.pauseWorkload(t, time.Time{})
			if !managed {
				for _, h := range b.holds {
					h.Labels, h.Finalizers = nil, nil
				}
			}
			b.mustPass(t)
			w.scale(b.memoryCluster, 6)
			b.mustPass(t)
			b.setPauses(t, false, time.Time{})
			b.mustPass(t)
			w.gone = true
			b.mustPass(t)
			w.replace(b.memoryCluster, 6)
			b.mustPass(t)
			if w.replicas != 6 || w.owned || w.boundsOrNone() != bounds || managed && len(b.holds) > 0 {
				t.Errorf("%s: %d replicas, %+v, owned %v, %d holds", name, w.replicas, w.boundsOrNone(), w.owned, len(b.holds))
			}
		}
	}
}

// pauseWorkloads makes a person pause a workload, or resume all holds.
func (w *wildWalker) pauseWorkloads() {
	name := []string{"shop", "cart"}[w.IntN(2)]
	if w.IntN(2) == 0 {
		_, err := w.engine.PauseWorkload(w.t.Context(), memoryRef(name), "walk", w.now.Add(time.Duration(w.IntN(7200))*time.Second))
		w.note("person pauses %s: %v", name, err)
		return
	}
	w.note("person resumes all holds")
	clear(w.edits) // resumed, they state their numbers anew
	w.setPauses(w.t, false, time.Time{})
}

// checkBegin is called after each write of a status, before noteStatus: no hold begins during the pause of its workload, but by a person's word.
func (w *wildWalker) checkBegin(before, after *hold.Object) {
	if before.Status.State == "" && after.Status.State == hold.Received && findHoldCondition(before, conditionPaused) == nil {
		pause := w.holds[hold.ObjectName(after.HeldWorkload(), hold.WorkloadPauseID)]
		if pause != nil && pause.IsPaused(w.now) && pause.DeletionTimestamp == nil {
			w.fail("hold %s begins during the pause of its workload", after.Name)
		}
	}
	w.noteStatus(before, after)
}
