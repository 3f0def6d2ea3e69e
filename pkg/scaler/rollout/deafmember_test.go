package rollout

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD7DeafMember: while the API server cannot read one workload of a group, such as for a conversion webhook that is away, the holds of the other one go on:
// another hold of it ends, and the group fails in its time.
func TestD7DeafMember(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.readLive()
	shop := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.addWorkload("cart", 2, hold.ReplicaBounds{})
	for _, name := range []string{"shop", "cart"} {
		h := saleHold()
		h.Group, h.GroupSize = "event/sale", 2
		b.apply(t, name, h)
	}
	b.apply(t, "shop", hold.Hold{ID: "set/alice", Replicas: 30})
	b.mustPass(t)
	shop.ready = 30
	b.failScale = map[string]error{"cart": apierrors.NewInternalError(errors.New("conversion webhook is away"))}
	pass := func() {
		if err := b.pass(t.Context()); err != nil && !apierrors.IsInternalError(err) && !errors.Is(err, errTrouble) {
			t.Fatal(err)
		}
	}
	pass()
	wantState(t, b.find("shop", "set/alice"), hold.Open, "")
	b.release(t, "shop", "set/alice")
	pass()
	if b.find("shop", "set/alice") != nil || shop.replicas != 20 || b.gates.open["sale"] {
		t.Fatalf("%d replicas, gate %v, hold %+v", shop.replicas, b.gates.open["sale"], b.find("shop", "set/alice"))
	}
	b.now = b.now.Add(hold.DefaultWithin + 2*gateOpenTimeout)
	pass()
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "not all of its 2 workloads are up")
	if shop.replicas != 2 {
		t.Errorf("%d replicas", shop.replicas)
	}
	b.failScale = nil
	for range 8 { // the tries of both
		b.now = b.now.Add(firstRetryPause)
		b.mustPass(t)
		b.setGroupReady()
		b.mustPass(t)
	}
	if !b.gates.open["sale"] {
		t.Error("the gate is shut after the workload can be read again")
	}
}

// TestD8HoldOfNoObject: a Hold whose workload no object can be is let go when it is deleted, also if its client gave it the finalizer.
func TestD8HoldOfNoObject(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.readLive()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.failScale = map[string]error{"shop": errNoObjectName}
	b.apply(t, "shop", saleHold())
	for range 2 {
		if err := b.pass(t.Context()); !errors.Is(err, errTrouble) {
			t.Fatal(err)
		}
	}
	b.release(t, "shop", "event/sale")
	for range 2 {
		_ = b.pass(t.Context())
	}
	if len(b.holds) > 0 {
		t.Errorf("left: %+v", b.find("shop", "event/sale").Status)
	}
}
