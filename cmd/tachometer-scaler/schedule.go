// tachometer-scaler schedule preview.

package main

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

// maxPreviewSpan bounds --next: a leap year has every kind of day.
const maxPreviewSpan = 400 * 24 * time.Hour

// newScalerScheduleCommand returns tachometer-scaler schedule, with its subcommand preview.
func newScalerScheduleCommand(g *globalFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "schedule", Short: "preview schedules", RunE: func(cmd *cobra.Command, _ []string) error {
		return newScalerCommandUsageError("subcommand required: %s preview", cmd.CommandPath())
	}}
	var file, next, from string
	preview := &cobra.Command{
		Use: "preview --config FILE", Short: "show the coming changes of schedules",
		Long: `Preview shows minReplicas and maxReplicas of each workload over time, with the window of the schedule that sets them. It notes
clock changes, windows below another window, and numbers that contradict each other. It needs no cluster.

` + readExitCodesHelp,
		Args: rejectScalerCommandArgs,
		RunE: func(*cobra.Command, []string) error { return g.runScalerPreviewCommand(file, next, from) },
	}
	preview.Flags().StringVar(&file, "config", "", "configuration `file` of the scaler")
	preview.Flags().StringVar(&next, "next", "14d", "`duration` of the preview, such as 14d")
	preview.Flags().StringVar(&from, "from", "", "start `time`, such as 2026-10-24T00:00:00Z; empty: now")
	if err := preview.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	cmd.AddCommand(preview)
	return cmd
}

// runScalerPreviewCommand runs tachometer-scaler schedule preview.
func (g *globalFlags) runScalerPreviewCommand(file, next, from string) error {
	span, err := model.ParseDuration(next)
	if err != nil || span <= 0 || time.Duration(span) > maxPreviewSpan {
		return newScalerCommandUsageError("--next must be a duration such as 14d, up to %s, not %q", model.Duration(maxPreviewSpan), next)
	}
	begin := time.Now()
	if from != "" {
		if begin, err = time.Parse(time.RFC3339, from); err != nil {
			return newScalerCommandUsageError("--from: %w", err)
		}
	}
	c, err := loadScalerProgramConfig(file)
	if err != nil {
		return err
	}
	if len(c.Schedules) == 0 {
		return fmt.Errorf("%s has no schedules", file)
	}
	out, err := g.newScalerCommandPrinter(hold.Workload{})
	if err != nil {
		return err
	}
	rows := schedule.Preview(c.Schedules, begin, time.Duration(span))
	if out.json {
		return schedule.WriteJSON(g.out, rows)
	}
	return schedule.WriteTable(g.out, rows)
}
