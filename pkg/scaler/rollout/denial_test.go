package rollout

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD13DeniedGiveBack: numbers that the API server denies to take back are a condition, an Event and a message, once, and are given back when
// it takes them again, by whichever process.
func TestD13DeniedGiveBack(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			w.ready = 20
			b.mustPass(t)
			b.deny = apierrors.NewForbidden(schema.GroupResource{Resource: "deployments/scale"}, "shop", errors.New("the role is gone"))
			b.release(t, "shop", "event/sale")
			for range 3 {
				if err := b.pass(t.Context()); !errors.Is(err, errTrouble) {
					t.Fatal(err)
				}
				b.restart()
				b.now = b.now.Add(time.Minute)
			}
			wantCondition(t, b.find("shop", "event/sale"), conditionNumbersSet, metav1.ConditionFalse, "the role is gone")
			b.wantTold(t, "event/sale", "Up", "Stuck")
			if w.hpa == nil && w.replicas != 20 || w.hpa != nil && w.hpa.bounds.MinReplicas != 20 || b.gates.open["sale"] {
				t.Fatalf("%d replicas, gate %v", w.replicas, b.gates.open["sale"])
			}
			b.deny = nil
			b.mustPass(t)
			if len(b.holds) > 0 || w.hpa == nil && w.replicas != 2 || w.hpa != nil && w.hpa.bounds != bounds {
				t.Fatalf("%d holds, %d replicas, %+v", len(b.holds), w.replicas, w.hpa)
			}
			b.wantTold(t, "event/sale", "Up", "Stuck", "Ended")
		})
	}
}

// TestD13OwnerCannotBeDropped: a hold ends also where the API server denies the scaler to leave the managed fields, whatever the reason, and an
// Event says what that means.
func TestD13OwnerCannotBeDropped(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "deployments"}
	for name, denial := range map[string]error{
		"no right": apierrors.NewForbidden(resource, "shop", errors.New("no")), "a policy": apierrors.NewBadRequest("no"),
		"a webhook that is away": apierrors.NewInternalError(errors.New("failed calling webhook")),
	} {
		for _, bounds := range []hold.ReplicaBounds{{}, {MinReplicas: 2, MaxReplicas: 30}} {
			b := newBench()
			b.addWorkload("shop", 2, bounds)
			b.apply(t, "shop", saleHold())
			b.mustPass(t)
			b.denyOwner = denial
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			if len(b.holds) > 0 {
				t.Errorf("%s: %d holds are left", name, len(b.holds))
			}
			if !slices.ContainsFunc(b.events, func(e string) bool { return strings.HasPrefix(e, reasonOwnershipKept) }) {
				t.Errorf("%s: no Event says so: %q", name, b.events)
			}
		}
	}
}

// TestD7TroubleAtTheEnd: a second autoscaler, which keeps a hold from giving back, is told; so is one that keeps a hold from its beginning for
// longer than its pods may take.
func TestD7TroubleAtTheEnd(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	b.addWorkload("second", 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 5})
	b.addWorkload("third", 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 5})
	b.workloads["second"].hpa.scales, b.workloads["third"].hpa.scales = "shop", "shop"
	b.release(t, "shop", "event/sale")
	if err := b.pass(t.Context()); !errors.Is(err, errTrouble) {
		t.Fatal(err)
	}
	b.wantTold(t, "event/sale", "Up", "Stuck")
	b.workloads["second"].hpa, b.workloads["third"].hpa = nil, nil
	b.mustPass(t)
	if len(b.holds) > 0 || w.replicas != 2 {
		t.Fatalf("%d holds, %d replicas", len(b.holds), w.replicas)
	}
}

// TestD25BrokenWebhook: an API server that cannot decide on a number, because a webhook is away, fails the hold after its time, and is told; a
// short outage of the webhook does not.
func TestD25BrokenWebhook(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.deny = apierrors.NewInternalError(errors.New("failed calling webhook"))
	b.apply(t, "shop", saleHold())
	if err := b.pass(t.Context()); !apierrors.IsInternalError(err) {
		t.Fatal(err)
	}
	b.deny = nil
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	b.deny = apierrors.NewInternalError(errors.New("failed calling webhook"))
	b.apply(t, "shop", saleHold())
	_ = b.pass(t.Context())
	b.now = b.now.Add(hold.DefaultWithin)
	_ = b.pass(t.Context())
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "failed calling webhook")
	b.wantTold(t, "event/sale", "Ended", "RolledBack")
	if w.hpa.bounds.MinReplicas != 2 {
		t.Errorf("%+v", w.hpa.bounds)
	}
}

// denyNumbers makes the API server deny all numbers for a pass.
func (w *wildWalker) denyNumbers() {
	w.failPass("the API server denies all numbers", &w.deny, apierrors.NewForbidden(schema.GroupResource{Resource: "deployments/scale"}, "x", errors.New("a policy")))
}

// denyStatuses makes a webhook deny all statuses of holds for a pass.
func (w *wildWalker) denyStatuses() {
	w.failPass("a webhook denies the statuses of holds", &w.denyStatus, apierrors.NewForbidden(schema.GroupResource{Resource: "holds"}, "x", errors.New("admission webhook")))
}
