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

func newKubectlExplainCommand(p *pluginProgram) *cobra.Command {
	since := time.Duration(0)
	cmd := &cobra.Command{
		Use: "explain hpa/NAME", Short: "Say why an autoscaler has its number of pods", Long: explainHelp,
		Example: `  kubectl tachometer explain hpa/web -n shop
  kubectl tachometer explain hpa/web -n shop --since 1h`,
		Args: requireOneHPAArg, ValidArgsFunction: p.completeHPANames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("since") {
				return p.printRecordedDecisions(cmd.Context(), args[0], since)
			}
			return p.printHPAExplanation(cmd.Context(), args[0])
		},
	}
	bindRecordSinceFlag(&since, cmd)
	bindKubectlOutputFlags(p, cmd, "json", "yaml", "sentence")
	return cmd
}

func (p *pluginProgram) printHPAExplanation(ctx context.Context, arg string) error {
	if err := p.checkOutputFormat("json", "yaml", "sentence"); err != nil {
		return err
	}
	name, err := parseHPAArg(arg)
	if err != nil {
		return err
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	objects := inventory.ReadScaled(ctx, c.client, c.namespace)
	objects.AddScaleTargets(ctx, c.metricReader())
	for i := range objects.HPAs {
		if objects.HPAs[i].Name != name {
			continue
		}
		recorded := c.readHPARecord(ctx, name) // may wait for replicas: before the time of the values
		e := explain.Live(ctx, &objects.HPAs[i], explain.Options{Objects: objects, Metrics: c.metricReader(), Now: c.now(), Recorded: recorded})
		if printed, err := p.printAsOutputFormat("Explanation", e); printed || err != nil {
			return err
		}
		if p.output == "sentence" {
			_, err := fmt.Fprintln(p.out, plaintext.Clean(e.Sentence))
			return err
		}
		return e.Print(p.out, p.newTableOptionsFromFlags())
	}
	if err := inventory.AutoscalerError(objects.Unread); err != nil {
		return err
	}
	return fmt.Errorf("there is no hpa/%s in namespace %s", name, c.namespace)
}

// readHPARecord returns the adapter's record of an autoscaler, or the reason that there is none.
func (c *pluginConnection) readHPARecord(ctx context.Context, name string) explain.Recorded {
	e, err := records.ReadExplanation(ctx, c.reader, c.namespace, name)
	if err != nil {
		return explain.Recorded{Missing: err.Error()}
	}
	return explain.Recorded{Explanation: e}
}

// readDecisionLog returns the recorded decisions of an autoscaler.
func (p *pluginProgram) readDecisionLog(ctx context.Context, name string, since time.Duration) (*explainapi.DecisionLog, error) {
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return nil, err
	}
	return records.ReadLog(ctx, c.reader, c.namespace, name, since)
}

// printRecordedDecisions prints the recorded decisions of an autoscaler.
func (p *pluginProgram) printRecordedDecisions(ctx context.Context, arg string, since time.Duration) error {
	if err := errors.Join(p.checkOutputFormat("json", "yaml"), checkRecordSinceFlag(since)); err != nil {
		return err
	}
	name, err := parseHPAArg(arg)
	if err != nil {
		return err
	}
	log, err := p.readDecisionLog(ctx, name, since)
	if err != nil {
		return err
	}
	decisions := explain.NewLog(log)
	if printed, err := p.printAsOutputFormat("DecisionLog", decisions); printed || err != nil {
		return err
	}
	return decisions.Print(p.out, p.newTableOptionsFromFlags())
}
