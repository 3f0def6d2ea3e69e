// tachometer-scaler status.

package main

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

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newScalerStatusCommand returns tachometer-scaler status.
func newScalerStatusCommand(g *globalFlags) *cobra.Command {
	var everywhere bool
	cmd := &cobra.Command{
		Use: "status [WORKLOAD]", Short: "show holds with owner, end and original numbers",
		Long: `Status shows the holds of a workload, or of all workloads in the namespace: state and owner of each hold, and the original numbers
that the last hold restores.

` + readExitCodesHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return newScalerCommandUsageError("want at most one argument, KIND/NAME; got %d", len(args))
			}
			return g.runScalerStatusCommand(cmd.Context(), args, everywhere)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "show the holds of all namespaces")
	return cmd
}

// runScalerStatusCommand runs tachometer-scaler status.
func (g *globalFlags) runScalerStatusCommand(ctx context.Context, args []string, everywhere bool) error {
	c, err := g.connectScalerCommandCluster()
	if err != nil {
		return err
	}
	namespace := c.namespace
	if everywhere {
		namespace = ""
	}
	all, err := c.holds.ListHolds(ctx, namespace, "")
	if err != nil {
		return fmt.Errorf("list holds: %w", err)
	}
	if len(args) == 1 {
		only, err := c.parseScalerCommandWorkload(args[0])
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(h hold.Object) bool { return h.HeldWorkload() != only })
		if len(all) == 0 {
			if err := requireScalerCommandWorkload(ctx, newScalerCommandEngine(c), only); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(all, func(a, b hold.Object) int {
		return cmp.Or(cmp.Compare(a.HeldWorkload().String(), b.HeldWorkload().String()), cmp.Compare(a.Name, b.Name))
	})
	return g.printScalerCommandHolds(all, time.Now())
}

// printScalerCommandHolds prints holds in the format of --output.
func (g *globalFlags) printScalerCommandHolds(all []hold.Object, now time.Time) error {
	out, err := g.newScalerCommandPrinter(hold.Workload{})
	if err != nil {
		return err
	}
	if out.json {
		for i := range all {
			h := &all[i]
			out.workload = h.HeldWorkload().String()
			out.printScalerCommandEvent("status", h.HoldID(), strings.TrimSpace(string(h.Status.State)+" "+h.Status.Message), h)
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(g.out, "no holds")
		return nil
	}
	return writeScalerCommandHoldTable(g.out, all, now)
}

// writeScalerCommandHoldTable writes a table with a line for each hold.
func writeScalerCommandHoldTable(w io.Writer, all []hold.Object, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WORKLOAD\tHOLD\tSTATE\tREPLICAS\tUNTIL\tBY\tBEFORE\tMESSAGE")
	for i := range all {
		h := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", h.HeldWorkload(), h.HoldID(), cmp.Or(string(h.Status.State), "-"), h.Spec.Replicas,
			describeScalerCommandHoldEnd(h, now), h.Spec.By, describeScalerCommandOriginal(h), describeScalerCommandTrouble(h))
	}
	return t.Flush()
}

// describeScalerCommandTrouble returns the message of a hold, with its conditions that a person should know.
func describeScalerCommandTrouble(h *hold.Object) string {
	parts := []string{h.Status.Message}
	for _, c := range h.Status.Conditions {
		if c.Type == "Yielded" && c.Status == "True" || c.Type == "WorkloadReachable" && c.Status == "False" {
			parts = append(parts, c.Message)
		}
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}

// describeScalerCommandHoldEnd returns the end of a hold and the time until then.
func describeScalerCommandHoldEnd(h *hold.Object, now time.Time) string {
	switch {
	case h.Spec.Paused:
		return "paused"
	case h.IsOver(now):
		return "ended"
	case h.Spec.Until == nil:
		return "release"
	}
	return fmt.Sprintf("%s (%s)", h.Spec.Until.Local().Format("2006-01-02 15:04:05"), h.Spec.Until.Sub(now).Round(time.Second))
}

// describeScalerCommandOriginal returns the original numbers, if the hold carries them.
func describeScalerCommandOriginal(h *hold.Object) string {
	n := h.Status.Numbers
	switch {
	case n == nil:
		return "-"
	case n.Autoscaler == "":
		return fmt.Sprintf("%d replicas", n.Replicas.Was)
	}
	return fmt.Sprintf("%d replicas, %s %d..%d", n.Replicas.Was, n.Autoscaler, n.MinReplicas.Was, n.MaxReplicas.Was)
}
