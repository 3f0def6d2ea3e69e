// The record of the changes of a gate that other holds have open already: what was there before is in the records of those holds.

package rollout

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// mergeGateRecord returns the coming changes of a gate as the hold records them. A hold that has the same gate open recorded them before it opened:
// lists of another length, and objects that the gate made around its values, are only in that record.
func (o *HeldWorkload) mergeGateRecord(h *hold.Object, gate string, changes []action.Change) (all []action.Change) {
	earlier := o.listOpenGateChanges(h)
	for _, c := range changes {
		c.Gate = gate
		at := slices.IndexFunc(earlier, func(e action.Change) bool { return isSameGatePlace(e, c) })
		if at >= 0 {
			c.Was = earlier[at].Was
		} else if slices.ContainsFunc(earlier, func(e action.Change) bool {
			return o.isSameGate(e.Gate, gate) && (isWithinGatePlace(c, e) || isWithinGatePlace(e, c))
		}) {
			continue // what is there now is of the open gate
		}
		all = append(all, c)
	}
	for _, e := range earlier {
		if o.isSameGate(e.Gate, gate) && !slices.ContainsFunc(all, func(c action.Change) bool { return isSameGatePlace(e, c) }) {
			e.Gate = gate
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b action.Change) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// listOpenGateChanges lists the changes in the records of the other holds with open gates.
func (o *HeldWorkload) listOpenGateChanges(h *hold.Object) (all []action.Change) {
	for _, list := range [][]hold.Object{o.Holds, o.Others} {
		for i := range list {
			if m := &list[i]; m.UID != h.UID && m.Status.GateOpen {
				all = append(all, m.Status.GateChanges...)
			}
		}
	}
	return all
}

// isSameGateObject reports whether two changes are of one object.
func isSameGateObject(a, b action.Change) bool {
	return a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name
}

// isSameGatePlace reports whether two changes are of one place.
func isSameGatePlace(a, b action.Change) bool { return isSameGateObject(a, b) && a.Path == b.Path }

// isWithinGatePlace reports whether a change is of a part of another's value.
func isWithinGatePlace(c, whole action.Change) bool {
	return isSameGateObject(c, whole) && !whole.MakesObject() && strings.HasPrefix(c.Path, whole.Path+"/")
}
