// Gates that several holds have open, or under several names: a gate is open as far as the hold asks that asks for most.

package rollout

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// gateLocks are locks of gates by namespace and name. A hold that shuts a gate looks at the holds that have it open: none may open it meanwhile.
type gateLocks struct {
	mu    sync.Mutex // guards locks
	locks map[string]*sync.Mutex
}

// lockGates locks gates of a namespace in the order of their keys, and returns the function that unlocks them.
func (l *gateLocks) lockGates(namespace string, gates []string) (unlock func()) {
	var held []*sync.Mutex
	for _, g := range slices.Compact(slices.Sorted(slices.Values(gates))) {
		l.mu.Lock()
		if l.locks == nil {
			l.locks = map[string]*sync.Mutex{}
		}
		lock := l.locks[namespace+"/"+g]
		if lock == nil {
			lock = &sync.Mutex{}
			l.locks[namespace+"/"+g] = lock
		}
		l.mu.Unlock()
		lock.Lock()
		held = append(held, lock)
	}
	return func() {
		for _, lock := range held {
			lock.Unlock()
		}
	}
}

// isSameGate reports whether two names are of one gate: two rules may have the same actions.
func (o *HeldWorkload) isSameGate(a, b string) bool {
	return a == b || o.GateKeys[a] != "" && o.GateKeys[a] == o.GateKeys[b]
}

// currentGate returns the name in the configuration of a gate that holds know by a name.
func (o *HeldWorkload) currentGate(gate string) string { return cmp.Or(o.GateNames[gate], gate) }

// currentGateChanges returns the changes of a hold's gates, with the gates' names in the configuration.
func (o *HeldWorkload) currentGateChanges(h *hold.Object) []action.Change {
	changes := slices.Clone(h.Status.GateChanges)
	for i := range changes {
		changes[i].Gate = o.currentGate(changes[i].Gate)
	}
	return changes
}

// noteGateKeys returns the keys of a hold's gates. The key of a gate that the configuration has lost stays.
func (o *HeldWorkload) noteGateKeys(h *hold.Object) map[string]string {
	keys := maps.Clone(h.Status.GateKeys)
	for _, g := range h.Spec.Gates {
		if key := o.GateKeys[g]; key != "" {
			if keys == nil {
				keys = map[string]string{}
			}
			keys[g] = key
		}
	}
	return keys
}

// addGateNames finds the gates that the configuration has under other names than the holds: a rule was renamed, or its actions became a gate of their
// own. A name that stood for different gates stands for none.
func (p *workloadPass) addGateNames(o *HeldWorkload, keys GateKeys) {
	o.GateNames = map[string]string{}
	for _, list := range [][]hold.Object{o.Holds, o.Others} {
		for i := range list {
			for _, g := range list[i].Spec.Gates {
				key := list[i].Status.GateKeys[g]
				if key == "" || p.Gates.Fault(p.workload.Namespace, g) == "" {
					continue
				}
				name := cmp.Or(keys.FindGate(p.workload.Namespace, key), g)
				if earlier, again := o.GateNames[g]; again && earlier != name {
					name = g
				}
				o.GateNames[g] = name
			}
		}
	}
}

// listGateKeys lists the keys that identify the gates of a hold.
func (o *HeldWorkload) listGateKeys(h *hold.Object) (all []string) {
	for _, g := range h.Spec.Gates {
		all = append(all, cmp.Or(o.GateKeys[g], g))
	}
	return all
}

// gatePercentAt returns the percentage of a hold's gate after so many of the hold's steps.
func (o *HeldWorkload) gatePercentAt(h *hold.Object, gate string, made int) int {
	steps := len(o.planHoldGates(h).Percentages())
	percent, _ := percentOfGateStep(o.GatePlans[gate], min(made, steps)-1, steps)
	return percent
}

// gatePercentBesides returns the percentage to which holds outside of h's group keep a gate open; 0: none does.
func (o *HeldWorkload) gatePercentBesides(h *hold.Object, gate string, now time.Time) (percent int) {
	for _, list := range [][]hold.Object{o.Holds, o.Others} {
		for i := range list {
			m := &list[i]
			sameGroup := h.Spec.Group != nil && m.Spec.Group != nil && m.Spec.Group.Name == h.Spec.Group.Name
			if m.UID == h.UID || sameGroup || !m.Status.GateOpen || !m.Status.State.IsActive() && !m.IsKept() || m.IsOver(now) {
				continue
			}
			for _, g := range m.Spec.Gates {
				if o.isSameGate(g, gate) {
					percent = max(percent, o.gatePercentAt(m, g, m.Status.GateSteps))
				}
			}
		}
	}
	return percent
}

// areGatesKept reports whether other holds keep all gates of a hold open, at least as far as this hold may have opened them: an interrupted
// step counts.
func (o *HeldWorkload) areGatesKept(h *hold.Object, now time.Time) bool {
	return !slices.ContainsFunc(h.Spec.Gates, func(g string) bool {
		return o.gatePercentBesides(h, g, now) < max(o.gatePercentAt(h, g, h.Status.GateSteps+1), 1)
	})
}

// observeGateHolds reads the holds of the namespace from the API server: of a gate that is locked, they say how far it is open.
func (p *workloadPass) observeGateHolds(ctx context.Context) (*HeldWorkload, error) {
	all, err := p.Cluster.ListHolds(ctx, p.workload.Namespace)
	if err != nil {
		return nil, err
	}
	o := &HeldWorkload{Workload: p.workload, GatePlans: map[string]action.Plan{}, GateKeys: map[string]string{}}
	o.addHolds(all)
	p.addGatePlans(o)
	return o, nil
}
