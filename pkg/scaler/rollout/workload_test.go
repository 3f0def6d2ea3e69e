// Workloads that cannot be scaled, that are denied, or that are not the ones of before.

package rollout

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD25DeniedNumber: a number that the API server denies fails the hold, is told, and leaves the other holds of the workload.
func TestD25DeniedNumber(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			b.apply(t, "shop", newGateHold("set/me"))
			b.mustPass(t)
			w.ready = 4
			b.mustPass(t)
			b.deny = apierrors.NewForbidden(schema.GroupResource{Resource: "deployments/scale"}, "shop", errors.New("policy says no"))
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "policy says no")
			wantState(t, b.find("shop", "set/me"), hold.Open, "")
			b.wantTold(t, "event/sale", "RolledBack")
			b.deny = nil
			b.now = b.now.Add(firstRetryPause)
			b.mustPass(t)
			wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
		})
	}
}

// TestD16PushThatNobodyNeeds: a hold that ends between the record of its numbers and the write leaves the autoscaler's replicas alone.
func TestD16PushThatNobodyNeeds(t *testing.T) {
	t.Parallel()
	for writes := 1; writes < 8; writes++ {
		b := newBench()
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
		b.apply(t, "shop", saleHold())
		b.writesLeft = writes
		_ = b.pass(t.Context())
		b.restart()
		pushed := w.replicas == 20
		b.onSet = func(_ *memoryWorkload, field string, to int32) {
			if to > 2 && field == fieldReplicas && !pushed {
				t.Errorf("killed after %d writes: %s set to %d after the end", writes, field, to)
			}
		}
		b.release(t, "shop", "event/sale")
		b.mustPass(t)
		if len(b.holds) > 0 || w.hpa.bounds.MinReplicas != 2 {
			t.Errorf("killed after %d writes: %d holds, %+v", writes, len(b.holds), w.hpa.bounds)
		}
	}
}

// TestD1ReplacedWorkload: a workload that was deleted and made again between two passes gets the hold anew, with the gate shut meanwhile.
func TestD1ReplacedWorkload(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	w.replace(b.memoryCluster, 3)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
	if b.gates.open["sale"] || w.replicas != 20 || len(b.find("shop", "event/sale").Status.Yielded) > 0 {
		t.Fatalf("gate %v, %d replicas, %+v", b.gates.open["sale"], w.replicas, b.find("shop", "event/sale").Status)
	}
	w.ready = 20
	b.mustPass(t)
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	if w.replicas != 3 {
		t.Errorf("%d replicas; want the 3 of the new workload", w.replicas)
	}
}

// TestD8FaultyHold: a Hold that cannot be read is the trouble of itself. It says so, and undoes what it did before it was broken.
func TestD8FaultyHold(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	faulty := b.find("shop", "event/sale")
	faulty.Generation++
	faulty.Fault = `time: invalid duration "soon"`
	b.apply(t, "shop", newGateHold("set/me"))
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, `cannot be read: time: invalid duration "soon"`)
	wantState(t, b.find("shop", "set/me"), hold.Open, "")
	if b.gates.open["sale"] || w.replicas != 4 {
		t.Errorf("gate %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
}

// TestD35LongReason: a reason of any length fits into a status.
func TestD35LongReason(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.deny = apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "shop", errors.New(strings.Repeat("nö ", 1<<20)))
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	if n := len(b.find("shop", "event/sale").Status.Message); n == 0 || n > maxStatusMessageBytes {
		t.Errorf("a message of %d bytes", n)
	}
}

// TestD16TwoVersionsOneWorkload: holds that name the workload in two versions are holds of one workload: neither takes the other's number for a
// person's, and the last one gives back.
func TestD16TwoVersionsOneWorkload(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		b := newBench()
		w := b.addWorkload("shop", 2, bounds)
		b.apply(t, "shop", nightHold(8))
		b.mustPass(t)
		other := memoryRef("shop")
		other.APIVersion = "apps/v1beta2"
		if _, err := b.engine.ApplyHold(t.Context(), other, saleHold()); err != nil {
			t.Fatal(err)
		}
		b.mustPass(t)
		if w.replicas != 20 {
			t.Fatalf("%s: %d replicas", name, w.replicas)
		}
		for _, h := range b.holds {
			if len(h.Status.Yielded) > 0 || h.Status.State != hold.Scaled {
				t.Errorf("%s: %s yielded %v in state %s", name, h.Name, h.Status.Yielded, h.Status.State)
			}
		}
		for _, id := range []string{"schedule/hours", "event/sale"} {
			b.release(t, "shop", id)
			b.mustPass(t)
		}
		if len(b.holds) > 0 || w.hpa == nil && w.replicas != 2 || w.hpa != nil && w.hpa.bounds != bounds {
			t.Errorf("%s: %d holds, %d replicas, %+v", name, len(b.holds), w.replicas, w.hpa)
		}
	}
}

// TestD1ScaleWithoutSelector: the pods of a custom resource whose scale has no selector are not known: no gate opens over the pods of others.
func TestD1ScaleWithoutSelector(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	w.selector = "none"
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.now = b.now.Add(hold.DefaultWithin)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "the scale of the workload has no selector")
	if b.gates.open["sale"] {
		t.Error("the gate opened")
	}
}
