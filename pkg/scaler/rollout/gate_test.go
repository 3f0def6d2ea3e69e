package rollout

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newSteppedSale returns a bench with a sale that is up, and a plan for its gate.
func newSteppedSale(t *testing.T, plan action.Plan) (*bench, *memoryWorkload) {
	t.Helper()
	b := newBench()
	b.gates.plans, b.gates.places["sale"] = map[string]action.Plan{"sale": plan}, "closed"
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.mustPass(t)
	return b, w
}

func (b *bench) wantPercents(t *testing.T, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, b.gates.percents); diff != "" {
		t.Fatalf("percentages (-want +got):\n%s", diff)
	}
}

// approveHold approves a stored hold, as a person does.
func (b *bench) approveHold(t *testing.T, workload, id string) {
	t.Helper()
	h := b.find(workload, id).DeepCopy()
	h.Spec.Approved = true
	if _, err := b.UpdateHold(t.Context(), h); err != nil {
		t.Fatal(err)
	}
}

// TestGateOpensInSteps: a gate of several steps opens by one after each pause, whoever lives, and shuts in one.
func TestGateOpensInSteps(t *testing.T) {
	t.Parallel()
	b, _ := newSteppedSale(t, action.Plan{Steps: []int{10, 50, 100}, Pause: time.Minute})
	b.wantPercents(t, 10)
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "open at 10 %; 50 % follow at 07:01:00")
	b.now = b.now.Add(59 * time.Second)
	b.restart()
	b.mustPass(t)
	b.wantPercents(t, 10)
	b.now = b.now.Add(time.Second)
	b.mustPass(t)
	b.wantPercents(t, 10, 50)
	b.now = b.now.Add(time.Minute)
	b.mustPass(t)
	b.wantPercents(t, 10, 50, 100)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "the gate is open")
	b.wantTold(t, "event/sale", "Up")
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	if b.gates.open["sale"] || b.gates.places["sale"] != "closed" {
		t.Errorf("open %v, %q", b.gates.open["sale"], b.gates.places["sale"])
	}
}

// TestGateTellsItsErrors: a hold says why its gate cannot be opened, and that it waits for no approval any more.
func TestGateTellsItsErrors(t *testing.T) {
	t.Parallel()
	b, _ := newSteppedSale(t, action.Plan{Approval: true})
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "waits for approval")
	b.gates.fail = errors.New("away")
	b.approveHold(t, "shop", "event/sale")
	for range 3 {
		b.mustPass(t)
	}
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "the gate cannot be opened yet: ")
	b.gates.fail = nil
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "the gate is open")
}

// TestGateWaitsForPods: pods that are gone between two steps stop the gate, and roll it back after a minute.
func TestGateWaitsForPods(t *testing.T) {
	t.Parallel()
	b, w := newSteppedSale(t, action.Plan{Steps: []int{10, 100}, Pause: time.Minute})
	w.ready = 5
	b.now = b.now.Add(time.Minute)
	b.mustPass(t)
	b.wantPercents(t, 10)
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "")
	b.now = b.now.Add(gateOpenTimeout)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "15 of 20 pods not ready")
	if b.gates.open["sale"] || w.replicas != 2 {
		t.Errorf("open %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
}

// TestGateWaitsForApproval: a gate with approval opens after a person approved, however long that takes, and for this request alone.
func TestGateWaitsForApproval(t *testing.T) {
	t.Parallel()
	b, w := newSteppedSale(t, action.Plan{Approval: true})
	b.now = b.now.Add(3 * time.Hour)
	b.mustPass(t)
	b.wantPercents(t)
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "approve -n sale Deployment/shop")
	since := b.find("shop", "event/sale").Status.Since
	b.approveHold(t, "shop", "event/sale")
	b.gates.fail = errors.New("away")
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "") // it has its minute from the approval on
	b.gates.fail = nil
	b.mustPass(t)
	b.wantPercents(t, 100)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	if got := b.find("shop", "event/sale").Status.Since; !got.Equal(&since) {
		t.Errorf("it began again: %s", got)
	}
	b.apply(t, "shop", saleHold())
	if !b.find("shop", "event/sale").Spec.Approved {
		t.Error("the same request lost its approval")
	}
	more := saleHold()
	more.Replicas = 25
	b.apply(t, "shop", more)
	b.mustPass(t)
	w.ready = 25
	b.mustPass(t)
	b.wantPercents(t, 100)
	wantState(t, b.find("shop", "event/sale"), hold.Verified, "waits for approval")
}

// TestSharedGateKeepsWhatWas: the last of two holds with one gate restores what was there before the first.
func TestSharedGateKeepsWhatWas(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.gates.places["sale"] = "closed"
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	first, second := saleHold(), saleHold()
	second.ID = "event/other"
	for _, h := range []hold.Hold{first, second} {
		b.apply(t, "shop", h)
		b.mustPass(t)
		w.ready = 20
		b.mustPass(t)
	}
	b.release(t, "shop", first.ID)
	b.mustPass(t)
	if !b.gates.open["sale"] || b.gates.places["sale"] != "100" {
		t.Fatalf("open %v, %q", b.gates.open["sale"], b.gates.places["sale"])
	}
	b.release(t, "shop", second.ID)
	b.mustPass(t)
	if b.gates.open["sale"] || b.gates.places["sale"] != "closed" {
		t.Errorf("open %v, %q", b.gates.open["sale"], b.gates.places["sale"])
	}
}

// TestPercentOfStep: the last steps of all gates of a hold come together.
func TestPercentOfStep(t *testing.T) {
	t.Parallel()
	var got []int
	for step := range 3 {
		for _, p := range []action.Plan{{Steps: []int{10, 50, 100}}, {Steps: []int{30, 100}}, {}} {
			percent, _ := percentOfGateStep(p, step, 3)
			got = append(got, percent)
		}
	}
	if diff := cmp.Diff([]int{10, 0, 0, 50, 30, 0, 100, 100, 100}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
