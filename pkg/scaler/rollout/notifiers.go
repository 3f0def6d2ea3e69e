// The notifiers that a hold may use: the configuration allows them for namespaces, as it does gates.

package rollout

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// conditionNotifiersAllowed tells whether the hold may use all notifiers that it names.
const conditionNotifiersAllowed = "NotifiersAllowed"

// rejectNotifiers writes which notifiers a hold names and may not use. It rejects their messages alone: the hold goes on.
func (o *HeldWorkload) rejectNotifiers(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		if h.Fault != "" || h.IsOver(now) || !o.Gated {
			continue // a command does not know the notifiers
		}
		rejected := o.describeRejectedNotifiers(h)
		c := findHoldCondition(h, conditionNotifiersAllowed)
		status := h.Status.DeepCopy()
		switch {
		case rejected == "" && (c == nil || c.Status == metav1.ConditionTrue), rejected != "" && c != nil && c.Status == metav1.ConditionFalse && c.Message == rejected:
			continue
		case rejected == "":
			status.Conditions = setHoldCondition(status.Conditions, conditionNotifiersAllowed, metav1.ConditionTrue, "Allowed", "the hold may use its notifiers", now)
			return o.writeStatusStep(i, status), true
		}
		status.Conditions = setHoldCondition(status.Conditions, conditionNotifiersAllowed, metav1.ConditionFalse, "Rejected", rejected, now)
		return o.writeStatusStep(i, status).withStepWarning(reasonUntold, "hold %s: %s", h.HoldID(), rejected), true
	}
	return Step{}, false
}

// describeRejectedNotifiers returns why a hold may not use some of its notifiers; empty: it may use all.
func (o *HeldWorkload) describeRejectedNotifiers(h *hold.Object) string {
	var faults []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(h.Spec.Notify))) {
		if fault := o.NotifierFaults[name]; fault != "" {
			faults = append(faults, fault)
		}
	}
	return shortenHoldStatus(strings.Join(faults, "; "))
}

// addNotifierFaults asks for the faults of all notifiers that the holds name, or owe messages.
func (p *workloadPass) addNotifierFaults() {
	p.observed.NotifierFaults = map[string]string{}
	if p.NotifierFault == nil {
		return
	}
	for i := range p.observed.Holds {
		h := &p.observed.Holds[i]
		names := slices.Clone(h.Spec.Notify)
		for _, m := range h.Status.Outbox {
			names = append(names, m.Notifiers...)
		}
		for _, name := range names {
			p.observed.NotifierFaults[name] = p.NotifierFault(p.workload.Namespace, name)
		}
	}
}
