package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// setCommand are the flags of scaler set.
type setCommand struct {
	*globalFlags
	replicas, minReplicas, maxReplicas int32
	holdFor, within                    time.Duration
	reason                             string
	wait, dryRun                       bool
	notify                             []string
	verification                       verifyFlags
}

func newSetCommand(g *globalFlags) *cobra.Command {
	s := &setCommand{globalFlags: g}
	cmd := &cobra.Command{
		Use: "set TARGET --replicas N", Short: "hold a target at a number of replicas, until it is released",
		Long: `Set notes on the target what it is to be and what it was, raises the floor of the autoscaler that points at it, if one does, and
asks for the replicas at once. With --wait it stays until every new pod is ready and verified, and undoes everything if one is
not. Without it, a controller (scaler run) does that, if there is one.

  scaler set deploy/shop --replicas 20 --for 30m --wait --url /work --p99 200ms`,
		Args: requireOneArg("KIND/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.runSet(cmd.Context(), args[0]) },
	}
	s.addSetFlags(cmd.Flags())
	if err := cmd.MarkFlagRequired("replicas"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	return cmd
}

func (s *setCommand) addSetFlags(f *pflag.FlagSet) {
	f.Int32Var(&s.replicas, "replicas", 0, "`number` of replicas to ask for at once")
	f.Int32Var(&s.minReplicas, "min", 0, "`number` that the autoscaler may not go below; 0: that of --replicas")
	f.Int32Var(&s.maxReplicas, "max", 0, "`number` that the autoscaler's maxReplicas is to be at least; 0: it stays, and refuses more")
	f.DurationVar(&s.holdFor, "for", 0, "`time` after which it ends by itself, if a controller runs or scaler release --expired does; 0: with scaler release")
	f.DurationVar(&s.within, "within", hold.DefaultWithin, "`time` within which all new pods must be ready")
	f.StringVar(&s.reason, "reason", "set", "`name` of the hold; setting it again changes it, others of the target stay")
	f.BoolVar(&s.wait, "wait", false, "stay until all new pods are ready and verified, and undo everything if one is not")
	f.BoolVar(&s.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.StringArrayVar(&s.notify, "notify", nil, "whom to tell of the outcome: slack:FILE or webhook:FILE, where the `file` holds the URL")
	s.verification.addVerifyFlags(f)
}

func (s *setCommand) runSet(ctx context.Context, text string) error {
	c, err := s.connectCluster()
	if err != nil {
		return err
	}
	target, err := c.parseWorkload(text)
	if err != nil {
		return err
	}
	out, err := s.newOutputPrinter(target)
	if err != nil {
		return err
	}
	h, err := s.newHoldFromFlags(time.Now())
	if err != nil {
		return err
	}
	if s.dryRun {
		return s.printHoldPlan(ctx, newCommandEngine(c, nil), target, h, out)
	}
	return withNotifier(ctx, c, s.notify, func(ctx context.Context, e *rollout.Engine) error { return s.applyAndWait(ctx, e, target, h, out) })
}

// newHoldFromFlags is what the flags ask for.
func (s *setCommand) newHoldFromFlags(now time.Time) (hold.Hold, error) {
	spec, err := s.verification.buildVerifySpec()
	if err != nil {
		return hold.Hold{}, err
	}
	h := hold.Hold{
		ID: s.reason, Reason: s.reason, By: identifyCaller(), Replicas: s.replicas, MinReplicas: s.minReplicas, MaxReplicas: s.maxReplicas, Lower: true,
		Within: s.within, Verify: spec, Notify: s.notify,
	}
	if s.holdFor < 0 || s.within <= 0 {
		return h, newUsageError("--for and --within are not negative")
	}
	if s.holdFor > 0 {
		h.Until = now.Add(s.holdFor).Round(time.Second)
	}
	if err := h.Validate(); err != nil {
		return h, exitError{err, exitUsage}
	}
	return h, nil
}

func (s *setCommand) printHoldPlan(ctx context.Context, e *rollout.Engine, t hold.Workload, h hold.Hold, out *outputPrinter) error {
	plan, err := e.PlanHold(ctx, t, h, time.Now())
	if err != nil {
		return err
	}
	if plan.RejectReason != "" {
		return fmt.Errorf("would be refused: %s", plan.RejectReason)
	}
	text := fmt.Sprintf("would ask for %d replicas (now %d)", plan.ToReplicas, plan.Replicas)
	if plan.Autoscaler != "" {
		text += fmt.Sprintf(", and make autoscaler %s %d..%d (now %d..%d)",
			plan.Autoscaler, plan.ToBounds.MinReplicas, plan.ToBounds.MaxReplicas, plan.Bounds.MinReplicas, plan.Bounds.MaxReplicas)
	}
	out.printEvent("dry-run", h.ID, text, plan)
	return nil
}

// applyAndWait notes the hold and takes it as far as was asked for.
func (s *setCommand) applyAndWait(ctx context.Context, e *rollout.Engine, t hold.Workload, h hold.Hold, out *outputPrinter) error {
	changed, err := e.ApplyHold(ctx, t, h, time.Now())
	if err != nil {
		return unrecordedError(err)
	}
	if !changed {
		out.printEvent("unchanged", h.ID, "it is held like that already", nil)
	}
	f := &holdProgress{outputPrinter: out, holdID: h.ID, verb: "set"}
	enough := func(at hold.State) bool {
		return at == hold.Open || !s.wait && at != hold.Received && at != hold.Raised
	}
	waiting, follower := withGiveUp(ctx, s.within, f.newObserver())
	_, err = e.Reconcile(waiting, t, func(r rollout.Result) bool { return f.isFinished(r, enough) }, follower)
	return f.finalError(ctx, err)
}
