// tachometer-scaler schedule preview.

package main

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

// maxPreviewSpan bounds --next: a leap year has every kind of day.
const maxPreviewSpan = 400 * 24 * time.Hour

// newScalerScheduleCommand returns tachometer-scaler schedule, with its subcommand preview.
func newScalerScheduleCommand(g *scalerFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "schedule", Short: "preview schedules", RunE: func(cmd *cobra.Command, _ []string) error {
		return command.UsageErrorf("subcommand required: %s preview", cmd.CommandPath())
	}}
	var file, next, from string
	preview := &cobra.Command{
		Use: "preview --config FILE", Short: "show the coming changes of schedules",
		Long: `Preview shows minReplicas and maxReplicas of each workload over time, with the window of the schedule that sets them. It notes
clock changes, windows below another window, paused schedules, and numbers that contradict each other. It needs no cluster.

` + command.ReadExitCodesHelp,
		Args: command.RejectArgs,
		RunE: func(*cobra.Command, []string) error { return g.previewSchedules(file, next, from) },
	}
	preview.Flags().StringVar(&file, "config", "", "configuration `file` of the scaler")
	preview.Flags().StringVar(&next, "next", "14d", "`duration` of the preview, such as 14d")
	preview.Flags().StringVar(&from, "from", "", "start `time`, such as 2026-10-24 or 2026-10-24 08:00 in the schedule's zone, or 2026-10-24T00:00:00Z; empty: now")
	if err := preview.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	cmd.AddCommand(preview)
	return cmd
}

// previewSchedules runs tachometer-scaler schedule preview.
func (g *scalerFlags) previewSchedules(file, next, from string) error {
	span, err := command.ParseDuration(next)
	if err != nil || span <= 0 || span > maxPreviewSpan {
		return command.UsageErrorf("--next must be a duration such as 14d, up to %s, not %q", model.Duration(maxPreviewSpan), next)
	}
	begin, err := parsePreviewStart(from, time.Now())
	if err != nil {
		return err
	}
	c, err := loadConfigFile(file)
	if err != nil {
		return err
	}
	if len(c.Schedules) == 0 {
		return fmt.Errorf("%s has no schedules", file)
	}
	format, err := g.OutputFormat("auto", "text", "json")
	if err != nil {
		return err
	}
	rows := schedule.Preview(c.Schedules, begin, span)
	if format == "json" {
		return schedule.WriteJSON(g.Out, rows)
	}
	return schedule.WriteTable(g.Out, rows)
}

// parsePreviewStart parses --from: a moment, or a day or time on the clocks of the schedules. Empty means now.
func parsePreviewStart(text string, now time.Time) (schedule.Start, error) {
	if text == "" {
		return schedule.StartAt(now), nil
	}
	start, ok := schedule.ParseStart(text)
	if !ok {
		return nil, command.UsageErrorf("--from must be a day such as 2026-12-24 or a time such as 2026-12-24T08:00:00Z, not %q", text)
	}
	return start, nil
}
