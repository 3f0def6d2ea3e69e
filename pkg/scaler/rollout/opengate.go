// Gates that cannot be shut: people learn that traffic may still come.

package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// conditionGateShut tells whether the gates of a hold that is over or failed are shut. Its reasons while they are not:
const (
	conditionGateShut = "GateShut"
	gateShutFailed    = "Failed"   // the scaler tries again, and keeps the pods
	gateLeftOpen      = "LeftOpen" // only a person can shut them
)

// shutErrorPrefix begins the errors of gates that cannot be shut.
const shutErrorPrefix = "the gate cannot be shut: "

// reportOpenGate writes to a hold why its gates cannot be shut yet: the first error alone, since each write wakes another pass.
func (o *HeldWorkload) reportOpenGate(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		c, err := findHoldCondition(h, conditionGateShut), o.GateErrors[h.UID]
		if !h.Status.GateOpen || !strings.HasPrefix(err, shutErrorPrefix) || c != nil && c.Status == metav1.ConditionFalse {
			continue
		}
		s := o.writeStatusStep(i, noteOpenGate(h.Status.DeepCopy(), gateShutFailed, err, now))
		return s.withStepWarning(reasonTrouble, "hold %s: %s", h.HoldID(), err), true
	}
	return Step{}, false
}

// noteOpenGate returns the status of a hold with the reason of its open gates.
func noteOpenGate(status hold.Status, reason, message string, now time.Time) hold.Status {
	status.Conditions = setHoldCondition(status.Conditions, conditionGateShut, metav1.ConditionFalse, reason, shortenHoldStatus(message), now)
	return status
}

// noteShutGate returns the status of a hold after its gates were shut.
func (o *HeldWorkload) noteShutGate(h *hold.Object, status hold.Status, now time.Time) hold.Status {
	if c := findHoldCondition(h, conditionGateShut); c != nil && c.Status == metav1.ConditionFalse {
		status.Conditions = setHoldCondition(status.Conditions, conditionGateShut, metav1.ConditionTrue, "Shut", "the gate is shut", now)
		status.Told = endHoldTrouble(h, now)
	}
	return status
}

// isLeftOpen reports whether only a person can shut a gate of a hold, and notes how in the status that the hold gets.
func (p *workloadPass) isLeftOpen(ctx context.Context, h *hold.Object, gate string, status *hold.Status) bool {
	fault := p.Gates.ShutFault(p.workload.Namespace, p.observed.currentGate(gate), h.Status.GateKeys[gate], p.observed.currentGateChanges(h))
	if fault == "" {
		return false
	}
	text := fmt.Sprintf("gate %s stays open: %s", gate, fault)
	p.passLogger(ctx).Info("Gate cannot be shut, since the configuration no longer has it", "hold", h.HoldID(), "gate", gate, "reason", fault)
	status.Message = shortenHoldStatus(strings.TrimPrefix(status.Message+"; ", "; ") + text)
	if c := findLeftOpenGate(*status); c != nil { // another gate of the hold
		text = c.Message + "; " + text
	}
	*status = noteOpenGate(*status, gateLeftOpen, text, p.now)
	p.addStepEvent(Step{}.withStepWarning(reasonTrouble, "hold %s: gate %s stays open: %s", h.HoldID(), gate, fault), h)
	return true
}

// findLeftOpenGate returns the condition about the gates of a hold that only a person can shut; nil: it left none open.
func findLeftOpenGate(status hold.Status) *metav1.Condition {
	c := apimeta.FindStatusCondition(status.Conditions, conditionGateShut)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason != gateLeftOpen {
		return nil
	}
	return c
}

// FailsToShutGates reports whether the scaler cannot shut the gates of a hold yet, and tries again.
func FailsToShutGates(h *hold.Object) bool {
	c := findHoldCondition(h, conditionGateShut)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == gateShutFailed
}
