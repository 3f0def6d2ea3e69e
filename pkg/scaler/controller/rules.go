package controller

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
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

// findRuleOfHold returns the rule that made a hold; nil: none did. If the configuration has no rule of its name, such as after a change of the name,
// it is the only rule that could have made it: one with the hold's workload, its type of event, and a key or none.
func (c *Controller) findRuleOfHold(h *hold.Object) *event.HoldRule {
	name, key, isEvent := cutEventHoldID(h.HoldID())
	if !isEvent || c.Engine.Owner == "" || h.Labels[hold.OwnerLabel] != c.Engine.Owner {
		return nil
	}
	var possible []*event.HoldRule
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

// isHoldOfFormerRule reports whether the rule with a hold of the ID made h before the configuration changed: under another name, or on a workload that it
// no longer has. No event of its own ends it.
func (c *Controller) isHoldOfFormerRule(h *hold.Object, id string) bool {
	name, key, isEvent := cutEventHoldID(id)
	before, keyBefore, _ := cutEventHoldID(h.HoldID())
	r := c.findRuleOfHold(h)
	if !isEvent || r == nil || r.Name != name || keyBefore != key {
		return false
	}
	return before != name || !slices.ContainsFunc(r.ListWorkloads(), h.HeldWorkload().IsSameObject)
}

// isFirstWorkloadOfRule reports whether a workload is the first of the rule with a hold of the ID.
func (c *Controller) isFirstWorkloadOfRule(t hold.Workload, id string) bool {
	name, _, isEvent := cutEventHoldID(id)
	i := slices.IndexFunc(c.Rules, func(r event.HoldRule) bool { return r.Name == name })
	return isEvent && i >= 0 && c.Rules[i].Workloads[0].Workload.IsSameObject(t)
}

// endFormerHolds ends the matching holds of all namespaces. Without the right to list those it looks in the rule's own namespace, and in the others that this
// controller watches. A permanent error in another one is logged alone: it must not keep the end, and the next start, of the rule's workloads.
func (c *Controller) endFormerHolds(ctx context.Context, namespace string, matches func(*hold.Object) bool) ([]hold.Object, error) {
	ended, err := c.Engine.EndHoldsOfNamespace(ctx, "", matches)
	if err == nil || !rollout.IsPermanentError(err) {
		return ended, err
	}
	namespaces := []string{namespace}
	for _, h := range c.Caches.ListAllHolds() {
		if matches(&h) && !slices.Contains(namespaces, h.Namespace) {
			namespaces = append(namespaces, h.Namespace)
		}
	}
	var errs []error
	for _, n := range namespaces {
		some, err := c.Engine.EndHoldsOfNamespace(ctx, n, matches)
		ended = append(ended, some...)
		if n != namespace && err != nil && rollout.IsPermanentError(err) {
			klog.FromContext(ctx).Error(err, "Holds of another namespace cannot be ended, they last until their own end", "namespace", n)
			continue
		}
		errs = append(errs, err)
	}
	return ended, errors.Join(errs...)
}
