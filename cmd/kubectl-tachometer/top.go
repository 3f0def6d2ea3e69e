// The command top: the autoscalers of a namespace as a table that may refresh itself.

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/top"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// watchInterval is the time between two refreshes of -w: the adapter scrapes as often.
const watchInterval = 2 * time.Second

const topHelp = `Show autoscalers: each metric's value beside its target, replicas, wanted and ready pods, the age of the oldest value, and the
state in a word: broken, partial, off, limited, rising, falling, held, minimum, new or steady.

Values are read now, from the API that the HPA controller reads; a utilization is the controller's own last one.`

func newPluginTopCommand(p *pluginProgram) *cobra.Command {
	cmd := &cobra.Command{
		Use: "top", Short: "Show autoscalers with their values, targets and states", Long: topHelp,
		Example: `  kubectl tachometer top -A
  kubectl tachometer top -n shop -w`,
		Args: rejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runPluginTop(cmd.Context()) },
	}
	bindKubectlNamespaceFlag(p, cmd.Flags())
	bindKubectlOutputFlags(p, cmd, "wide", "json", "yaml", "name")
	cmd.Flags().BoolVarP(&p.watching, "watch", "w", false, "refresh every 2 s; a terminal shows the rows that fit")
	return cmd
}

func (p *pluginProgram) runPluginTop(ctx context.Context) error {
	if err := p.checkOutputFormat("wide", "json", "yaml", "name"); err != nil {
		return err
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	for {
		if err := p.printPluginTop(ctx, c); err != nil || !p.watching {
			return err
		}
		if !retry.Sleep(ctx, watchInterval) {
			return nil
		}
	}
}

// printPluginTop reads and prints the table once.
func (p *pluginProgram) printPluginTop(ctx context.Context, c *pluginConnection) error {
	objects := inventory.ReadScaled(ctx, c.client, c.namespace)
	objects.AddScaleTargets(ctx, c.metricReader())
	report := top.Read(ctx, objects, c.metricReader(), c.now())
	if ctx.Err() != nil { // the last table of a watch stays
		return ctx.Err()
	}
	unreadErr := inventory.AutoscalerError(report.Unread)
	if printed, err := p.printAsOutputFormat("AutoscalerList", report); printed || err != nil {
		return cmp.Or(err, unreadErr)
	}
	switch {
	case p.watching:
	case unreadErr != nil:
		return unreadErr
	case len(report.Items) > 0:
		p.warnUnreadResources(report.Unread)
	}
	if len(report.Items) == 0 && !p.watching {
		fmt.Fprintf(p.errs, "There is no autoscaler in %s.\n", output.DescribeScope(c.namespace))
		return nil
	}
	if p.output == "name" {
		for _, row := range report.Items {
			fmt.Fprintln(p.out, "horizontalpodautoscaler.autoscaling/"+plaintext.Clean(row.Name))
		}
		return nil
	}
	var table, notes strings.Builder // written at once, so that a terminal does not flicker
	if err := report.Print(&table, c.now(), p.newTableOptionsFromFlags()); err != nil {
		return err
	}
	if !p.watching {
		return p.writePlugin(table.String())
	}
	for _, u := range report.Unread { // below the table: a line beside it would be cleared
		fmt.Fprintf(&notes, "did not read %s: %s\n", u.Resource, plaintext.Clean(u.Reason))
	}
	return p.writePlugin(drawScreen(p.out, table.String(), notes.String()))
}

func (p *pluginProgram) writePlugin(text string) error {
	_, err := io.WriteString(p.out, text)
	return err
}
