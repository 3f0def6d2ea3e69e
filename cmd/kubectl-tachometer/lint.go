package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/lint"
)

const lintHelp = `Judge autoscalers together with their workloads, probes and disruption budgets. -f reads manifests and needs no cluster; --all
reads a cluster: every namespace, or one with -n.

docs/lint.md has a paragraph for each rule. A warning leaves the exit code 0.

` + exitCodesHelp

func newPluginLintCommand(p *pluginProgram) *cobra.Command {
	var files []string
	all := false
	cmd := &cobra.Command{
		Use: "lint (-f FILE | --all)", Short: "Find faults in autoscalers and around them", Long: lintHelp,
		Example: `  kubectl tachometer lint -f manifests/
  kustomize build overlays/prod | kubectl tachometer lint -f -
  kubectl tachometer lint --all -o wide`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (len(files) > 0) == all {
				return usageError{errors.New("give either -f FILE or --all")}
			}
			return p.runPluginLint(cmd.Context(), files)
		},
	}
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "manifest `file` or folder; - for standard input")
	cmd.Flags().BoolVar(&all, "all", false, "the autoscalers of the cluster")
	bindPluginOutputFlags(p, cmd.Flags(), "wide", "json", "yaml")
	return cmd
}

func (p *pluginProgram) runPluginLint(ctx context.Context, files []string) error {
	if err := p.checkPluginOutput("wide", "json", "yaml"); err != nil {
		return err
	}
	objects, readErr := p.readLintedObjects(ctx, files)
	if objects == nil {
		return readErr
	}
	report := lint.Run(objects, len(files) > 0)
	p.warnPluginUnread(report.Unread)
	if report.HPAs == 0 && len(files) > 0 {
		return cmp.Or(readErr, fmt.Errorf("no HorizontalPodAutoscaler in %s", strings.Join(files, ", ")))
	}
	printed, err := p.printPluginObject("LintReport", report)
	if err == nil && !printed {
		err = report.Print(p.out, p.output == "wide", p.noHeaders)
	}
	if err == nil && report.Faulty() {
		err = errFound
	}
	return cmp.Or(readErr, err) // the readable files are checked all the same
}

// readLintedObjects reads the files, or the cluster if there are none. Files that cannot be read are an error beside the objects of the others.
func (p *pluginProgram) readLintedObjects(ctx context.Context, files []string) (*inventory.Inventory, error) {
	space := p.overrides.Context.Namespace
	if len(files) > 0 {
		return inventory.ReadFiles(files, p.in, cmp.Or(space, metav1.NamespaceDefault))
	}
	p.allSpaces = space == ""
	c, err := p.connectPluginCluster()
	if err != nil {
		return nil, err
	}
	objects := inventory.ReadCluster(ctx, c.client, c.namespace)
	objects.AddScaleTargets(ctx, c.metricReader())
	return objects, nil
}
