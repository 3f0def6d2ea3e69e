// The troubles of a hold that a person must end. Its notifiers are told each of them once, until the hold is up again.

package rollout

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// The names of troubles in Status.Told. Each is told by itself: another one that begins meanwhile is news, and the first is not.
const (
	troublePrefix       = "Stuck"
	troubleGateLeftOpen = troublePrefix + "GateLeftOpen" // only a person can shut the gate
	troubleGateNotShut  = troublePrefix + "GateNotShut"  // the gate cannot be shut
	troubleDenied       = troublePrefix + "Denied"       // the API server denies the numbers
	troubleUnreachable  = troublePrefix + "Unreachable"  // the workload cannot be scaled
)

// isHoldTroubleOutcome reports whether an outcome in Status.Told is a trouble.
func isHoldTroubleOutcome(name string) bool { return strings.HasPrefix(name, troublePrefix) }

// holdTrouble is a trouble of a hold, after the time in which it may end by itself.
type holdTrouble struct {
	outcome string // its name in Status.Told
	text    string // for people
	reason  string
}

// listHoldTroubles lists the troubles of a hold, the most urgent first.
func (o *HeldWorkload) listHoldTroubles(h *hold.Object, now time.Time) (all []holdTrouble) {
	if c := findFalseHoldCondition(h, conditionGateShut); c != nil && c.Reason == gateLeftOpen {
		all = append(all, holdTrouble{troubleGateLeftOpen, "the gate stays open: " + o.describeReplicas(), c.Message})
	} else if c != nil && !now.Before(c.LastTransitionTime.Add(gateOpenTimeout)) {
		all = append(all, holdTrouble{troubleGateNotShut, "the gate stays open: " + o.describeReplicas(), c.Message})
	}
	stuck := "stuck at " + o.describeReplicas() + ": the scaler cannot set its numbers"
	if c := findFalseHoldCondition(h, conditionNumbersSet); c != nil {
		all = append(all, holdTrouble{troubleDenied, stuck, c.Message})
	}
	if c := findFalseHoldCondition(h, conditionReachable); c != nil && o.Trouble != "" && isHoldUnreachableTooLong(h, c, now) {
		all = append(all, holdTrouble{troubleUnreachable, stuck, c.Message})
	}
	return all
}

// isHoldUnreachableTooLong reports whether a hold with a workload that cannot be scaled waits for it no longer: it has not become active in its time, or
// is over and cannot restore the original numbers.
func isHoldUnreachableTooLong(h *hold.Object, c *metav1.Condition, now time.Time) bool {
	if h.IsOver(now) {
		return h.Status.Numbers != nil
	}
	return h.Status.State.IsActive() && !now.Before(c.LastTransitionTime.Add(h.WithinOrDefault()))
}

// findHoldTrouble returns the trouble of a hold with a name in Status.Told; nil: it has none.
func (o *HeldWorkload) findHoldTrouble(h *hold.Object, outcome string, now time.Time) *holdTrouble {
	all := o.listHoldTroubles(h, now)
	if i := slices.IndexFunc(all, func(t holdTrouble) bool { return t.outcome == outcome }); i >= 0 {
		return &all[i]
	}
	return nil
}

// findFalseHoldCondition returns a condition of a hold that is false, or nil.
func findFalseHoldCondition(h *hold.Object, kind string) *metav1.Condition {
	if c := findHoldCondition(h, kind); c != nil && c.Status == metav1.ConditionFalse {
		return c
	}
	return nil
}

// endHoldTrouble returns the told outcomes of a hold after one of its troubles ended: if one was told, it is told that the hold is up. At the end of
// the hold, its end tells that.
func endHoldTrouble(h *hold.Object, now time.Time) []string {
	told := slices.Clone(h.Status.Told)
	if h.IsOver(now) || !slices.ContainsFunc(told, isHoldTroubleOutcome) {
		return told
	}
	return forgetHoldOutcome(told, string(hold.Open))
}
