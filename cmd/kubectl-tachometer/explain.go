package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

const explainHelp = `Say in one sentence why an autoscaler has its number of pods, then show the values, the arithmetic, the policies, the windows
and the conditions behind it, and the value at which it changes.

-o sentence prints the sentence alone.`

func newPluginExplainCommand(p *pluginProgram) *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain hpa/NAME", Short: "Say why an autoscaler has its number of pods", Long: explainHelp,
		Example: `  kubectl tachometer explain hpa/web -n shop`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: p.completePluginHPAs,
		RunE: func(cmd *cobra.Command, args []string) error { return p.runPluginExplain(cmd.Context(), args[0]) },
	}
	bindPluginOutputFlags(p, cmd.Flags(), "json", "yaml", "sentence")
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
		e := explain.Live(ctx, &objects.HPAs[i], explain.Options{Objects: objects, Metrics: c.metricReader(), Now: c.now()})
		if printed, err := p.printPluginObject("Explanation", e); printed || err != nil {
			return err
		}
		if p.output == "sentence" {
			_, err := fmt.Fprintln(p.out, output.Clean(e.Sentence))
			return err
		}
		return e.Print(p.out, p.noHeaders)
	}
	for _, u := range objects.Unread {
		if strings.HasPrefix(u.Resource, "horizontal") {
			return fmt.Errorf("read %s: %s", u.Resource, u.Reason)
		}
	}
	return fmt.Errorf("there is no hpa/%s in namespace %s", name, c.namespace)
}
