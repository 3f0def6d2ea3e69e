// The command doctor: the first broken part between pods and autoscalers.

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/doctor"
)

const doctorHelp = `Check the chain from autoscalers to their metrics, hop by hop, and name the first hop that is broken, with the command that
mends it: APIServices, Service, certificate, pods, endpoints, rights, discovery, clocks, the HPA controller's period, then each
autoscaler's target, pods, NetworkPolicies, metrics, conditions and disruption budgets.

To check the certificate you need the right to create pods/portforward, to check the rights of the HPA controller the right to create
subjectaccessreviews.

` + exitCodesHelp

func newKubectlDoctorCommand(p *pluginProgram) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [hpa/NAME]",
		Short: "Find the first thing that is broken between autoscalers and their metrics",
		Long:  doctorHelp,
		Example: `  kubectl tachometer doctor -A
  kubectl tachometer doctor hpa/web -n shop`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: p.completeHPANames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.runDoctorChecks(cmd.Context(), cmd.Flags(), args)
		},
	}
	bindKubectlNamespaceFlag(p, cmd.Flags())
	bindKubectlOutputFlags(p, cmd, "json", "yaml")
	return cmd
}

func (p *pluginProgram) runDoctorChecks(ctx context.Context, set *pflag.FlagSet, args []string) error {
	if err := p.checkOutputFormat("json", "yaml"); err != nil {
		return err
	}
	name := ""
	if len(args) > 0 {
		var err error
		if name, err = parseHPAArg(args[0]); err != nil {
			return err
		}
		if err := p.rejectNameInAllNamespaces(name); err != nil {
			return err
		}
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	report := doctor.Run(ctx, doctor.Options{
		Client: c.client, Metrics: c.metricReader(), Certificates: c.certificates, Controller: c.controller, Namespace: c.namespace, HPA: name, Now: c.now,
		Flags: givenConnectionFlags(set),
	})
	if ctx.Err() != nil { // reads that ended early prove nothing
		return errors.New("interrupted before the last check")
	}
	printed, err := p.printAsOutputFormat("DoctorReport", report)
	if err == nil && !printed {
		err = report.Print(p.out, p.newTableOptionsFromFlags())
	}
	if err == nil && report.Broken() {
		err = errFound
	}
	return err
}
