// The command budget: how stale a metric may be before autoscalers act on it too late.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/budget"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

const budgetHelp = `Show how long autoscalers take from a change of load to a pod that serves, stage by stage, and name the longest stage.
The times are from the adapter's records.`

func newKubectlBudgetCommand(p *pluginProgram) *cobra.Command {
	since := time.Hour
	cmd := &cobra.Command{
		Use: "budget [hpa/NAME]", Short: "Show the reaction time of autoscalers, stage by stage", Long: budgetHelp,
		Example: `  kubectl tachometer budget -n shop --since 30m`,
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: p.completeHPANames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.printReactionBudgets(cmd.Context(), args, since)
		},
	}
	bindRecordSinceFlag(&since, cmd)
	bindKubectlNamespaceFlag(p, cmd.Flags())
	bindKubectlOutputFlags(p, cmd, "json", "yaml")
	return cmd
}

func (p *pluginProgram) printReactionBudgets(ctx context.Context, args []string, since time.Duration) error {
	if err := errors.Join(p.checkOutputFormat("json", "yaml"), checkRecordSinceFlag(since)); err != nil {
		return err
	}
	var names []string
	for _, arg := range args {
		name, err := parseHPAArg(arg)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	if len(names) > 0 {
		if err := p.rejectNameInAllNamespaces(names[0]); err != nil {
			return err
		}
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	budgets, unread, err := c.measureReactionBudgets(ctx, names, since)
	if err != nil {
		return err
	}
	p.warnUnreadResources(unread)
	for i := range budgets {
		for _, note := range records.ListSourceNotes(budgets[i].Source) {
			fmt.Fprintf(p.errs, "%s/%s: %s\n", plaintext.Clean(budgets[i].Namespace), plaintext.Clean(budgets[i].Name), plaintext.Clean(note))
		}
	}
	if printed, err := p.printAsOutputFormat("Budgets", map[string]any{"items": budgets}); printed || err != nil {
		return err
	}
	if len(budgets) == 0 && len(unread) == 0 {
		fmt.Fprintf(p.errs, "The adapter has no record of an autoscaler in %s.\n", output.DescribeScope(c.namespace))
		return nil
	}
	return budget.Print(p.out, budgets, p.newTableOptionsFromFlags())
}

// measureReactionBudgets returns the budgets of the named autoscalers of the namespace, or of all that the adapter knows there. A record of those
// that cannot be read is an Unread, unless it is the only one.
func (c *pluginConnection) measureReactionBudgets(ctx context.Context, names []string, since time.Duration) ([]budget.Budget, []inventory.Unread, error) {
	type key struct{ namespace, name string }
	var keys []key
	for _, name := range names {
		keys = append(keys, key{c.namespace, name})
	}
	if len(names) == 0 {
		list, err := records.ListExplanations(ctx, c.reader, c.namespace)
		if err != nil {
			return nil, nil, err
		}
		for i := range list.Items {
			keys = append(keys, key{list.Items[i].Namespace, list.Items[i].Name})
		}
	}
	budgets, unread := []budget.Budget{}, []inventory.Unread(nil)
	for _, k := range keys {
		log, err := records.ReadLog(ctx, c.reader, k.namespace, k.name, since)
		switch {
		case err != nil && (len(keys) == 1 || ctx.Err() != nil):
			return nil, nil, err
		case err != nil:
			unread = append(unread, inventory.Unread{Resource: "the record of " + k.namespace + "/" + k.name, Reason: err.Error()})
		default:
			budgets = append(budgets, budget.Measure(log))
		}
	}
	return budgets, unread, nil
}
