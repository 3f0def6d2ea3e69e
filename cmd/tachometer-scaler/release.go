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

// releaseCommand are the flags of scaler release.
type releaseCommand struct {
	*globalFlags
	reasons []string
	expired bool
}

func newReleaseCommand(g *globalFlags) *cobra.Command {
	r := &releaseCommand{globalFlags: g}
	cmd := &cobra.Command{
		Use: "release TARGET | --expired", Short: "end holds, and give back what was there",
		Long: `Release ends what holds a target, all of it or the holds named by --reason, and waits until the target has back what it had:
the autoscaler its bounds, a target without autoscaler its replicas. What a person changed in between stays.

--expired ends the holds whose time is over, of all targets of the namespace: for a CronJob, where no controller runs.`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.runRelease(cmd.Context(), args) },
	}
	cmd.Flags().StringArrayVar(&r.reasons, "reason", nil, "`name` of a hold to end; all others stay")
	cmd.Flags().BoolVar(&r.expired, "expired", false, "of all targets of the namespace, end what is over")
	return cmd
}

func (r *releaseCommand) runRelease(ctx context.Context, args []string) error {
	c, err := r.connectCluster()
	if err != nil {
		return err
	}
	if r.expired {
		if len(args) > 0 || len(r.reasons) > 0 {
			return newUsageError("--expired takes no target and no --reason")
		}
		return withNotifier(ctx, c, nil, func(ctx context.Context, e *rollout.Engine) error { return r.releaseExpired(ctx, e, c.namespace) })
	}
	if err := requireOneArg("KIND/NAME")(nil, args); err != nil {
		return err
	}
	target, err := c.parseWorkload(args[0])
	if err != nil {
		return err
	}
	out, err := r.newOutputPrinter(target)
	if err != nil {
		return err
	}
	return withNotifier(ctx, c, nil, func(ctx context.Context, e *rollout.Engine) error { return r.releaseHolds(ctx, e, target, out) })
}

// releaseHolds ends holds of one target and sees them off.
func (r *releaseCommand) releaseHolds(ctx context.Context, e *rollout.Engine, t hold.Workload, out *outputPrinter) error {
	ids, err := e.EndHolds(ctx, t, r.reasons, "released by "+identifyCaller(), time.Now())
	if err != nil && !errors.Is(err, rollout.ErrGone) { // an autoscaler may still be held whose target is gone
		return exitError{err, exitUnfinished}
	}
	if len(ids) == 0 && len(r.reasons) > 0 {
		return fmt.Errorf("no hold %s on %s", strings.Join(r.reasons, ", "), t)
	}
	return waitReleased(ctx, e, t, ids, out)
}

// waitReleased makes passes until the holds are gone, and everything with the last of them.
func waitReleased(ctx context.Context, e *rollout.Engine, t hold.Workload, ids []string, out *outputPrinter) error {
	done := func(r rollout.Result) bool {
		return !slices.ContainsFunc(r.Record.Holds, func(h hold.Hold) bool { return slices.Contains(ids, h.ID) }) &&
			(len(r.Record.Holds) > 0 || !r.Held)
	}
	said := map[string]bool{}
	shown := rollout.Observer{OnError: func(err error) {
		if !said[err.Error()] {
			said[err.Error()] = true
			out.printEvent("trouble", "", err.Error()+"; tried again", nil)
		}
	}}
	shown.OnReconciled = func(r rollout.Result) {
		for i := range r.EndedHolds {
			out.printEvent("released", r.EndedHolds[i].ID, describeHold(&r.EndedHolds[i], r), nil)
		}
	}
	ctx, shown = withGiveUp(ctx, hold.DefaultWithin, shown)
	r, err := e.Reconcile(ctx, t, done, shown)
	if err != nil {
		return exitError{fmt.Errorf("not everything is given back yet: %w", err), exitUnfinished}
	}
	if len(ids) == 0 {
		out.printEvent("unheld", "", "nothing holds it", nil)
		return nil
	}
	if len(r.Record.Holds) > 0 {
		out.printEvent("held", "", "still held by "+formatCount(len(r.Record.Holds), "other hold"), nil)
	}
	return nil
}

// releaseExpired ends what is over, of all targets of a namespace.
func (r *releaseCommand) releaseExpired(ctx context.Context, e *rollout.Engine, namespace string) error {
	all, err := e.ListHeld(ctx, namespace, rollout.DefaultKinds())
	if err != nil {
		return exitError{err, exitUnfinished}
	}
	var failed []error
	for _, s := range all {
		out, err := r.newOutputPrinter(s.Workload)
		if err != nil {
			return err
		}
		if s.Err != nil {
			failed = append(failed, exitError{fmt.Errorf("%s: %w", s.Workload, s.Err), exitUnfinished})
			continue
		}
		if ids := expiredHoldIDs(s.Record, time.Now()); len(ids) > 0 || len(s.Record.Holds) == 0 {
			failed = append(failed, waitReleased(ctx, e, s.Workload, ids, out))
		}
	}
	return errors.Join(failed...)
}

// expiredHoldIDs are the holds whose time is over.
func expiredHoldIDs(r hold.Record, now time.Time) (ids []string) {
	for i := range r.Holds {
		if r.Holds[i].HasEnded(now) {
			ids = append(ids, r.Holds[i].ID)
		}
	}
	return ids
}
