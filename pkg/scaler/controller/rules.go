package controller

import (
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// This file relates the holds of events to the rules of the configuration, which may have changed since.

// cutEventHoldID returns the name of the rule in the ID of a hold, and the key of the sale, with its slash; false: no event made the hold.
func cutEventHoldID(id string) (rule, key string, isEvent bool) {
	rule, isEvent = strings.CutPrefix(id, hold.EventPrefix)
	if i := strings.Index(rule, "/"); i >= 0 {
		rule, key = rule[:i], rule[i:]
	}
	return rule, key, isEvent
}

// findControllerRule returns the rule that made a hold; nil: none did. If the configuration has no rule of its name, such as after a change of the name,
// it is the only rule that could have made it: one with the hold's workload, its type of event, and a key or none.
func (c *Controller) findControllerRule(h *hold.Object) *event.Rule {
	name, key, isEvent := cutEventHoldID(h.HoldID())
	if !isEvent || c.Engine.Owner == "" || h.Labels[hold.OwnerLabel] != c.Engine.Owner {
		return nil
	}
	var possible []*event.Rule
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.Name == name {
			return r
		}
		if r.Type == h.Spec.Reason && (r.Key != "") == (key != "") && slices.ContainsFunc(r.ListWorkloads(), h.HeldWorkload().IsSameObject) {
			possible = append(possible, r)
		}
	}
	if len(possible) != 1 {
		return nil
	}
	return possible[0]
}

// isFormerControllerHold reports whether the rule with a hold of the ID made h before the configuration changed: under another name, or on a workload that it
// no longer has. No event of its own ends it.
func (c *Controller) isFormerControllerHold(h *hold.Object, id string) bool {
	name, key, isEvent := cutEventHoldID(id)
	before, keyBefore, _ := cutEventHoldID(h.HoldID())
	r := c.findControllerRule(h)
	if !isEvent || r == nil || r.Name != name || keyBefore != key {
		return false
	}
	return before != name || !slices.ContainsFunc(r.ListWorkloads(), h.HeldWorkload().IsSameObject)
}
