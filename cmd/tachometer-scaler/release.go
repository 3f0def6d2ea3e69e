// tachometer-scaler release.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// releaseCommand holds the flags of tachometer-scaler release.
type releaseCommand struct {
	*globalFlags
	reasons []string
	expired bool
}

func newScalerReleaseCommand(g *globalFlags) *cobra.Command {
	r := &releaseCommand{globalFlags: g}
	cmd := &cobra.Command{
		Use: "release WORKLOAD | --expired", Short: "end holds and restore the original numbers",
		Long: `Release ends all holds of a workload, or the holds named by --reason, and waits until the original numbers are restored: the
bounds of the autoscaler or, without an autoscaler, the replicas. A number that a user changed during the hold stays.

--expired releases the expired holds of all workloads in the namespace. A CronJob can use it if no controller runs.

` + exitCodesHelp,
		RunE: func(cmd *cobra.Command, args []string) error { return r.runScalerReleaseCommand(cmd.Context(), args) },
	}
	cmd.Flags().StringArrayVar(&r.reasons, "reason", nil, "`name` of a hold to end; can be repeated; all other holds stay")
	cmd.Flags().BoolVar(&r.expired, "expired", false, "end the expired holds of all workloads in the namespace")
	return cmd
}

// runScalerReleaseCommand runs tachometer-scaler release.
func (r *releaseCommand) runScalerReleaseCommand(ctx context.Context, args []string) error {
	c, err := r.connectScalerCommandCluster()
	if err != nil {
		return err
	}
	if r.expired {
		if len(args) > 0 || len(r.reasons) > 0 {
			return newScalerCommandUsageError("--expired takes no workload and no --reason")
		}
		return withScalerCommandNotifier(ctx, c, nil, func(ctx context.Context, e *rollout.Engine) error {
			return r.releaseExpiredScalerCommandHolds(ctx, e, c.namespace)
		})
	}
	if err := requireScalerCommandArg("KIND/NAME")(nil, args); err != nil {
		return err
	}
	workload, err := c.parseScalerCommandWorkload(args[0])
	if err != nil {
		return err
	}
	out, err := r.newScalerCommandPrinter(workload)
	if err != nil {
		return err
	}
	return withScalerCommandNotifier(ctx, c, nil, func(ctx context.Context, e *rollout.Engine) error {
		return r.releaseScalerCommandHolds(ctx, e, workload, out)
	})
}

// releaseScalerCommandHolds ends holds of a workload, and waits for their release.
func (r *releaseCommand) releaseScalerCommandHolds(ctx context.Context, e *rollout.Engine, t hold.Workload, out *outputPrinter) error {
	ids, err := e.EndHolds(ctx, t, r.reasons, "released by "+identifyScalerCommandCaller(), time.Now())
	if err != nil && !errors.Is(err, rollout.ErrGone) { // the autoscaler of a deleted workload may still be held
		return exitError{err, exitUnfinished}
	}
	if len(ids) == 0 && len(r.reasons) > 0 {
		return fmt.Errorf("no hold %s on %s", strings.Join(r.reasons, ", "), t)
	}
	return waitForScalerCommandRelease(ctx, e, t, ids, out)
}

// waitForScalerCommandRelease reconciles until the holds are gone and, after the last hold, the original numbers are restored.
func waitForScalerCommandRelease(ctx context.Context, e *rollout.Engine, t hold.Workload, ids []string, out *outputPrinter) error {
	done := func(r rollout.Result) bool {
		return !slices.ContainsFunc(r.Record.Holds, func(h hold.Hold) bool { return slices.Contains(ids, h.ID) }) &&
			(len(r.Record.Holds) > 0 || !r.Held)
	}
	printed := map[string]bool{}
	observer := rollout.Observer{OnError: func(err error) {
		if !printed[err.Error()] {
			printed[err.Error()] = true
			out.printScalerCommandEvent("error", "", err.Error()+"; retrying", nil)
		}
	}}
	observer.OnReconciled = func(r rollout.Result) {
		for i := range r.EndedHolds {
			out.printScalerCommandEvent(string(hold.Released), r.EndedHolds[i].ID, describeScalerCommandHold(&r.EndedHolds[i], r), nil)
		}
	}
	ctx, observer = withScalerCommandGiveUp(ctx, hold.DefaultWithin, observer)
	r, err := e.Reconcile(ctx, t, done, observer)
	if err != nil {
		return exitError{fmt.Errorf("original numbers are not restored yet: %w", err), exitUnfinished}
	}
	if len(ids) == 0 {
		out.printScalerCommandEvent("unheld", "", "the workload has no holds", nil)
		return nil
	}
	if len(r.Record.Holds) > 0 {
		out.printScalerCommandEvent("held", "", "still held by "+formatScalerCommandCount(len(r.Record.Holds), "other hold"), nil)
	}
	return nil
}

// releaseExpiredScalerCommandHolds releases the expired holds of all workloads in a namespace.
func (r *releaseCommand) releaseExpiredScalerCommandHolds(ctx context.Context, e *rollout.Engine, namespace string) error {
	all, err := e.ListHeld(ctx, namespace, rollout.DefaultKinds())
	if err != nil {
		return exitError{err, exitUnfinished}
	}
	var failed []error
	for _, s := range all {
		out, err := r.newScalerCommandPrinter(s.Workload)
		if err != nil {
			return err
		}
		if s.Err != nil {
			failed = append(failed, exitError{fmt.Errorf("%s: %w", s.Workload, s.Err), exitUnfinished})
			continue
		}
		if ids := expiredScalerCommandHoldIDs(s.Record, time.Now()); len(ids) > 0 || len(s.Record.Holds) == 0 {
			failed = append(failed, waitForScalerCommandRelease(ctx, e, s.Workload, ids, out))
		}
	}
	return errors.Join(failed...)
}

// expiredScalerCommandHoldIDs returns the IDs of the expired holds.
func expiredScalerCommandHoldIDs(r hold.Record, now time.Time) (ids []string) {
	for i := range r.Holds {
		if r.Holds[i].HasEnded(now) {
			ids = append(ids, r.Holds[i].ID)
		}
	}
	return ids
}
