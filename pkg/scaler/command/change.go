// tachometer-scaler pause, resume and approve: changes of one field of the holds of a workload.

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// changeCommand is a command that changes fields of holds.
type changeCommand struct {
	*Program
	verb    string // past participle, the event of the output
	reasons []string
	dryRun  dryRunValue
	// matches selects the holds, none is the error if no hold matches, and unfit the reason against a named hold.
	matches func(*hold.Object) bool
	none    string
	unfit   string
	// fields returns the new values of fields of the spec; a nil value removes the field. It also describes the change.
	fields func(now time.Time) (fields map[string]any, message string, err error)
	// annotations are new values of annotations; a nil value removes the annotation.
	annotations map[string]any
	// coversLater marks a change that holds of the workload get too that are made later; until is its end, zero: none.
	coversLater bool
	until       time.Time
	// isOfRequest marks a change that is about the request as the command read it, and about no later one.
	isOfRequest bool
	// isDone reports whether the scaler has acted on the change; nil: the controller alone acts.
	isDone func(*hold.Object) bool
}

// newChangeCommand returns a command with the flags of all changes.
func newChangeCommand(c *changeCommand, name, short, long string, examples ...string) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " " + workloadUse + "...", Short: short, Long: long + "\n\n" + workloadHelp + "\n\n" + ExitCodesHelp,
		Example:           c.formatCommandExample(examples...),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.runChangeCommand(cmd.Context(), args) },
		Args:              requireWorkloadArgs,
		ValidArgsFunction: c.completeHeldWorkloads,
	}
	addReasonFlag(c.Program, cmd, &c.reasons, "`name` of a hold to change; can be repeated; all other holds stay as they are")
	addDryRunFlag(cmd.Flags(), &c.dryRun)
	return cmd
}

// pauseOfPerson marks a pause, or its end, as a person's.
var pauseOfPerson = map[string]any{hold.PausedByOwnerAnnotation: nil}

func newPauseCommand(p *Program) *cobra.Command {
	var pauseFor time.Duration
	var c *changeCommand
	c = &changeCommand{
		Program: p, verb: "paused", coversLater: true, matches: func(h *hold.Object) bool { return h.DeletionTimestamp == nil }, none: "no holds on %s: nothing to pause",
		unfit: "is being released: nothing to pause", annotations: pauseOfPerson,
		isDone: func(h *hold.Object) bool {
			return h.Status.GateOpen || h.Status.State == "" || h.Status.State == hold.Released || h.Status.State == hold.RolledBack && h.Status.Numbers == nil
		},
		fields: func(now time.Time) (map[string]any, string, error) {
			if pauseFor == 0 {
				return map[string]any{"paused": true, "pausedUntil": nil}, "until it is resumed", nil
			}
			until, err := endOfHoldSpan(now, pauseFor)
			if err != nil {
				return nil, "", err
			}
			c.until = until
			return map[string]any{"paused": true, "pausedUntil": until.UTC()}, "until " + until.Local().Format("2006-01-02 15:04:05 -07:00"), nil
		},
	}
	cmd := newChangeCommand(c, "pause", "suspend holds, and restore the original numbers meanwhile",
		`Pause suspends the holds of a workload: their gates are shut, and the original numbers are restored. The holds stay, and a controller
resumes them after --for, and the command resume at any time. Without --reason, the pause also covers the holds that schedules, events and
files in Git make during it.`,
		"pause deploy/shop --for 12h", "pause deploy/shop --reason schedule/office-hours")
	addDurationFlag(cmd.Flags(), &pauseFor, "for", 0, "`duration` of the pause, such as 2h or 1d; 0: until resume")
	return cmd
}

func newResumeCommand(p *Program) *cobra.Command {
	c := &changeCommand{
		Program: p, verb: "resumed", matches: func(h *hold.Object) bool { return h.Spec.Paused }, none: "no paused hold on %s",
		unfit: "is not paused: nothing to resume", annotations: pauseOfPerson,
		isDone: func(h *hold.Object) bool {
			s := h.Status.State
			return h.IsOver(time.Now()) && h.IsGivenBack() || h.Status.ObservedGeneration == h.Generation && s != "" && s != hold.Received && s != hold.Raised
		},
		fields: func(time.Time) (map[string]any, string, error) {
			return map[string]any{"paused": nil, "pausedUntil": nil}, "", nil
		},
	}
	return newChangeCommand(c, "resume", "let paused holds count again",
		"Resume ends the pause of holds: their numbers count again, and their gates open after the new pods are verified.", "resume deploy/shop")
}

func newApproveCommand(p *Program) *cobra.Command {
	c := &changeCommand{
		Program: p, verb: "approved", matches: func(h *hold.Object) bool { return hasGateToOpen(h, time.Now()) },
		isOfRequest: true,
		none:        "no hold on %s has a gate that is still to open: nothing to approve",
		unfit:       "has no gate that is still to open: nothing to approve",
		fields: func(time.Time) (map[string]any, string, error) {
			return map[string]any{"approved": true}, "the controller opens the gate when the pods are verified", nil
		},
	}
	return newChangeCommand(c, "approve", "open the gates that wait for approval",
		"Approve opens the gates that wait for approval, after the new pods are verified.", "approve deploy/shop")
}

// hasGateToOpen reports whether a hold has gates that are not open yet, and may still open.
func hasGateToOpen(h *hold.Object, now time.Time) bool {
	if len(h.Spec.Gates) == 0 || h.DeletionTimestamp != nil || h.Spec.Until != nil && !now.Before(h.Spec.Until.Time) {
		return false
	}
	s := h.Status
	return s.ObservedGeneration != h.Generation || s.State != hold.Open && (s.State != hold.RolledBack || !s.RetryAt.IsZero())
}

// runChangeCommand changes the holds of each workload.
func (c *changeCommand) runChangeCommand(ctx context.Context, args []string) error {
	conn, err := c.Connect()
	if err != nil {
		return err
	}
	workloads, err := conn.parseWorkloadArgs(args)
	if err != nil {
		return err
	}
	fields, message, err := c.fields(time.Now())
	if err != nil {
		return err
	}
	change := map[string]any{"spec": fields}
	if c.annotations != nil {
		change["metadata"] = map[string]any{"annotations": c.annotations}
	}
	var failed []error
	changed := 0
	for _, t := range workloads {
		out, err := c.newOutputPrinter(t)
		if err != nil {
			return err
		}
		n, err := c.changeWorkloadHolds(ctx, conn, t, change, message, out)
		failed, changed = append(failed, err), changed+n
	}
	return joinWorkloadErrors(failed, changed > 0 && !c.dryRun.isDryRunCommand())
}

// changeWorkloadHolds patches the holds of a workload, and helps the scaler to act on the change. It returns how many it changed.
func (c *changeCommand) changeWorkloadHolds(
	ctx context.Context, conn *Connection, t hold.Workload, change map[string]any, message string, out *outputPrinter,
) (int, error) {
	e := conn.NewEngine(conn.holdClientFor(c.dryRun))
	before, err := c.coverLaterHolds(ctx, conn, e, t, message, out)
	if err != nil {
		return 0, err
	}
	chosen, err := c.chooseChangedHolds(ctx, conn, e, t)
	if err != nil {
		return before, err
	}
	var changed []hold.Object
	for i := range chosen {
		c.printReplacedPause(&chosen[i], time.Now(), out)
		after := &chosen[i]
		if c.dryRun != dryRunClient {
			if after, err = c.patchHold(ctx, conn, &chosen[i], change); err != nil {
				return before + len(changed), unconfirmedChangeError(c.Name, fmt.Errorf("change hold %s: %w", chosen[i].HoldID(), err))
			}
		}
		out.printCommandEvent(c.verb, after.HoldID(), c.dryRun.markDryRun(strings.TrimSpace(after.HoldID()+" "+message)), nil)
		changed = append(changed, *after)
	}
	if err := out.printHoldObjects(changed...); err != nil || c.dryRun.isDryRunCommand() || c.isDone == nil {
		return len(changed), err
	}
	err = c.waitForHoldChange(ctx, e, t, changed, out)
	if c.coversLater && !c.until.IsZero() && len(changed) > 0 {
		conn.warnMissingController(ctx, &changed[0], fmt.Sprintf("nothing ends the pause at its end: run `%s resume` then", c.Name), out)
	}
	return len(changed), err
}

// printReplacedPause names the end of a pause that this one replaces: another person's may have been longer.
func (c *changeCommand) printReplacedPause(h *hold.Object, now time.Time, out *outputPrinter) {
	var until time.Time
	if h.Spec.PausedUntil != nil {
		until = h.Spec.PausedUntil.Time
	}
	if c.coversLater && h.IsPaused(now) && !until.Equal(c.until) {
		out.printCommandEvent("replaced", h.HoldID(), c.dryRun.markDryRun("a pause until "+describeHoldEnd(h, now)), nil)
	}
}

// coverLaterHolds makes a change of all holds of a workload hold for later ones too. It returns how many holds it stored for that.
func (c *changeCommand) coverLaterHolds(ctx context.Context, conn *Connection, e *rollout.Engine, t hold.Workload, message string, out *outputPrinter) (stored int, err error) {
	if !c.coversLater || len(c.reasons) > 0 {
		return 0, nil
	}
	ids, err := listWorkloadHoldIDs(ctx, e, t)
	if err == nil && len(ids) == 0 {
		err = conn.requireWorkload(ctx, e, t)
	}
	switch {
	case err != nil:
		return 0, err
	case c.dryRun.isDryRunCommand() && !slices.Contains(ids, hold.WorkloadPauseID):
		out.printCommandEvent(c.verb, hold.WorkloadPauseID, c.dryRun.markDryRun(strings.TrimSpace(hold.WorkloadPauseID+" "+message)), nil)
	}
	if c.dryRun == dryRunClient {
		return 0, nil
	}
	made, err := e.PauseWorkload(ctx, t, IdentifyCaller(), c.until)
	if made {
		stored = 1
	}
	return stored, unconfirmedChangeError(c.Name, err)
}

// patchHold changes a hold. It tries again beside the scaler's writes of a status; a change that is about the request is rejected if the request is another
// by now.
func (c *changeCommand) patchHold(ctx context.Context, conn *Connection, h *hold.Object, change map[string]any) (*hold.Object, error) {
	client := conn.holdClientFor(c.dryRun)
	for version := h.ResourceVersion; ; {
		next := maps.Clone(change)
		if c.isOfRequest {
			next["metadata"] = map[string]any{"resourceVersion": version}
		}
		patch, err := json.Marshal(next)
		if err != nil {
			return nil, fmt.Errorf("write the patch: %w", err)
		}
		after, err := client.PatchHold(ctx, h.Namespace, h.Name, patch)
		if !apierrors.IsConflict(err) {
			return after, err
		}
		if version, err = findHoldVersion(ctx, client, h); err != nil {
			return nil, WithExitCode(err, ExitFailed) // nothing is written
		}
	}
}

// findHoldVersion returns the present version of a hold with the same request.
func findHoldVersion(ctx context.Context, client *hold.Client, h *hold.Object) (string, error) {
	all, err := client.ListHolds(ctx, h.Namespace, "")
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(o hold.Object) bool { return o.UID == h.UID && o.Generation == h.Generation })
	if i < 0 {
		return "", errors.New("it has changed meanwhile: look at its status, and try again")
	}
	return all[i].ResourceVersion, nil
}

// chooseChangedHolds returns the holds of a workload that the command changes. Of several names, each must name such a hold.
func (c *changeCommand) chooseChangedHolds(ctx context.Context, conn *Connection, e *rollout.Engine, t hold.Workload) (chosen []hold.Object, err error) {
	all, err := e.Cluster.ListHolds(ctx, t.Namespace)
	if err != nil {
		return nil, err
	}
	named, err := pickNamedHolds(all, t, c.reasons)
	if err != nil {
		return nil, err
	}
	var others []string
	for i := range all {
		switch h := &all[i]; {
		case !h.HeldWorkload().IsSameObject(t) || len(c.reasons) > 0 && !slices.Contains(named, h.UID):
		case c.matches(h):
			chosen = append(chosen, *h)
		default:
			others = append(others, h.HoldID())
		}
	}
	switch {
	case len(c.reasons) > 0 && len(others) > 0:
		return nil, fmt.Errorf("hold %s on %s %s", strings.Join(others, ", "), t, c.unfit)
	case len(chosen) > 0, c.coversLater && len(c.reasons) == 0:
		return chosen, nil
	}
	if err := conn.requireWorkload(ctx, e, t); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf(c.none, t)
}

// waitForHoldChange reconciles until the scaler has acted on the change of each hold. Without the right to scale the workload, the
// controller acts alone.
func (c *changeCommand) waitForHoldChange(ctx context.Context, e *rollout.Engine, t hold.Workload, changed []hold.Object, out *outputPrinter) error {
	done := func(r rollout.Result) bool {
		return r.Gone || !slices.ContainsFunc(changed, func(h hold.Object) bool {
			now := r.FindHold(h.HoldID())
			return now != nil && !c.isDone(now)
		})
	}
	states := map[string]hold.State{}
	observer := rollout.Observer{OnReconciled: func(r rollout.Result) {
		for i := range r.Holds {
			if h := &r.Holds[i]; states[h.Name] != h.Status.State {
				states[h.Name] = h.Status.State
				out.printCommandEvent(string(h.Status.State), h.HoldID(), describeHoldResult(h, r), nil)
			}
		}
	}}
	waiting, observer := withGiveUpLimit(ctx, hold.DefaultWithin, observer)
	_, err := e.Reconcile(waiting, t, done, observer)
	switch {
	case apierrors.IsForbidden(err):
		out.printCommandEvent("waiting", "", "you may not scale the workload: the controller does", nil)
		return nil
	case err != nil:
		return WithExitCode(fmt.Errorf("the holds are %s, but the workload is not scaled yet: %w", c.verb, err), ExitUnfinished)
	}
	return nil
}
