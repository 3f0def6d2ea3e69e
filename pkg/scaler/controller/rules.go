package controller

import (
	"context"
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// endHoldsOfOtherNamespaces ends the matching holds outside of a namespace. Without the right to list the holds of all namespaces it looks in this controller's
// alone. A permanent error there is logged alone: it must not keep the end, and the next start, of the rule's workloads.
func (c *Controller) endHoldsOfOtherNamespaces(ctx context.Context, namespace string, matches func(*hold.Object) bool) ([]hold.Object, error) {
	isElsewhere := func(h *hold.Object) bool { return h.Namespace != namespace && matches(h) }
	ended, err := c.Engine.EndHoldsOfNamespace(ctx, "", isElsewhere)
	if apierrors.IsForbidden(err) {
		err = nil
		var namespaces []string
		for _, h := range c.Caches.ListAllHolds() {
			if isElsewhere(&h) && !slices.Contains(namespaces, h.Namespace) {
				namespaces = append(namespaces, h.Namespace)
			}
		}
		for _, other := range namespaces {
			some, otherErr := c.Engine.EndHoldsOfNamespace(ctx, other, isElsewhere)
			ended, err = append(ended, some...), errors.Join(err, otherErr)
		}
	}
	if err != nil && rollout.IsPermanentError(err) {
		klog.FromContext(ctx).Error(err, "Holds of other namespaces cannot be ended, they last until their own end")
		err = nil
	}
	return ended, err
}
