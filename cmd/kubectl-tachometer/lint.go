// The command lint: faults of autoscalers in files or in the cluster.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/lint"
)

const lintHelp = `Judge autoscalers together with their workloads, probes and disruption budgets. -f reads manifests and needs no cluster: files,
patterns of files, folders, https URLs and standard input; render kustomizations and charts first. An AdapterConfig among them, also in
a ConfigMap, is judged with their metrics. --all reads a cluster: every namespace, or one with -n.

docs/lint.md has the reason and the fix of each rule. A warning leaves the exit code 0.

` + exitCodesHelp

func newKubectlLintCommand(p *pluginProgram) *cobra.Command {
	var files []string
	all, isRecursive := false, true
	cmd := &cobra.Command{
		Use: "lint (-f FILE | --all)", Short: "Find faults in autoscalers and around them", Long: lintHelp,
		Example: `  kubectl tachometer lint -f manifests/
  kubectl kustomize overlays/prod | kubectl tachometer lint -f -
  kubectl tachometer lint --all -o wide`,
		Args: rejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (len(files) > 0) == all {
				return usageError{errors.New("give either -f FILE or --all")}
			}
			return p.lintFilesOrCluster(cmd.Context(), files, isRecursive)
		},
	}
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "manifest `file`, folder or https URL; - for standard input; may be repeated")
	cmd.Flags().BoolVarP(&isRecursive, "recursive", "R", true, "read the folders in a folder too")
	cmd.Flags().BoolVar(&all, "all", false, "the autoscalers of the cluster")
	bindKubectlOutputFlags(p, cmd, "wide", "json", "yaml")
	return cmd
}

func (p *pluginProgram) lintFilesOrCluster(ctx context.Context, files []string, isRecursive bool) error {
	if err := p.checkOutputFormat("wide", "json", "yaml"); err != nil {
		return err
	}
	objects, readErr := p.readLintedObjects(ctx, files, isRecursive)
	if objects == nil {
		return readErr
	}
	report := lint.Run(objects, len(files) > 0)
	if err := inventory.AutoscalerError(report.Unread); err != nil {
		return err
	}
	p.warnUnreadResources(report.Unread)
	if report.HPAs == 0 && len(files) > 0 {
		return cmp.Or(readErr, fmt.Errorf("no HorizontalPodAutoscaler with a scaleTargetRef in %s", describeLintedFiles(files)))
	}
	printed, err := p.printAsOutputFormat("LintReport", report)
	if err == nil && !printed {
		err = report.Print(p.out, p.newTableOptionsFromFlags())
	}
	if err == nil && report.Faulty() {
		err = errFound
	}
	return cmp.Or(readErr, err) // the readable files are checked all the same
}

// readLintedObjects reads the files, or the cluster if there are none. Files that cannot be read are an error beside the objects of the others.
func (p *pluginProgram) readLintedObjects(ctx context.Context, files []string, isRecursive bool) (*inventory.Inventory, error) {
	space := p.overrides.Context.Namespace
	if len(files) > 0 {
		return inventory.ReadFiles(ctx, files, inventory.FileOptions{In: p.in, Namespace: cmp.Or(space, metav1.NamespaceDefault), IsFlat: !isRecursive})
	}
	p.allSpaces = space == ""
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return nil, err
	}
	objects := inventory.ReadCluster(ctx, c.client, c.namespace)
	objects.AddScaleTargets(ctx, c.metricReader())
	objects.AddVerticalAutoscalers(ctx, c.reader, c.namespace)
	return objects, nil
}

// describeLintedFiles names the files of the command line.
func describeLintedFiles(files []string) string {
	names := slices.Clone(files)
	if i := slices.Index(names, "-"); i >= 0 {
		names[i] = "standard input"
	}
	return strings.Join(names, ", ")
}
