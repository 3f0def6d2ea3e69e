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
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
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
	kinds, namespace := rollout.DefaultKinds(), c.namespace
	var only hold.Workload
	if len(args) == 1 {
		if only, err = c.parseScalerCommandWorkload(args[0]); err != nil {
			return err
		}
		kinds = kinds[:0:0]
		kinds = append(kinds, only.GroupVersionKind())
	}
	if everywhere {
		namespace = ""
	}
	all, err := newScalerCommandEngine(c, nil).ListHeld(ctx, namespace, kinds)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(s rollout.HeldWorkload) bool { return len(args) == 1 && s.Workload != only })
	slices.SortFunc(all, func(a, b rollout.HeldWorkload) int { return cmp.Compare(a.Workload.String(), b.Workload.String()) })
	return g.printScalerCommandHeldWorkloads(all, time.Now())
}

// printScalerCommandHeldWorkloads prints the held workloads in the format of --output.
func (g *globalFlags) printScalerCommandHeldWorkloads(all []rollout.HeldWorkload, now time.Time) error {
	out, err := g.newScalerCommandPrinter(hold.Workload{})
	if err != nil {
		return err
	}
	if out.json {
		for _, s := range all {
			out.workload = s.Workload.String()
			out.printScalerCommandEvent("status", "", formatScalerCommandCount(len(s.Record.Holds), "hold"), s)
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(g.out, "no holds")
		return nil
	}
	return writeScalerCommandHeldTable(g.out, all, now)
}

// writeScalerCommandHeldTable writes a table with a line for each hold.
func writeScalerCommandHeldTable(w io.Writer, all []rollout.HeldWorkload, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WORKLOAD\tHOLD\tSTATE\tREPLICAS\tUNTIL\tBY\tBEFORE\tMESSAGE")
	for _, s := range all {
		if s.Err != nil {
			fmt.Fprintf(t, "%s\t-\tunreadable\t-\t-\t-\t-\t%v\n", s.Workload, s.Err)
			continue
		}
		if len(s.Record.Holds) == 0 {
			fmt.Fprintf(t, "%s\t-\t%s\t-\t-\t-\t%s\tautoscaler is still held: run `tachometer-scaler release`\n", s.Workload, hold.Released, describeScalerCommandOriginal(s))
		}
		for i := range s.Record.Holds {
			h := &s.Record.Holds[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", s.Workload, h.ID, h.State, h.Replicas, describeScalerCommandHoldEnd(h, now), h.By, describeScalerCommandOriginal(s), h.StateMessage)
		}
	}
	return t.Flush()
}

// describeScalerCommandHoldEnd returns the end of a hold and the time until then.
func describeScalerCommandHoldEnd(h *hold.Hold, now time.Time) string {
	switch {
	case h.Until.IsZero():
		return "release"
	case h.HasEnded(now):
		return "ended"
	}
	return fmt.Sprintf("%s (%s)", h.Until.Local().Format("2006-01-02 15:04:05"), h.Until.Sub(now).Round(time.Second))
}

// describeScalerCommandOriginal returns the original numbers.
func describeScalerCommandOriginal(s rollout.HeldWorkload) string {
	parts := []string{fmt.Sprintf("%d replicas", s.Record.Replicas.Was)}
	if s.Record.Replicas.Yielded {
		parts[0] = "replicas changed by a user"
	}
	if b := s.Bounds.MinReplicas; b != nil {
		parts = append(parts, describeScalerCommandChange("minReplicas", b))
	}
	if b := s.Bounds.MaxReplicas; b != nil {
		parts = append(parts, describeScalerCommandChange("maxReplicas", b))
	}
	return strings.Join(parts, ", ")
}

// describeScalerCommandChange returns the original of a number.
func describeScalerCommandChange(name string, c *hold.ReplicaChange) string {
	if c.Yielded {
		return name + " changed by a user"
	}
	return fmt.Sprintf("%s %d", name, c.Was)
}
