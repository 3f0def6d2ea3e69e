package rollout

import (
	"errors"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD1LoweredBetweenSteps: a gate does not open further over fewer pods than were asked for, if a person takes them between two of its steps.
func TestD1LoweredBetweenSteps(t *testing.T) {
	t.Parallel()
	b, w := newSteppedSale(t, action.Plan{Steps: []int{10, 100}, Pause: time.Minute})
	w.scale(b.memoryCluster, 3)
	w.ready = 3
	for range 4 {
		b.now = b.now.Add(time.Minute)
		b.mustPass(t)
	}
	b.wantPercents(t, 10)
	if b.gates.open["sale"] || w.replicas != 3 {
		t.Errorf("gate open %v, %d replicas; want the person's 3", b.gates.open["sale"], w.replicas)
	}
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
}

// TestD2PausedMember: the pause of one workload shuts the gate of its group, and the gate opens again after it.
func TestD2PausedMember(t *testing.T) {
	t.Parallel()
	b := newOpenGroup(t, []string{"sale"})
	end := b.now.Add(time.Hour)
	if _, err := b.engine.PauseWorkload(t.Context(), memoryRef("shop"), "alice", end); err != nil {
		t.Fatal(err)
	}
	b.setPauses(t, true, end)
	b.mustPass(t)
	if b.gates.open["sale"] {
		t.Error("the gate is open during the pause")
	}
	b.now = end
	b.mustPass(t)
	b.setGroupReady()
	b.mustPass(t)
	if !b.gates.open["sale"] {
		t.Error("the gate is shut after the pause")
	}
}

// TestD3PauseBesideAGateThatCannotBeShut: the pods stay until the gate of a paused hold is shut, and then the pause is told once.
func TestD3PauseBesideAGateThatCannotBeShut(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	b.gates.fail = errors.New("away")
	b.pauseHold(t, "shop", "event/sale", true, nil)
	_ = b.pass(t.Context())
	if !b.gates.open["sale"] || w.replicas != 20 {
		t.Errorf("gate open %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
	b.gates.fail = nil
	b.now = b.now.Add(retryInterval)
	for range 2 {
		b.mustPass(t)
	}
	b.wantTold(t, "event/sale", "Up", "Paused")
	if b.gates.open["sale"] || w.replicas != 2 {
		t.Errorf("gate open %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
}

// TestD4NumbersOfAPause: what a person sets during a pause is the original number afterwards, also if it is the hold's.
func TestD4NumbersOfAPause(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		for _, persons := range []int32{5, 8, 1} {
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			night := nightHold(8)
			b.apply(t, "shop", night)
			b.mustPass(t)
			b.pauseHold(t, "shop", night.ID, true, nil)
			b.mustPass(t)
			b.setByPerson(w, persons)
			b.mustPass(t)
			b.pauseHold(t, "shop", night.ID, false, nil)
			b.mustPass(t)
			if got := w.number(); got != 8 {
				t.Errorf("%s, %d: resumed at %d", name, persons, got)
			}
			b.now = night.Until
			b.mustPass(t)
			if got := w.number(); got != persons {
				t.Errorf("%s: %d at the end; want the person's %d", name, got, persons)
			}
		}
	}
}

// TestD6AutoscalerAddsBetweenSteps: pods that the autoscaler adds between two steps of a gate are not the hold's failure.
func TestD6AutoscalerAddsBetweenSteps(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.gates.plans = map[string]action.Plan{"sale": {Steps: []int{10, 100}, Pause: time.Minute}}
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 40})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.mustPass(t)
	w.scale(b.memoryCluster, 30)
	for range 3 {
		b.now = b.now.Add(time.Minute)
		b.mustPass(t)
	}
	b.wantPercents(t, 10, 100)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	if w.replicas != 30 {
		t.Errorf("%d replicas; want the autoscaler's 30", w.replicas)
	}
}

// TestD13PauseLeavesNoTrace: a paused hold owns no field, so that a server-side apply meets no conflict.
func TestD13PauseLeavesNoTrace(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		b := newBench()
		w := b.addWorkload("shop", 2, bounds)
		b.apply(t, "shop", nightHold(8))
		b.mustPass(t)
		b.pauseHold(t, "shop", "schedule/hours", true, nil)
		b.now = b.now.Add(time.Minute)
		b.mustPass(t)
		if w.owned || w.hpa != nil && w.hpa.owned || w.number() != 2 {
			t.Errorf("%s: owned %v, %+v", name, w.owned, w.hpa)
		}
	}
}

// TestD18MetricsGoAndCome: an autoscaler that loses its metrics during a hold does not lower the replicas afterwards, so the scaler does. One that gets them
// back does it itself.
func TestD18MetricsGoAndCome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin, end bool
		want       int32
	}{"go": {true, false, 2}, "come": {false, true, 20}, "are there": {true, true, 20}} {
		b := newBench()
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 40})
		w.hpa.active = c.begin
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		w.ready = 20
		b.mustPass(t)
		w.hpa.active, w.hpa.version = c.end, b.nextVersion()
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		if w.replicas != c.want || w.hpa.bounds.MinReplicas != 2 {
			t.Errorf("metrics %s: %d replicas, %+v; want %d", name, w.replicas, w.hpa.bounds, c.want)
		}
	}
}

// TestD19PauseAtZero: a workload that was switched off is off during a pause and after the hold.
func TestD19PauseAtZero(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		b := newBench()
		w := b.addWorkload("shop", 0, bounds)
		night := nightHold(4)
		b.apply(t, "shop", night)
		var seen []int32
		for _, paused := range []bool{false, true, false} {
			b.pauseHold(t, "shop", night.ID, paused, nil)
			b.mustPass(t)
			seen = append(seen, w.replicas)
			b.now = b.now.Add(time.Minute)
		}
		b.now = night.Until
		b.mustPass(t)
		if seen[0] != 4 || seen[1] != 0 || seen[2] != 4 || w.replicas != 0 {
			t.Errorf("%s: %d, and at the end %d", name, seen, w.replicas)
		}
	}
}
