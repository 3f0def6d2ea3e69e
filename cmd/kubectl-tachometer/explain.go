// The command explain: why an autoscaler wants its number of pods, now or in the recorded past.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

const explainHelp = `Say in one sentence why an autoscaler has its number of pods, then show the values, the arithmetic, the policies, the windows
and the conditions behind it, and the values at which the number changes.

-o sentence prints the sentence alone. --since prints the decisions of that time instead, each with its cause, as the adapter recorded
them.`

func newPluginExplainCommand(p *pluginProgram) *cobra.Command {
	since := time.Duration(0)
	cmd := &cobra.Command{
		Use: "explain hpa/NAME", Short: "Say why an autoscaler has its number of pods", Long: explainHelp,
		Example: `  kubectl tachometer explain hpa/web -n shop
  kubectl tachometer explain hpa/web -n shop --since 1h`,
		Args: requirePluginHPA, ValidArgsFunction: p.completePluginHPAs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("since") {
				return p.runPluginDecisions(cmd.Context(), args[0], since)
			}
			return p.runPluginExplain(cmd.Context(), args[0])
		},
	}
	bindPluginSinceFlag(&since, cmd)
	bindPluginOutputFlags(p, cmd, "json", "yaml", "sentence")
	return cmd
}

func (p *pluginProgram) runPluginExplain(ctx context.Context, arg string) error {
	if err := p.checkPluginOutput("json", "yaml", "sentence"); err != nil {
		return err
	}
	name, err := parsePluginHPA(arg)
	if err != nil {
		return err
	}
	c, err := p.connectPluginCluster()
	if err != nil {
		return err
	}
	objects := inventory.ReadScaled(ctx, c.client, c.namespace)
	objects.AddScaleTargets(ctx, c.metricReader())
	for i := range objects.HPAs {
		if objects.HPAs[i].Name != name {
			continue
		}
		recorded := c.readPluginRecord(ctx, name) // may wait for replicas: before the time of the values
		e := explain.Live(ctx, &objects.HPAs[i], explain.Options{Objects: objects, Metrics: c.metricReader(), Now: c.now(), Recorded: recorded})
		if printed, err := p.printPluginObject("Explanation", e); printed || err != nil {
			return err
		}
		if p.output == "sentence" {
			_, err := fmt.Fprintln(p.out, plaintext.Clean(e.Sentence))
			return err
		}
		return e.Print(p.out, p.newPluginTableOptions())
	}
	if err := inventory.AutoscalerError(objects.Unread); err != nil {
		return err
	}
	return fmt.Errorf("there is no hpa/%s in namespace %s", name, c.namespace)
}

// readPluginRecord returns the adapter's record of an autoscaler, or the reason that there is none.
func (c *pluginConnection) readPluginRecord(ctx context.Context, name string) explain.Recorded {
	e, err := records.ReadExplanation(ctx, c.reader, c.namespace, name)
	if err != nil {
		return explain.Recorded{Missing: err.Error()}
	}
	return explain.Recorded{Explanation: e}
}

// readPluginLog returns the recorded decisions of an autoscaler.
func (p *pluginProgram) readPluginLog(ctx context.Context, name string, since time.Duration) (*explainapi.DecisionLog, error) {
	c, err := p.connectPluginCluster()
	if err != nil {
		return nil, err
	}
	return records.ReadLog(ctx, c.reader, c.namespace, name, since)
}

// runPluginDecisions prints the recorded decisions of an autoscaler.
func (p *pluginProgram) runPluginDecisions(ctx context.Context, arg string, since time.Duration) error {
	if err := errors.Join(p.checkPluginOutput("json", "yaml"), checkPluginSinceFlag(since)); err != nil {
		return err
	}
	name, err := parsePluginHPA(arg)
	if err != nil {
		return err
	}
	log, err := p.readPluginLog(ctx, name, since)
	if err != nil {
		return err
	}
	decisions := explain.NewLog(log)
	if printed, err := p.printPluginObject("DecisionLog", decisions); printed || err != nil {
		return err
	}
	return decisions.Print(p.out, p.newPluginTableOptions())
}
