// The command set.

package command

import (
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

// setCommand holds the flags of set.
type setCommand struct {
	*Program
	replicas, minReplicas, maxReplicas int32
	holdFor, within                    time.Duration
	reason                             string
	wait                               bool
	dryRun                             dryRunValue
	notify                             []string
	verification                       verifyFlags
}

func newSetCommand(p *Program) *cobra.Command {
	s := &setCommand{Program: p}
	cmd := &cobra.Command{
		Use: "set " + workloadUse + " --replicas N", Short: "hold a workload at a number of replicas",
		Long: `Set makes a Hold of the workload, raises minReplicas of its autoscaler, if it has one, and sets the scale at once. With --wait it waits
until every new pod is ready and verified, and rolls back on a failure. Without --wait, a running controller (tachometer-scaler run) does
both. --dry-run -o yaml prints the Hold, for Git.

` + workloadHelp + "\n\n" + ExitCodesHelp,
		Example: p.formatCommandExample("set deploy/shop --replicas 20 --for 30m --wait --url /work --p99 200ms",
			"set rollouts.argoproj.io shop --replicas 20 --for 1d --dry-run -o yaml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("replicas") {
				return UsageErrorf("the flag --replicas is required")
			}
			return s.runSetCommand(cmd.Context(), args)
		},
		Args:              requireWorkloadArgs,
		ValidArgsFunction: p.completeWorkloads,
	}
	s.addSetFlags(cmd.Flags())
	registerCompletion(cmd, "notify", completeNotifyFlag)
	registerCompletion(cmd, "reason", p.completeSetReasons)
	return cmd
}

func (s *setCommand) addSetFlags(f *pflag.FlagSet) {
	f.Int32Var(&s.replicas, "replicas", 0, "`number` of replicas, set at once")
	f.Int32Var(&s.minReplicas, "min-replicas", 0, "minReplicas of the autoscaler, a `number`; 0: the number of --replicas")
	f.Int32Var(&s.maxReplicas, "max-replicas", 0, "raise the autoscaler's maxReplicas to this `number`; 0: unchanged, and a hold above it is rejected")
	addDurationFlag(f, &s.holdFor, "for", 0,
		"`duration` of the hold, such as 30m, 1d or 2w; needs a controller or release --expired; 0: until release")
	addDurationFlag(f, &s.within, "within", hold.DefaultWithin, "`duration` in which all new pods must become ready")
	f.StringVar(&s.reason, "reason", "", "`name` of the hold; a second hold of this name replaces it, all other holds stay; "+
		"empty: your user name, or USER@HOST if another host has a hold of it")
	f.BoolVar(&s.wait, "wait", false, "wait until all new pods are ready and verified, and roll back on a failure")
	addDryRunFlag(f, &s.dryRun)
	f.StringArrayVar(&s.notify, "notify", nil, "`notifier` of the outcome: "+notify.SenderSyntax()+"; can be repeated")
	s.verification.addVerifyFlags(f)
}

func (s *setCommand) runSetCommand(ctx context.Context, args []string) error {
	c, err := s.Connect()
	if err != nil {
		return err
	}
	workload, err := c.parseWorkloadArg(args)
	if err != nil {
		return err
	}
	out, err := s.newOutputPrinter(workload)
	if err != nil {
		return err
	}
	h, err := s.newHoldFromFlags(time.Now())
	if err != nil {
		return err
	}
	if s.reason == "" {
		if err := nameUnnamedHold(ctx, c, workload, &h, out); err != nil {
			return err
		}
	}
	set := &holdSetting{setCommand: s, conn: c, engine: c.NewEngine(c.holdClientFor(s.dryRun)), workload: workload, hold: h, out: out}
	err = set.planHoldChanges(ctx)
	if s.dryRun.isDryRunCommand() {
		if err == nil {
			err = set.printHoldPlan(ctx)
		}
		return err
	}
	return withCommandNotifiers(ctx, s.notify, func(ctx context.Context, queue *notify.MessageQueue) error {
		f := &holdProgressPrinter{outputPrinter: out, holdID: h.ID}
		if err != nil { // nothing was written
			return errors.Join(err, set.postHoldOutcome(queue, f, set.plan.Replicas, err))
		}
		return set.applyPlannedHold(ctx, queue, f)
	})
}

// holdSetting is a run of set: a hold of a workload, and the changes that it makes.
type holdSetting struct {
	*setCommand
	conn     *Connection
	engine   *rollout.Engine
	workload hold.Workload
	hold     hold.Hold
	out      *outputPrinter
	plan     rollout.Plan
}

// newHoldFromFlags returns the hold that the flags describe.
func (s *setCommand) newHoldFromFlags(now time.Time) (hold.Hold, error) {
	spec, err := s.verification.buildVerifySpec()
	if err != nil {
		return hold.Hold{}, err
	}
	id, err := holdIDOfReason(s.reason)
	if err != nil {
		return hold.Hold{}, err
	}
	h := hold.Hold{
		ID: id, Reason: s.reason, By: IdentifyCaller(), Replicas: s.replicas, MinReplicas: s.minReplicas, MaxReplicas: s.maxReplicas, Lower: true,
		Within: s.within, Verify: spec,
	}
	if s.within <= 0 {
		return h, UsageErrorf("--within must be positive")
	}
	if s.holdFor != 0 {
		if h.Until, err = endOfHoldSpan(now, s.holdFor); err != nil {
			return h, err
		}
	}
	if err := h.Validate(); err != nil {
		return h, WithExitCode(err, ExitUsage)
	}
	return h, nil
}

// planHoldChanges finds the changes that the hold would make. A hold that would be rejected is an error, before anything is
// written.
func (s *holdSetting) planHoldChanges(ctx context.Context) (err error) {
	s.plan, err = s.engine.PlanHold(ctx, s.workload, s.hold, time.Now())
	switch {
	case errors.Is(err, rollout.ErrGone):
		return fmt.Errorf("%w%s", err, s.conn.describeWorkloadNames(ctx, s.workload))
	case err != nil:
		return err
	case s.plan.RejectReason != "":
		return fmt.Errorf("%w: %s", hold.ErrRejected, s.plan.RejectReason)
	}
	return nil
}

// printHoldPlan prints the changes that the hold would make. A dry run of the server also has it check the Hold.
func (s *holdSetting) printHoldPlan(ctx context.Context) error {
	if s.dryRun == dryRunServer {
		if _, err := s.engine.ApplyHold(ctx, s.workload, s.hold); err != nil {
			return err
		}
	}
	plan := s.plan
	text := fmt.Sprintf("would set %d replicas (now %d)", plan.ToReplicas, plan.Replicas)
	if plan.Autoscaler != "" {
		text += fmt.Sprintf(", and autoscaler %s to %d..%d (now %d..%d)",
			plan.Autoscaler, plan.ToBounds.MinReplicas, plan.ToBounds.MaxReplicas, plan.Bounds.MinReplicas, plan.Bounds.MaxReplicas)
	}
	s.out.printCommandEvent("dry-run", s.hold.ID, text, plan)
	if !s.out.json {
		for _, step := range plan.Steps {
			s.out.printCommandEvent("step", s.hold.ID, step, nil)
		}
	}
	o := hold.NewObject(s.workload, s.hold, "")
	o.Labels, o.Finalizers = nil, nil // of the client that applies it from Git
	return s.out.printHoldObjects(*o)
}

// applyPlannedHold stores the hold, and reconciles until it is Scaled or, with --wait, Open. It posts the outcome to --notify.
func (s *holdSetting) applyPlannedHold(ctx context.Context, queue *notify.MessageQueue, f *holdProgressPrinter) error {
	if err := s.storePlannedHold(ctx); err != nil {
		return err
	}
	f.isEnough = func(at hold.State) bool {
		return at == hold.Open || !s.wait && at != "" && at != hold.Received && at != hold.Raised
	}
	waiting, observer := withGiveUpLimit(ctx, s.within, f.newProgressObserver())
	r, err := s.engine.Reconcile(waiting, s.workload, f.isHoldFinished, observer)
	if err == nil && f.lastHold.Status.State == hold.RolledBack && !f.lastHold.IsKept() { // a command does not try again: its exit code is final
		_, err = s.engine.EndHolds(ctx, s.workload, func(o *hold.Object) bool {
			return o.UID == f.lastHold.UID && o.Generation == f.lastHold.Generation // the same command of another terminal may have replaced it
		})
		if _, passErr := s.engine.ReconcileOnce(ctx, s.workload, time.Now()); err == nil {
			err = passErr
		}
	}
	err = f.finalHoldError(ctx, err)
	if err == nil {
		s.warnUnattendedHold(ctx, &f.lastHold)
		err = s.out.printHoldObjects(f.lastHold)
	}
	return errors.Join(err, s.postHoldOutcome(queue, f, r.Replicas, err))
}

// warnUnattendedHold says that nothing ends the hold, or verifies its pods, without a controller.
func (s *holdSetting) warnUnattendedHold(ctx context.Context, h *hold.Object) {
	switch {
	case s.holdFor > 0:
		s.conn.warnMissingController(ctx, h, fmt.Sprintf("nothing ends it at its end: run `%s release --expired` then", s.Name), s.out)
	case !s.wait:
		s.conn.warnMissingController(ctx, h, "nothing verifies its pods: use --wait", s.out)
	}
}

// storePlannedHold stores the hold, and names a hold that it replaces.
func (s *holdSetting) storePlannedHold(ctx context.Context) error {
	there, err := s.engine.Cluster.ListHolds(ctx, s.workload.Namespace)
	if err != nil {
		return fmt.Errorf("hold %s: %w", s.workload, err)
	}
	changed, err := s.engine.ApplyHold(ctx, s.workload, s.hold)
	if err != nil {
		return unrecordedHoldError(s.Name, err)
	}
	for i := range there {
		o := &there[i]
		if o.Name != hold.ObjectName(s.workload, s.hold.ID) {
			continue
		}
		if o.Spec.Paused { // set asks for the replicas now
			if _, err := s.conn.Holds.PatchHold(ctx, o.Namespace, o.Name, []byte(`{"spec":{"paused":null,"pausedUntil":null}}`)); err != nil {
				return joinWorkloadErrors([]error{unrecordedHoldError(s.Name, fmt.Errorf("resume hold %s: %w", s.hold.ID, err))}, changed)
			}
			s.out.printCommandEvent("resumed", s.hold.ID, "the hold was paused", nil)
		}
		if changed {
			text := fmt.Sprintf("a hold by %s for %d replicas, until %s", o.Spec.By, o.Spec.Replicas, describeHoldEnd(o, time.Now()))
			s.out.printCommandEvent("replaced", s.hold.ID, text, nil)
		}
	}
	if !changed {
		s.out.printCommandEvent("unchanged", s.hold.ID, "the workload has an identical hold", nil)
	}
	return nil
}

// postHoldOutcome posts the outcome of the hold, with the number of replicas at its end.
func (s *holdSetting) postHoldOutcome(queue *notify.MessageQueue, f *holdProgressPrinter, replicas int32, failure error) error {
	if len(s.notify) == 0 {
		return nil
	}
	m := notify.Message{
		Kind: notify.KindStarted, Time: time.Now(), Outcome: rollout.DescribeStart(s.hold.Replicas, s.plan.Replicas),
		Workload: s.workload, Hold: s.hold.ID, Reason: s.hold.Reason, By: s.hold.By, Why: f.lastHold.Status.Message, Report: f.lastReport,
	}
	switch {
	case failure != nil:
		m.Why = failure.Error()
		if unfinished := (exitError{}); !errors.As(failure, &unfinished) || unfinished.code != ExitUnfinished {
			m.Kind = notify.KindRolledBack // else the hold may go on
		}
		m.Outcome = fmt.Sprintf("failed: %d replicas", replicas)
	case s.wait:
		m.Kind = notify.KindUp
		m.Outcome = fmt.Sprintf("up: %d replicas", replicas)
	}
	return queue.Post(s.notify, m)
}
