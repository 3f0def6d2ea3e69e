// The command try: a rule that is not deployed, evaluated by the adapter.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/try"
)

var tryHelp = `Evaluate a rule that is not deployed. The adapter checks the file as --check-config does, and computes the metric on the pods of the
namespace. The first answer for metrics that no rule reads so far takes up to two scrapes.

The file is an adapter configuration with the rule. Only its rules count; intervals are those of the running adapter.
With --hpa it shows what that autoscaler would ask for. Nothing is deployed, and nothing is kept.

It needs the right to create ` + explainapi.RuleReviews + "." + explainapi.GroupVersion.Group + `, which the ClusterRole tachometer-rule-reviewer has.

` + exitCodesHelp

// tryFlags are the flags of the command.
type tryFlags struct{ file, scaler, metric, selector string }

func newKubectlTryCommand(p *pluginProgram) *cobra.Command {
	var f tryFlags
	cmd := &cobra.Command{
		Use: "try -f FILE [--hpa FILE]", Short: "Evaluate a rule that is not deployed", Long: tryHelp,
		Example: `  kubectl tachometer try -f rule.yaml -n shop -l app=web
  kubectl tachometer try -f rule.yaml -n shop --hpa hpa.yaml`,
		Args: rejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.tryRuleFile(cmd.Context(), f) },
	}
	cmd.Flags().StringVarP(&f.file, "filename", "f", "", "`file` with the adapter configuration that has the rule; - is standard input")
	cmd.Flags().StringVar(&f.scaler, "hpa", "", "`file` with the HorizontalPodAutoscaler that reads the metric")
	cmd.Flags().StringVar(&f.metric, "metric", "", "`name` of the metric; empty: the only rule with a name")
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "label `selector` of the pods; empty: all pods of the namespace")
	bindKubectlOutputFlags(p, cmd, "json", "yaml")
	return cmd
}

func (p *pluginProgram) tryRuleFile(ctx context.Context, f tryFlags) error {
	if err := errors.Join(p.checkOutputFormat("json", "yaml"), f.checkTryFlags()); err != nil {
		return err
	}
	config, err := p.readFileOrStdin(f.file)
	if err != nil {
		return err
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	opts := try.Options{Reviewer: try.RESTReviewer{Creator: c.creator}, Namespace: c.namespace, File: f.file, Config: config, Now: c.now}
	var trial *try.RuleTrial
	if f.scaler == "" {
		trial, err = try.Review(ctx, explainapi.RuleReviewSpec{Metric: f.metric, Selector: f.selector}, opts)
	} else {
		trial, err = p.tryRuleForHPAFile(ctx, c, f.scaler, opts)
	}
	if err != nil {
		return err
	}
	printed, err := p.printAsOutputFormat("Trial", trial)
	if err == nil && !printed {
		err = trial.Print(p.out, p.newTableOptionsFromFlags())
	}
	if err == nil && trial.Broken() {
		err = errFound
	}
	return err
}

func (f tryFlags) checkTryFlags() error {
	switch {
	case f.file == "":
		return usageError{errors.New("give the file of the rule: -f FILE")}
	case f.scaler != "" && (f.metric != "" || f.selector != ""):
		return usageError{errors.New("give either --hpa, which names metrics and pods, or --metric and --selector")}
	case f.scaler == "-" && f.file == "-":
		return usageError{errors.New("standard input is one file: give -f or --hpa a name")}
	}
	return nil
}

// readFileOrStdin returns the text of a file; - is standard input.
func (p *pluginProgram) readFileOrStdin(name string) (string, error) {
	if name == "-" {
		data, err := io.ReadAll(p.in)
		return string(data), err
	}
	data, err := os.ReadFile(name)
	return string(data), err
}

// tryRuleForHPAFile tries the rule for the autoscaler of a file.
func (p *pluginProgram) tryRuleForHPAFile(ctx context.Context, c *pluginConnection, file string, opts try.Options) (*try.RuleTrial, error) {
	manifests, err := inventory.ReadFiles(ctx, []string{file}, inventory.FileOptions{In: p.in, Namespace: c.namespace})
	if err != nil {
		return nil, err
	}
	scaler, err := findTriedHPA(manifests, file, c.namespace)
	if err != nil {
		return nil, err
	}
	objects := inventory.ReadScaled(ctx, c.client, c.namespace)
	live := objects.HPAs
	objects.HPAs = manifests.HPAs
	objects.AddScaleTargets(ctx, c.metricReader())
	objects.HPAs = live
	return try.ReviewFor(ctx, scaler, objects, c.metricReader(), opts)
}

// findTriedHPA returns the only autoscaler of a file.
func findTriedHPA(manifests *inventory.Inventory, file, namespace string) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	found := manifests.HPAs
	switch {
	case len(found) != 1:
		return nil, fmt.Errorf("%s has %d HorizontalPodAutoscalers; give a file with one", file, len(found))
	case found[0].Namespace != namespace:
		return nil, fmt.Errorf("the HorizontalPodAutoscaler of %s is of namespace %s; add -n %s", file, found[0].Namespace, found[0].Namespace)
	}
	return &found[0], validateHPAFile(file, manifests, &found[0])
}

// validateHPAFile returns an error for an autoscaler of a file that kube-apiserver would reject, or of which it would ignore a field.
func validateHPAFile(file string, manifests *inventory.Inventory, scaler *autoscalingv2.HorizontalPodAutoscaler) error {
	err := inventory.CheckMetrics(scaler)
	if least, most := inventory.MinReplicasOf(scaler), scaler.Spec.MaxReplicas; least < 0 || most < 1 || least > most {
		err = errors.Join(err, fmt.Errorf("hpa/%s: minReplicas is %d and maxReplicas %d; set maxReplicas to minReplicas or more, and to 1 or more", scaler.Name, least, most))
	}
	for _, unknown := range manifests.UnknownFields[scaler.Namespace+"/"+scaler.Name] {
		err = errors.Join(err, fmt.Errorf("hpa/%s: %s", scaler.Name, unknown))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
