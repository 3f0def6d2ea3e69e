package rollout

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

func wantCondition(t *testing.T, h *hold.Object, kind string, want metav1.ConditionStatus, message string) {
	t.Helper()
	if c := findHoldCondition(h, kind); c == nil || c.Status != want || !strings.Contains(c.Message, message) {
		t.Fatalf("condition %+v; want %s %s, %q", c, kind, want, message)
	}
}

// TestS7ForbiddenNotifier: a hold names notifiers. A notifier that is not allowed for its namespace gets nothing, and the hold says so from its
// beginning; its other notifiers are told, and its pods come.
func TestS7ForbiddenNotifier(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.notifier.rejected = map[string]bool{"payments": true}
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.Notify = []string{"payments", "oncall"}
	b.apply(t, "shop", h)
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
	wantCondition(t, b.find("shop", "event/sale"), conditionNotifiersAllowed, metav1.ConditionFalse, "notifier payments is not allowed for namespace sale")
	w.ready = 20
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	b.wantTold(t, "event/sale", "Up", "Ended")
	for address := range b.notifier.taken {
		if strings.HasPrefix(address, "payments ") {
			t.Errorf("payments was told: %s", address)
		}
	}
	if len(b.holds) > 0 {
		t.Errorf("%d holds are left", len(b.holds))
	}
}

// TestS7NotifierRevoked: a message that waits when its notifier is taken from the namespace is rejected, and told so; a notifier that is allowed
// again ends the condition.
func TestS7NotifierRevoked(t *testing.T) {
	t.Parallel()
	b, _ := newOpenSale(t)
	b.notifier.down = true
	b.pauseHold(t, "shop", "event/sale", true, nil)
	b.mustPass(t)
	b.restart()
	b.notifier.down, b.notifier.rejected = false, map[string]bool{"oncall": true}
	b.mustPass(t)
	wantCondition(t, b.find("shop", "event/sale"), conditionNotified, metav1.ConditionFalse, "not allowed for namespace sale")
	b.wantTold(t, "event/sale", "Up")
	b.pauseHold(t, "shop", "event/sale", false, nil)
	b.mustPass(t)
	wantCondition(t, b.find("shop", "event/sale"), conditionNotifiersAllowed, metav1.ConditionFalse, "oncall")
	b.notifier.rejected = nil
	b.mustPass(t)
	wantCondition(t, b.find("shop", "event/sale"), conditionNotifiersAllowed, metav1.ConditionTrue, "")
}
