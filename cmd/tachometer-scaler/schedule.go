package main

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

// maxPreviewSpan is how far ahead a preview looks; a leap year shows what there is to see.
const maxPreviewSpan = 400 * 24 * time.Hour

func newScheduleCommand(g *globalFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "schedule", Short: "what schedules will do", RunE: func(cmd *cobra.Command, _ []string) error {
		return newUsageError("want a command: %s preview", cmd.CommandPath())
	}}
	var file, next, from string
	preview := &cobra.Command{
		Use: "preview --config FILE", Short: "what will be true when",
		Long: `Preview shows what the schedules of a configuration want of each target: floor and ceiling, and of which window, with the days
on which clocks change, windows that have no say because another wants more, and numbers that do not fit together. It asks no
cluster.`,
		Args: rejectArgs,
		RunE: func(*cobra.Command, []string) error { return g.previewSchedules(file, next, from) },
	}
	preview.Flags().StringVar(&file, "config", "", "configuration `file` of the scaler")
	preview.Flags().StringVar(&next, "next", "14d", "how far ahead, a `time` such as 14d")
	preview.Flags().StringVar(&from, "from", "", "`time` to begin at, such as 2026-10-24T00:00:00Z; empty: now")
	if err := preview.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	cmd.AddCommand(preview)
	return cmd
}

func (g *globalFlags) previewSchedules(file, next, from string) error {
	span, err := model.ParseDuration(next)
	if err != nil || span <= 0 || time.Duration(span) > maxPreviewSpan {
		return newUsageError("--next is a time such as 14d, up to %s, not %q", model.Duration(maxPreviewSpan), next)
	}
	begin := time.Now()
	if from != "" {
		if begin, err = time.Parse(time.RFC3339, from); err != nil {
			return newUsageError("--from: %w", err)
		}
	}
	c, err := loadScalerConfig(file)
	if err != nil {
		return err
	}
	if len(c.Schedules) == 0 {
		return fmt.Errorf("%s has no schedules", file)
	}
	out, err := g.newOutputPrinter(hold.Workload{})
	if err != nil {
		return err
	}
	rows := schedule.Preview(c.Schedules, begin, time.Duration(span))
	if out.json {
		return schedule.WriteJSON(g.out, rows)
	}
	return schedule.WriteTable(g.out, rows)
}
