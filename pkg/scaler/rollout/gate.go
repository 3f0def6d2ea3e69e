// The gates of a hold: they open in steps, after a person's approval where the configuration asks for it.

package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// planHoldGates returns how the gates of a hold open together: in the most steps, with the longest pause and the longest watch of any, and after
// an approval if one needs it.
func (o *HeldWorkload) planHoldGates(h *hold.Object) (all action.Plan) {
	for _, g := range h.Spec.Gates {
		p := o.GatePlans[g]
		if len(p.Steps) > len(all.Steps) {
			all.Steps = p.Steps
		}
		if len(p.Steps) > 0 {
			all.Pause = max(all.Pause, p.Pause)
		}
		all.Approval = all.Approval || p.Approval
		if p.After != nil && (all.After == nil || p.After.For > all.After.For) {
			all.After = p.After
		}
	}
	return all
}

// percentOfGateStep returns the percentage of a gate in a step of its hold, counted from 0, of so many; false: its first step comes later. The last
// steps of all gates come together.
func percentOfGateStep(p action.Plan, step, steps int) (int, bool) {
	own := p.Percentages()
	if i := step - (steps - len(own)); i >= 0 {
		return own[min(i, len(own)-1)], true
	}
	return 0, false
}

// isHoldApproved reports whether a person approved the hold, or another hold of its group: a group is one request.
func (o *HeldWorkload) isHoldApproved(h *hold.Object) bool {
	return h.Spec.Approved || slices.ContainsFunc(o.listHoldGroupMembers(h), func(m *hold.Object) bool { return m.Spec.Approved })
}

// gateWait returns the condition that the next step of a hold's gates waits for, and until when at most; empty: for nothing, zero: for a person.
func (o *HeldWorkload) gateWait(h *hold.Object, now time.Time) (reason string, until time.Time) {
	plan := o.planHoldGates(h)
	if plan.Approval && !o.isHoldApproved(h) {
		return fmt.Sprintf("verified; the gate waits for approval: tachometer-scaler approve -n %s %s/%s", h.Namespace, h.Spec.Workload.Kind, h.Spec.Workload.Name), time.Time{}
	}
	step, percents := h.Status.GateSteps, plan.Percentages()
	if next := h.Status.GateStepAt.Add(plan.Pause); step > 0 && step < len(percents) && now.Before(next) {
		return fmt.Sprintf("the gate is open at %d %%; %d %% follow at %s", percents[step-1], percents[step], next.UTC().Format(time.TimeOnly)), next
	}
	return "", time.Time{}
}

// approveHold notes the approval of a hold. It changes nothing else of the request.
func (o *HeldWorkload) approveHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		s := h.Status
		if !h.Spec.Approved || s.Approved || !s.State.IsActive() || s.State == hold.Open || h.IsOver(now) || h.Spec.Replicas != s.ReplicasAsked {
			continue
		}
		status := h.Status.DeepCopy()
		status.Approved, status.ObservedGeneration, status.GateStepAt = true, h.Generation, metav1.NewMicroTime(now)
		status.Message = "approved"
		return o.writeStatusStep(i, status).withStepEvent(reasonApproved, "hold %s: its gate may open", h.HoldID()), true
	}
	return Step{}, false
}

// gateFailure returns why a verified hold fails; empty: its gate waits, or may still open.
func (o *HeldWorkload) gateFailure(h *hold.Object, now time.Time) string {
	if waits, _ := o.gateWait(h, now); waits != "" {
		return ""
	}
	began, noted := o.gateWaitEnd(h)
	if !noted || now.Before(began.Add(gateOpenTimeout)) {
		return ""
	}
	if err := o.GateErrors[h.UID]; err != "" {
		return "open the gate: " + err
	}
	switch {
	case o.isHoldGroupVerified(h):
		return o.describeMissingPods(h, now)
	case now.Before(began.Add(h.WithinOrDefault() + gateOpenTimeout)): // pods that are away meanwhile have as long to come back
		return ""
	}
	return fmt.Sprintf("group %s: not all of its %d workloads are up", h.Spec.Group.Name, h.Spec.Group.Size)
}

// gateWaitEnd returns the time since which the gates of a verified hold may open, and false while the approval of its group is not noted yet. What a
// member waits for, the whole group waits for: its pods, its approval, its steps.
func (o *HeldWorkload) gateWaitEnd(h *hold.Object) (began time.Time, noted bool) {
	plan := o.planHoldGates(h)
	if h.Status.GateSteps > 0 {
		return h.Status.GateStepAt.Add(plan.Pause), true
	}
	began = h.Status.Entered.Time
	for _, m := range append(o.listHoldGroupMembers(h), h) {
		if plan.Approval && m.Spec.Approved && !m.Status.Approved && m.Status.State.IsActive() && m.Status.State != hold.Open {
			return began, false
		}
		for _, at := range []time.Time{m.Status.Entered.Time, m.Status.GateStepAt.Time} {
			if at.After(began) {
				began = at
			}
		}
	}
	return began, true
}

// gateErrorPrefix begins the message of a hold with a gate that cannot be opened.
const gateErrorPrefix = "the gate cannot be opened yet: "

// openHoldGate opens the gates of a verified hold, step by step, while its pods are there. The status says so before the first action, with what
// the gates will change.
func (o *HeldWorkload) openHoldGate(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Verified, now) {
		h := &o.Holds[i]
		if o.describeMissingPods(h, now) != "" || !o.isHoldGroupVerified(h) || o.mustShutGate(h, now) {
			continue
		}
		waits, _ := o.gateWait(h, now)
		switch err := o.GateErrors[h.UID]; {
		case err != "" && !strings.HasPrefix(h.Status.Message, gateErrorPrefix): // the first error alone: each write wakes another pass
			return o.waitGateStep(i, shortenHoldStatus(gateErrorPrefix+err)), true
		case err != "":
			continue
		case len(h.Spec.Gates) == 0:
			return o.enterStateStep(i, hold.Open, h.Status.Message, now).withStepEvent(string(hold.Open), "hold %s: up: %s", h.HoldID(), o.describeReplicas()), true
		case !o.Gated: // the controller opens it
			continue
		case waits != "" && waits != h.Status.Message:
			return o.waitGateStep(i, waits), true
		case waits != "":
			continue
		case !h.Status.GateOpen:
			status := h.Status.DeepCopy()
			status.GateOpen = true
			apimeta.RemoveStatusCondition(&status.Conditions, conditionGateShut)
			s := o.writeStatusStep(i, status)
			s.Kind = RecordGate
			return s, true
		}
		return o.openGateStep(i, now), true
	}
	return Step{}, false
}

// waitGateStep returns the step that writes the reason of a gate's wait.
func (o *HeldWorkload) waitGateStep(i int, waits string) Step {
	status := o.Holds[i].Status.DeepCopy()
	status.Message = waits
	return o.writeStatusStep(i, status).withStepEvent(string(hold.Verified), "hold %s: %s", o.Holds[i].HoldID(), waits)
}

// openGateStep returns the next step of a hold's gates: never a step before the one of another hold of its group, which opens the same gates.
func (o *HeldWorkload) openGateStep(i int, now time.Time) Step {
	h := &o.Holds[i]
	plan := o.planHoldGates(h)
	steps, at := plan.Percentages(), h.Status.GateSteps
	for _, m := range o.listHoldGroupMembers(h) {
		at = max(at, m.Status.GateSteps-1)
	}
	at = min(max(at, 0), len(steps)-1)
	s := o.enterStateStep(i, hold.Open, h.Status.Message, now)
	s.Kind, s.Confirm, s.GateStep, s.GateSteps = OpenGate, true, at, len(steps)
	s.Status.GateSteps, s.Status.GateStepAt = at+1, metav1.NewMicroTime(now)
	if at+1 < len(steps) {
		s.Status.State, s.Status.Entered, s.Status.Up = hold.Verified, h.Status.Entered, h.Status.Up
		return s // the wait for the next step has the Event
	}
	if plan.Approval || len(steps) > 1 || strings.HasPrefix(h.Status.Message, gateErrorPrefix) { // the message has the condition that the gate waited for
		s.Status.Message = "the gate is open"
	}
	if plan.After != nil {
		s.Status.WatchUntil, s.Status.BreachedSince = metav1.NewMicroTime(now.Add(plan.After.For)), metav1.MicroTime{}
	}
	return s.withStepEvent(string(hold.Open), "hold %s: up: %s, the gate is open", h.HoldID(), o.describeReplicas())
}

// recordHoldGates adds to the status of a step the coming changes of the hold's gates, and writes it. Where another hold has a gate open, what was
// there before is in its record.
func (p *workloadPass) recordHoldGates(ctx context.Context, s Step) error {
	h := &p.observed.Holds[s.Hold]
	s.Status.GateChanges = nil
	for _, g := range h.Spec.Gates {
		changes, err := p.Gates.Record(ctx, p.workload.Namespace, p.observed.currentGate(g))
		if err != nil {
			p.passLogger(ctx).Error(err, "Gate cannot be read yet, retrying", "hold", h.HoldID(), "gate", g)
			p.observed.GateErrors[h.UID] = err.Error()
			return nil
		}
		s.Status.GateChanges = append(s.Status.GateChanges, p.observed.mergeGateRecord(h, g, changes)...)
	}
	return p.writeHoldStatus(ctx, s)
}

// moveHoldGate opens or shuts the gates of a hold, and writes its status. A failure is no error of the pass: the next pass tries again.
func (p *workloadPass) moveHoldGate(ctx context.Context, s Step) error {
	h := &p.observed.Holds[s.Hold]
	defer p.gates.lockGates(p.workload.Namespace, p.observed.listGateKeys(h))()
	shared, err := p.observeGateHolds(ctx)
	if err != nil {
		return err
	}
	for _, g := range h.Spec.Gates {
		if s.Kind == ShutGate && p.isLeftOpen(ctx, h, g, &s.Status) {
			continue // it would keep the pods for ever
		}
		if err := p.moveOneGate(ctx, s, h, g, shared.gatePercentBesides(h, g, p.now)); err != nil {
			p.passLogger(ctx).Error(err, "Gate cannot be moved yet, retrying", "hold", h.HoldID(), "gate", g, "step", s.Kind)
			p.observed.GateErrors[h.UID] = err.Error()
			if s.Kind == ShutGate {
				p.observed.GateErrors[h.UID] = shutErrorPrefix + err.Error()
			}
			return nil
		}
	}
	return p.writeHoldStatus(ctx, s)
}

// moveOneGate opens one gate of a hold by a step, or shuts it. Other holds keep the gate open to the percentage besides.
func (p *workloadPass) moveOneGate(ctx context.Context, s Step, h *hold.Object, gate string, besides int) error {
	name, changes := p.observed.currentGate(gate), p.observed.currentGateChanges(h)
	switch percent, now := percentOfGateStep(p.Gates.Plan(name), s.GateStep, cmp.Or(s.GateSteps, 1)); {
	case s.Kind == ShutGate && besides == 0:
		return p.Gates.Shut(ctx, p.workload.Namespace, name, changes)
	case s.Kind == ShutGate:
		return p.Gates.Open(ctx, p.workload.Namespace, name, besides, changes)
	case !now:
		return nil
	default:
		return p.Gates.Open(ctx, p.workload.Namespace, name, max(percent, besides), changes)
	}
}
