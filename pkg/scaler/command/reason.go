// The names of holds.

package command

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// addReasonFlag adds --reason, which names holds, with its completion.
func addReasonFlag(p *Program, cmd *cobra.Command, to *[]string, usage string) {
	cmd.Flags().StringArrayVar(to, "reason", nil, usage)
	registerCompletion(cmd, "reason", p.completeHoldReasons)
}

// nameUnnamedHold gives a hold without --reason a name of its own if a hold from another host has the user's name: two people may log
// in as root. The two hold side by side.
func nameUnnamedHold(ctx context.Context, c *Connection, t hold.Workload, h *hold.Hold, out *outputPrinter) error {
	if isCommandInPod() { // each run of a CronJob has a host of its own, and replaces the hold of the one before
		return nil
	}
	all, err := c.Holds.ListHolds(ctx, t.Namespace, "")
	if err != nil {
		return fmt.Errorf("hold %s: %w", t, err)
	}
	id, other := pickUnnamedHoldID(all, t, h)
	if h.ID = id; other != nil {
		out.printCommandEvent("named", id, fmt.Sprintf("this hold is %s: %s is a hold by %s for %d replicas, and stays; --reason %s replaces it",
			id, other.HoldID(), other.Spec.By, other.Spec.Replicas, strings.TrimPrefix(other.HoldID(), hold.SetPrefix)), nil)
	}
	return nil
}

// pickUnnamedHoldID returns the ID for a hold without --reason, which is the user's name, and the hold of another host that has that ID;
// nil: none has. A hold that this host already named after itself keeps its name.
func pickUnnamedHoldID(all []hold.Object, t hold.Workload, h *hold.Hold) (id string, other *hold.Object) {
	own := hold.SetPrefix + h.By
	for i := range all {
		o := &all[i]
		switch {
		case !o.HeldWorkload().IsSameObject(t) || o.DeletionTimestamp != nil:
		case o.HoldID() == own:
			return own, nil
		case o.HoldID() == h.ID && o.Spec.By != h.By:
			other = o
		}
	}
	if other != nil {
		return own, other
	}
	return h.ID, nil
}

// holdIDOfReason returns the ID of the hold that set makes for --reason. The ID of such a hold, as status shows it, names that hold.
func holdIDOfReason(reason string) (id string, err error) {
	name := strings.TrimPrefix(reason, hold.SetPrefix)
	if reason != "" && name == "" {
		return "", UsageErrorf("--reason %s names no hold", reason)
	}
	return hold.SetPrefix + cmp.Or(name, commandUserName()), nil
}

// isHoldNamed reports whether --reason names the hold: by its ID, without the prefix set/, or by the name of the object.
func isHoldNamed(h *hold.Object, reason string) bool {
	return h.HoldID() == reason || h.HoldID() == hold.SetPrefix+reason || h.Name == reason
}

// pickNamedHolds returns the UIDs of the holds of a workload that --reason names. A misspelt name must not look like success, and a name of
// several holds must change no hold but the meant one.
func pickNamedHolds(all []hold.Object, t hold.Workload, reasons []string) (picked []types.UID, err error) {
	for _, reason := range reasons {
		var named []string
		for i := range all {
			if h := &all[i]; h.HeldWorkload().IsSameObject(t) && isHoldNamed(h, reason) {
				picked, named = append(picked, h.UID), append(named, fmt.Sprintf("%s (%s)", h.HoldID(), h.Name))
			}
		}
		switch len(named) {
		case 0:
			return nil, fmt.Errorf("no hold %s on %s", cmp.Or(reason, `""`), t)
		case 1:
		default:
			return nil, fmt.Errorf("--reason %s names several holds on %s: %s; give the name of one, which is in parentheses", reason, t, strings.Join(named, ", "))
		}
	}
	return picked, nil
}
