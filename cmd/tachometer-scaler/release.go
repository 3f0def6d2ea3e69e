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
	reasons      []string
	all, expired bool
}

func newScalerReleaseCommand(g *globalFlags) *cobra.Command {
	r := &releaseCommand{globalFlags: g}
	cmd := &cobra.Command{
		Use: "release WORKLOAD | --expired", Short: "end holds and restore the original numbers",
		Long: `Release ends the holds of a workload that people made with tachometer-scaler set, and waits until the original numbers are
restored: the bounds of the autoscaler or, without an autoscaler, the replicas. A number that a user changed during the hold stays.
--reason names the holds to end; --all ends the holds of schedules and events too. A schedule makes its hold again within a minute.

--expired releases the expired holds of all workloads in the namespace. A CronJob can use it if no controller runs.

` + exitCodesHelp,
		RunE: func(cmd *cobra.Command, args []string) error { return r.runScalerReleaseCommand(cmd.Context(), args) },
	}
	cmd.Flags().StringArrayVar(&r.reasons, "reason", nil, "`name` of a hold to end; can be repeated; all other holds stay")
	cmd.Flags().BoolVar(&r.all, "all", false, "end all holds of the workload, also of schedules and events")
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
		if len(args) > 0 || len(r.reasons) > 0 || r.all {
			return newScalerCommandUsageError("--expired takes no workload, no --reason and no --all")
		}
		return r.releaseExpiredScalerCommandHolds(ctx, newScalerCommandEngine(c), c.namespace)
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
	return r.releaseScalerCommandHolds(ctx, newScalerCommandEngine(c), workload, out)
}

// setHoldPrefix begins the IDs of the holds that people make with tachometer-scaler set.
const setHoldPrefix = "set/"

// endsScalerCommandHold reports whether the flags name the hold.
func (r *releaseCommand) endsScalerCommandHold(h *hold.Object) bool {
	switch {
	case len(r.reasons) > 0:
		return slices.Contains(r.reasons, h.HoldID()) || slices.Contains(r.reasons, strings.TrimPrefix(h.HoldID(), setHoldPrefix))
	case r.all:
		return true
	}
	return strings.HasPrefix(h.HoldID(), setHoldPrefix)
}

// releaseScalerCommandHolds ends holds of a workload, and waits for their release.
func (r *releaseCommand) releaseScalerCommandHolds(ctx context.Context, e *rollout.Engine, t hold.Workload, out *outputPrinter) error {
	ids, err := e.EndHolds(ctx, t, r.endsScalerCommandHold)
	if err != nil {
		return exitError{err, exitUnfinished}
	}
	if len(ids) > 0 {
		return waitForScalerCommandRelease(ctx, e, t, ids, out)
	}
	if len(r.reasons) > 0 {
		return fmt.Errorf("no hold %s on %s", strings.Join(r.reasons, ", "), t)
	}
	if err := requireScalerCommandWorkload(ctx, e, t); err != nil {
		return err
	}
	others, err := listScalerCommandHolds(ctx, e, t)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return fmt.Errorf("no hold by set on %s; held by %s: end them with --reason or --all", t, strings.Join(others, ", "))
	}
	out.printScalerCommandEvent("unheld", "", "the workload has no holds", nil)
	return nil
}

// requireScalerCommandWorkload returns an error if the workload does not exist.
func requireScalerCommandWorkload(ctx context.Context, e *rollout.Engine, t hold.Workload) error {
	scale, err := e.Cluster.GetScale(ctx, t)
	if err == nil && scale == nil {
		err = rollout.ErrGone
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", t, err)
	}
	return nil
}

// listScalerCommandHolds lists the IDs of the holds of a workload.
func listScalerCommandHolds(ctx context.Context, e *rollout.Engine, t hold.Workload) (ids []string, err error) {
	all, err := e.Cluster.ListHolds(ctx, t.Namespace)
	for i := range all {
		if all[i].HeldWorkload() == t {
			ids = append(ids, all[i].HoldID())
		}
	}
	return ids, err
}

// waitForScalerCommandRelease reconciles until the holds are gone.
func waitForScalerCommandRelease(ctx context.Context, e *rollout.Engine, t hold.Workload, ids []string, out *outputPrinter) error {
	done := func(r rollout.Result) bool {
		return !slices.ContainsFunc(r.Holds, func(h hold.Object) bool { return slices.Contains(ids, h.HoldID()) })
	}
	printed := map[string]bool{}
	observer := rollout.Observer{OnError: func(err error) {
		if !printed[err.Error()] {
			printed[err.Error()] = true
			out.printScalerCommandEvent("error", "", err.Error()+"; retrying", nil)
		}
	}}
	gated := false
	observer.OnReconciled = func(r rollout.Result) {
		for i := range r.EndedHolds {
			out.printScalerCommandEvent(string(hold.Released), r.EndedHolds[i].HoldID(), describeScalerCommandHold(&r.EndedHolds[i], r), nil)
		}
		for i := range r.Holds {
			if h := &r.Holds[i]; h.Status.GateOpen && slices.Contains(ids, h.HoldID()) && !gated {
				gated = true
				out.printScalerCommandEvent("waiting", h.HoldID(), "the controller shuts the gate first", nil)
			}
		}
	}
	ctx, observer = withScalerCommandGiveUp(ctx, hold.DefaultWithin, observer)
	r, err := e.Reconcile(ctx, t, done, observer)
	if err != nil {
		return exitError{fmt.Errorf("original numbers are not restored yet: %w", err), exitUnfinished}
	}
	if len(r.Holds) > 0 {
		out.printScalerCommandEvent("held", "", "still held by "+formatScalerCommandCount(len(r.Holds), "other hold"), nil)
	}
	return nil
}

// releaseExpiredScalerCommandHolds releases the expired holds of all workloads in a namespace.
func (r *releaseCommand) releaseExpiredScalerCommandHolds(ctx context.Context, e *rollout.Engine, namespace string) error {
	all, err := e.Cluster.ListHolds(ctx, namespace)
	if err != nil {
		return exitError{err, exitUnfinished}
	}
	expired := map[hold.Workload][]string{}
	for i := range all {
		if h := &all[i]; h.IsOver(time.Now()) && !h.Spec.Paused {
			expired[h.HeldWorkload()] = append(expired[h.HeldWorkload()], h.HoldID())
		}
	}
	var failed []error
	for t, ids := range expired {
		out, err := r.newScalerCommandPrinter(t)
		if err != nil {
			return err
		}
		failed = append(failed, waitForScalerCommandRelease(ctx, e, t, ids, out))
	}
	return errors.Join(failed...)
}
