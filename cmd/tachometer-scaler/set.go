// tachometer-scaler set.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// setCommand holds the flags of tachometer-scaler set.
type setCommand struct {
	*globalFlags
	replicas, minReplicas, maxReplicas int32
	holdFor, within                    time.Duration
	reason                             string
	wait, dryRun                       bool
	notify                             []string
	verification                       verifyFlags
}

func newScalerSetCommand(g *globalFlags) *cobra.Command {
	s := &setCommand{globalFlags: g}
	cmd := &cobra.Command{
		Use: "set WORKLOAD --replicas N", Short: "hold a workload at a number of replicas",
		Long: `Set makes a Hold of the workload, raises minReplicas of its autoscaler, if it has one, and sets the
scale at once. With --wait it waits until every new pod is ready and verified, and rolls back on a failure. Without --wait, a running
controller (tachometer-scaler run) does both.

  tachometer-scaler set deploy/shop --replicas 20 --for 30m --wait --url /work --p99 200ms

` + exitCodesHelp,
		Args: requireScalerCommandArg("KIND/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.runScalerSetCommand(cmd.Context(), args[0]) },
	}
	s.addScalerSetFlags(cmd.Flags())
	if err := cmd.MarkFlagRequired("replicas"); err != nil {
		panic(err) // the flag is undefined: a bug here
	}
	return cmd
}

func (s *setCommand) addScalerSetFlags(f *pflag.FlagSet) {
	f.Int32Var(&s.replicas, "replicas", 0, "`number` of replicas, set at once")
	f.Int32Var(&s.minReplicas, "min-replicas", 0, "minReplicas of the autoscaler, a `number`; 0: the number of --replicas")
	f.Int32Var(&s.maxReplicas, "max-replicas", 0, "least maxReplicas of the autoscaler, a `number`; 0: unchanged, and a hold above it is rejected")
	f.DurationVar(&s.holdFor, "for", 0, "`duration` of the hold; needs a controller or tachometer-scaler release --expired; 0: until tachometer-scaler release")
	f.DurationVar(&s.within, "within", hold.DefaultWithin, "`duration` in which all new pods must become ready")
	f.StringVar(&s.reason, "reason", "", "`name` of the hold; a second hold of this name replaces it, all other holds stay; empty: your user name")
	f.BoolVar(&s.wait, "wait", false, "wait until all new pods are ready and verified, and roll back on a failure")
	f.BoolVar(&s.dryRun, "dry-run", false, "print the changes without making them")
	f.StringArrayVar(&s.notify, "notify", nil, "`notifier` of the outcome: slack:FILE, teams:FILE, alertmanager:FILE or webhook:FILE with the URL in the file, or pagerduty:FILE with the routing key; can be repeated")
	s.verification.addScalerVerifyFlags(f)
}

// runScalerSetCommand runs tachometer-scaler set.
func (s *setCommand) runScalerSetCommand(ctx context.Context, text string) error {
	c, err := s.connectScalerCommandCluster()
	if err != nil {
		return err
	}
	workload, err := c.parseScalerCommandWorkload(text)
	if err != nil {
		return err
	}
	out, err := s.newScalerCommandPrinter(workload)
	if err != nil {
		return err
	}
	h, err := s.newHoldFromScalerSetFlags(time.Now())
	if err != nil {
		return err
	}
	if s.dryRun {
		return s.printScalerCommandHoldPlan(ctx, newScalerCommandEngine(c), workload, h, out)
	}
	return withScalerCommandNotifier(ctx, s.notify, func(ctx context.Context, queue *notify.Queue) error {
		return s.applyScalerCommandHold(ctx, newScalerCommandEngine(c), queue, workload, h, out)
	})
}

// newHoldFromScalerSetFlags returns the hold that the flags describe.
func (s *setCommand) newHoldFromScalerSetFlags(now time.Time) (hold.Hold, error) {
	spec, err := s.verification.buildSpecFromScalerVerifyFlags()
	if err != nil {
		return hold.Hold{}, err
	}
	h := hold.Hold{
		ID: setHoldPrefix + cmp.Or(s.reason, scalerCommandUser()), Reason: s.reason, By: identifyScalerCommandCaller(), Replicas: s.replicas, MinReplicas: s.minReplicas, MaxReplicas: s.maxReplicas, Lower: true,
		Within: s.within, Verify: spec,
	}
	if s.holdFor < 0 || s.within <= 0 {
		return h, newScalerCommandUsageError("--for must not be negative, and --within must be positive")
	}
	if s.holdFor > 0 {
		h.Until = now.Add(s.holdFor).Round(time.Second)
	}
	if err := h.Validate(); err != nil {
		return h, exitError{err, exitUsage}
	}
	return h, nil
}

// printScalerCommandHoldPlan prints the changes that the hold would make.
func (s *setCommand) printScalerCommandHoldPlan(ctx context.Context, e *rollout.Engine, t hold.Workload, h hold.Hold, out *outputPrinter) error {
	plan, err := e.PlanHold(ctx, t, h, time.Now())
	if err != nil {
		return err
	}
	if plan.RejectReason != "" {
		return fmt.Errorf("would be rejected: %s", plan.RejectReason)
	}
	text := fmt.Sprintf("would set %d replicas (now %d)", plan.ToReplicas, plan.Replicas)
	if plan.Autoscaler != "" {
		text += fmt.Sprintf(", and autoscaler %s to %d..%d (now %d..%d)",
			plan.Autoscaler, plan.ToBounds.MinReplicas, plan.ToBounds.MaxReplicas, plan.Bounds.MinReplicas, plan.Bounds.MaxReplicas)
	}
	out.printScalerCommandEvent("dry-run", h.ID, text, plan)
	if !out.json {
		for _, step := range plan.Steps {
			out.printScalerCommandEvent("step", h.ID, step, nil)
		}
	}
	return nil
}

// applyScalerCommandHold stores the hold, and reconciles until it is Scaled or, with --wait, Open. It posts the outcome to --notify.
func (s *setCommand) applyScalerCommandHold(ctx context.Context, e *rollout.Engine, queue *notify.Queue, t hold.Workload, h hold.Hold, out *outputPrinter) error {
	scale, err := e.Cluster.GetScale(ctx, t)
	if err == nil && scale == nil {
		err = rollout.ErrGone
	}
	if err != nil {
		return fmt.Errorf("hold %s: %w", t, err)
	}
	if err := s.replaceScalerCommandHold(ctx, e, t, h, out); err != nil {
		return err
	}
	f := &holdProgress{outputPrinter: out, holdID: h.ID, verb: "set"}
	enough := func(at hold.State) bool {
		return at == hold.Open || !s.wait && at != "" && at != hold.Received && at != hold.Raised
	}
	waiting, observer := withScalerCommandGiveUp(ctx, s.within, f.newScalerCommandObserver())
	r, err := e.Reconcile(waiting, t, func(r rollout.Result) bool { return f.isScalerCommandFinished(r, enough) }, observer)
	if err == nil && f.lastHold.Status.State == hold.RolledBack { // a command does not try again: its exit code is final
		_, err = e.EndHolds(ctx, t, func(o *hold.Object) bool { return o.Name == f.lastHold.Name })
		if _, passErr := e.ReconcileOnce(ctx, t, time.Now()); err == nil {
			err = passErr
		}
	}
	err = f.finalScalerCommandError(ctx, err)
	return errors.Join(err, s.postScalerCommandOutcome(queue, t, h, f, fmt.Sprintf("asked for %d replicas, from %d", h.Replicas, scale.Replicas), r, err))
}

// replaceScalerCommandHold stores the hold, and says what it replaces.
func (s *setCommand) replaceScalerCommandHold(ctx context.Context, e *rollout.Engine, t hold.Workload, h hold.Hold, out *outputPrinter) error {
	there, err := e.Cluster.ListHolds(ctx, t.Namespace)
	if err != nil {
		return fmt.Errorf("hold %s: %w", t, err)
	}
	changed, err := e.ApplyHold(ctx, t, h)
	if err != nil {
		return unrecordedScalerCommandError(err)
	}
	for i := range there {
		if o := &there[i]; o.Name == hold.ObjectName(t, h.ID) && changed {
			out.printScalerCommandEvent("replaced", h.ID, fmt.Sprintf("a hold by %s for %d replicas, until %s", o.Spec.By, o.Spec.Replicas, describeScalerCommandHoldEnd(o, time.Now())), nil)
		}
	}
	if !changed {
		out.printScalerCommandEvent("unchanged", h.ID, "the workload has an identical hold", nil)
	}
	return nil
}

// postScalerCommandOutcome posts what became of the hold.
func (s *setCommand) postScalerCommandOutcome(queue *notify.Queue, t hold.Workload, h hold.Hold, f *holdProgress, asked string, r rollout.Result, failure error) error {
	if len(s.notify) == 0 {
		return nil
	}
	m := notify.Message{Kind: notify.KindStarted, Time: time.Now(), Outcome: asked, Workload: t, Hold: h.ID, Reason: h.Reason, By: h.By, Why: f.lastHold.Status.Message, Report: f.lastReport}
	switch {
	case failure != nil:
		m.Why = failure.Error()
		if unfinished := (exitError{}); !errors.As(failure, &unfinished) || unfinished.code != exitUnfinished {
			m.Kind = notify.KindRolledBack // else the hold may go on
		}
		m.Outcome = fmt.Sprintf("failed: %d replicas", r.Replicas)
	case s.wait:
		m.Kind = notify.KindUp
		m.Outcome = fmt.Sprintf("up: %d replicas", r.Replicas)
	}
	return queue.Post(s.notify, m)
}
