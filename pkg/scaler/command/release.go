// The command release.

package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// releaseCommand holds the flags of release.
type releaseCommand struct {
	*Program
	reasons      []string
	all, expired bool
	dryRun       dryRunValue
}

func newReleaseCommand(p *Program) *cobra.Command {
	r := &releaseCommand{Program: p}
	cmd := &cobra.Command{
		Use: "release (" + workloadUse + "... | --expired)", Short: "end holds and restore the original numbers",
		Long: `Release ends the manual holds of a workload, made with set, and waits until the original numbers are restored: the bounds of the
autoscaler or, without an autoscaler, the replicas. A number that a user changed during the hold stays. --reason names the holds to end;
--all ends the holds of schedules and events too. A schedule makes its hold again within a minute: pause it instead. --all ends no pause
of a workload or of a schedule: resume does.

--expired releases the expired holds of all workloads in the namespace. A CronJob can use it if no controller runs.

` + workloadHelp + "\n\n" + ExitCodesHelp,
		Example:           p.formatCommandExample("release deploy/shop", "release deploy/shop --reason launch", "release --expired"),
		RunE:              func(cmd *cobra.Command, args []string) error { return r.runReleaseCommand(cmd.Context(), args) },
		ValidArgsFunction: p.completeHeldWorkloads,
	}
	addReasonFlag(p, cmd, &r.reasons, "`name` of a hold to end; can be repeated; all other holds stay")
	cmd.Flags().BoolVar(&r.all, "all", false, "end all holds of the workload, also of schedules and events; pauses stay")
	cmd.Flags().BoolVar(&r.expired, "expired", false, "end the expired holds of all workloads in the namespace")
	addDryRunFlag(cmd.Flags(), &r.dryRun)
	return cmd
}

func (r *releaseCommand) runReleaseCommand(ctx context.Context, args []string) error {
	c, err := r.Connect()
	if err != nil {
		return err
	}
	e := c.NewEngine(c.holdClientFor(r.dryRun))
	if r.expired {
		if len(args) > 0 || len(r.reasons) > 0 || r.all {
			return UsageErrorf("--expired takes no workload, no --reason and no --all")
		}
		return r.releaseExpiredHolds(ctx, e, c.Namespace)
	}
	workloads, err := c.parseWorkloadArgs(args)
	if err != nil {
		return err
	}
	var failed []error
	changed := false
	for _, t := range workloads {
		out, err := r.newOutputPrinter(t)
		if err != nil {
			return err
		}
		ended, err := r.releaseWorkloadHolds(ctx, c, e, t, out)
		failed, changed = append(failed, err), changed || ended
	}
	return joinWorkloadErrors(failed, changed && !r.dryRun.isDryRunCommand())
}

// chooseReleasedHolds returns the holds of a workload that the flags name.
func (r *releaseCommand) chooseReleasedHolds(all []hold.Object, t hold.Workload, now time.Time) (chosen []hold.Object, err error) {
	named, err := pickNamedHolds(all, t, r.reasons)
	if err != nil {
		return nil, WithExitCode(err, ExitFailed)
	}
	for i := range all {
		h := &all[i]
		isChosen := r.all && !isLastingPause(h, now) || strings.HasPrefix(h.HoldID(), hold.SetPrefix)
		if len(r.reasons) > 0 {
			isChosen = slices.Contains(named, h.UID)
		}
		if isChosen && h.HeldWorkload().IsSameObject(t) {
			chosen = append(chosen, *h)
		}
	}
	return chosen, nil
}

// isLastingPause reports whether a hold is a pause that outlasts the holds of now: of its workload, or of a schedule, which would make its hold again without
// the pause.
func isLastingPause(h *hold.Object, now time.Time) bool {
	return h.IsPaused(now) && (h.IsWorkloadPause() || strings.HasPrefix(h.HoldID(), hold.SchedulePrefix))
}

// printPauses says which pauses end with the chosen holds, and which stay.
func (r *releaseCommand) printPauses(all, chosen []hold.Object, t hold.Workload, now time.Time, out *outputPrinter) {
	for i := range all {
		h := &all[i]
		switch isChosen := slices.ContainsFunc(chosen, func(c hold.Object) bool { return c.UID == h.UID }); {
		case !h.HeldWorkload().IsSameObject(t) || !isLastingPause(h, now):
		case isChosen:
			out.printCommandEvent("resumed", h.HoldID(), r.dryRun.markDryRun("the pause ends with "+h.HoldID()), nil)
		default:
			out.printCommandEvent("paused", h.HoldID(), h.HoldID()+" stays paused until "+describeHoldEnd(h, now), nil)
		}
	}
}

// deleteChosenHolds deletes the holds that the flags name, and returns their IDs. A dry run of the client only lists them.
func (r *releaseCommand) deleteChosenHolds(ctx context.Context, e *rollout.Engine, t hold.Workload, out *outputPrinter) (ids []string, err error) {
	all, err := e.Cluster.ListHolds(ctx, t.Namespace)
	if err != nil {
		return nil, err
	}
	chosen, err := r.chooseReleasedHolds(all, t, time.Now())
	if err != nil {
		return nil, err
	}
	for i := range chosen {
		ids = append(ids, chosen[i].HoldID())
	}
	r.printPauses(all, chosen, t, time.Now(), out)
	if r.dryRun != dryRunClient {
		isChosen := func(h *hold.Object) bool {
			return slices.ContainsFunc(chosen, func(c hold.Object) bool { return c.UID == h.UID })
		}
		if ids, err = e.EndHolds(ctx, t, isChosen); err != nil {
			return ids, err
		}
	}
	if r.dryRun.isDryRunCommand() {
		for _, id := range ids {
			out.printCommandEvent("released", id, r.dryRun.markDryRun(id), nil)
		}
	}
	return ids, out.printHoldObjects(chosen...)
}

// releaseWorkloadHolds ends holds of a workload, and waits for their release. It reports whether it ended any.
func (r *releaseCommand) releaseWorkloadHolds(ctx context.Context, c *Connection, e *rollout.Engine, t hold.Workload, out *outputPrinter) (bool, error) {
	ids, err := r.deleteChosenHolds(ctx, e, t, out)
	_, coded := ExitCode(err)
	switch {
	case err != nil && (coded || r.dryRun.isDryRunCommand() || len(ids) == 0 && rollout.IsPermanentError(err)):
		return len(ids) > 0, err
	case err != nil:
		return len(ids) > 0, WithExitCode(err, ExitUnfinished)
	case len(ids) > 0 && r.dryRun.isDryRunCommand():
		return true, nil
	case len(ids) > 0:
		return true, waitForHoldRelease(ctx, e, t, ids, out)
	}
	return false, r.explainEmptyRelease(ctx, c, e, t, out)
}

// explainEmptyRelease says why there was nothing to release. A misspelt workload is an error, and so are holds that release leaves.
func (r *releaseCommand) explainEmptyRelease(ctx context.Context, c *Connection, e *rollout.Engine, t hold.Workload, out *outputPrinter) error {
	if len(r.reasons) > 0 { // they went meanwhile
		return fmt.Errorf("no hold %s on %s", strings.Join(r.reasons, ", "), t)
	}
	if err := c.requireWorkload(ctx, e, t); err != nil {
		return err
	}
	all, err := e.Cluster.ListHolds(ctx, t.Namespace)
	if err != nil {
		return err
	}
	var others []string
	for i := range all {
		if h := &all[i]; h.HeldWorkload().IsSameObject(t) && !isLastingPause(h, time.Now()) {
			others = append(others, h.HoldID())
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("no hold by set on %s; held by %s: end them with --reason or --all", t, strings.Join(others, ", "))
	}
	out.printCommandEvent("unheld", "", "the workload has no holds", nil)
	return nil
}

func listWorkloadHoldIDs(ctx context.Context, e *rollout.Engine, t hold.Workload) (ids []string, err error) {
	all, err := e.Cluster.ListHolds(ctx, t.Namespace)
	for i := range all {
		if all[i].HeldWorkload().IsSameObject(t) {
			ids = append(ids, all[i].HoldID())
		}
	}
	return ids, err
}

// waitForHoldRelease reconciles until nothing of the holds is left in the cluster. Their objects may stay: a hold from Git for its client, and one
// that owes messages for the controller.
func waitForHoldRelease(ctx context.Context, e *rollout.Engine, t hold.Workload, ids []string, out *outputPrinter) error {
	isHeld := func(h hold.Object) bool { return !h.IsOver(time.Now()) || !h.IsGivenBack() }
	done := func(r rollout.Result) bool {
		return !slices.ContainsFunc(r.Holds, func(h hold.Object) bool { return slices.Contains(ids, h.HoldID()) && isHeld(h) })
	}
	printed := map[string]bool{}
	observer := rollout.Observer{OnError: func(err error) {
		if !printed[err.Error()] {
			printed[err.Error()] = true
			out.printCommandEvent("error", "", err.Error()+"; retrying", nil)
		}
	}}
	observer.OnReconciled = func(r rollout.Result) {
		for i := range r.EndedHolds {
			out.printCommandEvent(string(hold.Released), r.EndedHolds[i].HoldID(), describeHoldResult(&r.EndedHolds[i], r), nil)
		}
		for i := range r.Holds {
			h := &r.Holds[i]
			text := cmp.Or(describeOpenGate(h), "the controller shuts the gate first")
			if h.Status.GateOpen && slices.Contains(ids, h.HoldID()) && !printed[text] {
				printed[text] = true
				out.printCommandEvent("waiting", h.HoldID(), text, nil)
			}
		}
	}
	ctx, observer = withGiveUpLimit(ctx, hold.DefaultWithin, observer)
	r, err := e.Reconcile(ctx, t, done, observer)
	if err != nil {
		return WithExitCode(fmt.Errorf("original numbers are not restored yet: %w", err), ExitUnfinished)
	}
	for i := range r.Holds {
		if h := &r.Holds[i]; slices.Contains(ids, h.HoldID()) {
			out.printCommandEvent(string(hold.Released), h.HoldID(), describeHoldResult(h, r)+"; the Hold stays, for its client or until the controller has told its notifiers", nil)
		}
	}
	if others := slices.DeleteFunc(r.Holds, func(h hold.Object) bool { return !isHeld(h) }); len(others) > 0 {
		out.printCommandEvent("held", "", "still held by "+formatNounCount(len(others), "other hold"), nil)
	}
	return nil
}

// describeOpenGate returns why the gates of a hold are open after it; empty: they are not, or will be shut soon.
func describeOpenGate(h *hold.Object) string {
	if c := meta.FindStatusCondition(h.Status.Conditions, gateShutCondition); c != nil && c.Status == metav1.ConditionFalse {
		return c.Message
	}
	return ""
}

// releaseExpiredHolds releases the expired holds of all workloads in a namespace.
func (r *releaseCommand) releaseExpiredHolds(ctx context.Context, e *rollout.Engine, namespace string) error {
	all, err := e.Cluster.ListHolds(ctx, namespace)
	if err != nil {
		return WithExitCode(err, ExitUnfinished)
	}
	expired := map[hold.Workload][]string{}
	for i := range all {
		h := &all[i]
		isLeft := !h.IsManaged() && h.Status.State != "" && h.IsGivenBack() // its client deletes it
		if h.IsOver(time.Now()) && !h.IsPaused(time.Now()) && !isLeft {
			expired[h.HeldWorkload()] = append(expired[h.HeldWorkload()], h.HoldID())
		}
	}
	var failed []error
	for t, ids := range expired {
		out, err := r.newOutputPrinter(t)
		if err != nil {
			return err
		}
		if r.dryRun.isDryRunCommand() {
			out.printCommandEvent("released", "", r.dryRun.markDryRun(strings.Join(ids, ", ")), nil)
			continue
		}
		failed = append(failed, waitForHoldRelease(ctx, e, t, ids, out))
	}
	return errors.Join(failed...)
}
