// The command status.

package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

func newStatusCommand(p *Program) *cobra.Command {
	var everywhere bool
	cmd := &cobra.Command{
		Use: "status [" + workloadUse + "...]", Short: "show holds with owner, end and original numbers",
		Long: `Status shows the holds of workloads, or of all workloads in the namespace: state and owner of each hold, and the original numbers
that the last hold restores. With -o wide it also shows minReplicas, maxReplicas, gates and notifiers; with -o json and -o yaml, the Holds.
Below is the latest Event of the surge lane about each autoscaler, of the last hour: the raise, or in the mode observe the raise that it would
have made, and the seconds by which the autoscaler came later.

` + workloadHelp + "\n\n" + ReadExitCodesHelp,
		Example: p.formatCommandExample("status", "status deploy/shop -o wide", "status -A -o yaml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.runStatusCommand(cmd.Context(), args, everywhere)
		},
		ValidArgsFunction: p.completeHeldWorkloads,
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "show the holds of all namespaces")
	return cmd
}

func (p *Program) runStatusCommand(ctx context.Context, args []string, everywhere bool) error {
	format, err := p.OutputFormat(outputFormats...)
	if err != nil {
		return err
	}
	c, err := p.Connect()
	if err != nil {
		return err
	}
	namespace := c.Namespace
	if everywhere {
		if len(args) > 0 {
			return UsageErrorf("--all-namespaces excludes workloads")
		}
		namespace = ""
	}
	all, err := c.Holds.ListHolds(ctx, namespace, "")
	if err != nil {
		return fmt.Errorf("list holds: %w", err)
	}
	if len(args) > 0 {
		if all, err = c.keepWorkloadHolds(ctx, all, args); err != nil {
			return err
		}
	}
	slices.SortFunc(all, func(a, b hold.Object) int {
		return cmp.Or(cmp.Compare(a.HeldWorkload().String(), b.HeldWorkload().String()), cmp.Compare(a.Name, b.Name))
	})
	for i := range all {
		if all[i].Fault != "" && !isHoldTableFormat(format) {
			fmt.Fprintln(p.Errs, plaintext.Clean(fmt.Sprintf("hold %s in namespace %s: %s", all[i].Name, all[i].Namespace, describeHoldFault(&all[i]))))
		}
	}
	now := time.Now()
	if err := p.printHoldStatus(format, namespace, all, now); err != nil || !isHoldTableFormat(format) {
		return err
	}
	return p.printSurgeEvents(ctx, c, namespace, args, now)
}

// isHoldTableFormat reports whether a format is a table for people.
func isHoldTableFormat(format string) bool {
	return format == outputAuto || format == outputText || format == outputWide
}

// describeHoldFault returns why a hold cannot be read.
func describeHoldFault(h *hold.Object) string {
	return "cannot be read, so it holds nothing: " + h.Fault
}

// keepWorkloadHolds returns the holds of the workloads. A workload without holds must exist.
func (c *Connection) keepWorkloadHolds(ctx context.Context, all []hold.Object, args []string) (kept []hold.Object, err error) {
	only, err := c.parseWorkloadArgs(args)
	if err != nil {
		return nil, err
	}
	for _, t := range only {
		before := len(kept)
		for i := range all {
			if all[i].HeldWorkload().IsSameObject(t) {
				kept = append(kept, all[i])
			}
		}
		if len(kept) == before {
			if err := c.requireWorkload(ctx, c.NewEngine(c.Holds), t); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

func (p *Program) printHoldStatus(format, namespace string, all []hold.Object, now time.Time) error {
	switch {
	case format == outputJSON || format == outputYAML || strings.HasPrefix(format, outputJSONPath):
		return writeHoldList(p.Out, format, all)
	case format == outputName:
		return writeHoldNames(p.Out, all)
	case len(all) == 0 && namespace == "":
		fmt.Fprintln(p.Out, "no holds in any namespace")
		return nil
	case len(all) == 0:
		fmt.Fprintln(p.Out, "no holds in namespace "+plaintext.Clean(namespace))
		return nil
	}
	return writeHoldTable(p.Out, all, format == outputWide, now)
}

// writeHoldTable writes a table with a line for each hold.
func writeHoldTable(w io.Writer, all []hold.Object, wide bool, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	header := []string{"NAMESPACE", "WORKLOAD", "HOLD", "STATE", "REPLICAS", "UNTIL", "BY", "BEFORE"}
	if wide {
		header = append(header, "MIN", "MAX", "GATES", "NOTIFY", "NAME")
	}
	fmt.Fprintln(t, strings.Join(append(header, "MESSAGE"), "\t"))
	for i := range all {
		h := &all[i]
		row := []string{
			h.Namespace, strings.ToLower(h.Spec.Workload.Kind) + "/" + h.Spec.Workload.Name, h.HoldID(), describeHoldState(h, now),
			fmt.Sprint(h.Spec.Replicas), describeHoldEnd(h, now), cmp.Or(h.Spec.By, "-"), describeHoldOriginal(h),
		}
		if wide {
			row = append(row, describeHoldNumber(h.Spec.MinReplicas), describeHoldNumber(h.Spec.MaxReplicas),
				cmp.Or(strings.Join(h.Spec.Gates, ","), "-"), cmp.Or(strings.Join(h.Spec.Notify, ","), "-"), h.Name)
		}
		row = append(row, describeHoldTrouble(h, now))
		for i := range row {
			row[i] = plaintext.Clean(row[i])
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// describeHoldNumber returns a number of a hold; 0 is not set.
func describeHoldNumber(n int32) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// describeHoldState returns the state of a hold, and whether it is paused.
func describeHoldState(h *hold.Object, now time.Time) string {
	state := cmp.Or(string(h.Status.State), "-")
	if h.Fault != "" {
		return "Unreadable (" + state + ")"
	}
	if h.IsPaused(now) {
		return "Paused (" + state + ")"
	}
	return state
}

// unseenScalerHoldAge is the age at which every controller has seen a hold of its namespaces.
const unseenScalerHoldAge = 10 * time.Second

// describeHoldTrouble returns the message of a hold, with its conditions that a person should know.
func describeHoldTrouble(h *hold.Object, now time.Time) string {
	parts := []string{h.Status.Message}
	switch {
	case h.Fault != "":
		parts = []string{describeHoldFault(h)}
	case h.Status.State == "" && len(h.Status.Conditions) == 0 && now.Sub(h.CreationTimestamp.Time) >= unseenScalerHoldAge:
		parts = []string{"no controller has seen it: add the namespace to its configuration, or see its log"}
	}
	for _, c := range h.Status.Conditions {
		if isConditionTrouble(h, c.Type, c.Status) && !strings.Contains(h.Status.Message, c.Message) {
			parts = append(parts, c.Message)
		}
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}

// gateShutCondition is the condition of a hold that tells whether its gates are shut after it.
const gateShutCondition = "GateShut"

// isConditionTrouble reports whether a person should know a condition of a hold.
func isConditionTrouble(h *hold.Object, condition string, status metav1.ConditionStatus) bool {
	switch condition {
	case "Yielded":
		return status == metav1.ConditionTrue
	case "WorkloadReachable", "NotifiersAllowed", "NumbersSet", "Notified", gateShutCondition:
		return status == metav1.ConditionFalse
	case "Watched":
		return h.Status.GateOpen
	}
	return false
}

// describeHoldEnd returns the end of a hold, or of its pause, and the time until then.
func describeHoldEnd(h *hold.Object, now time.Time) string {
	end, word := h.Spec.Until, "release"
	switch {
	case h.IsPaused(now):
		end, word = h.Spec.PausedUntil, "resume"
	case h.IsOver(now):
		return "ended"
	}
	switch {
	case end == nil && h.Fault != "":
		return "?"
	case end == nil:
		return word
	}
	return fmt.Sprintf("%s (%s)", end.Local().Format("2006-01-02 15:04:05"), describeTimeSpan(end.Sub(now)))
}

// describeHoldOriginal returns the original numbers, if the hold carries them.
func describeHoldOriginal(h *hold.Object) string {
	n := h.Status.Numbers
	switch {
	case n == nil:
		return "-"
	case n.AutoscalerUID == "":
		return fmt.Sprintf("%d replicas", n.Replicas.Was)
	}
	return fmt.Sprintf("%d replicas, %s %d..%d", n.Replicas.Was, n.Autoscaler, n.MinReplicas.Was, n.MaxReplicas.Was)
}
