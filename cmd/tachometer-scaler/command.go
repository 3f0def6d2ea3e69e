// The root command, its flags and its help.

package main

import (
	"io"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

const longHelp = `The scaler raises a workload before the load comes: for a person, a schedule or an event. It opens the gate
for traffic after every new pod has passed its verification, and restores the original numbers at the end.
It works with the HorizontalPodAutoscaler, since it raises the autoscaler's own minReplicas.

` + exitCodesHelp

// exitCodesHelp ends the help of every command that changes a cluster.
const exitCodesHelp = `Exit codes:
  0  success
  1  failed, and no change is left: rejected, or rolled back
  2  wrong command line or verification file; the cluster is unchanged
  3  failed or interrupted, and NOT rolled back`

// readExitCodesHelp ends the help of every command that only reads.
const readExitCodesHelp = `Exit codes:
  0  success
  1  failed, or faults in the configuration file
  2  wrong command line, or a file that cannot be read`

// globalFlags holds the flags of every command.
type globalFlags struct {
	kubeconfig, context, namespace string
	output                         string
	out                            io.Writer
	commandStarted                 bool // cobra accepted command and flags
}

// newScalerRootCommand returns the root command of the scaler.
func newScalerRootCommand(g *globalFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tachometer-scaler", Long: longHelp, Version: version.String(),
		SilenceUsage:  true, // an error is easier to see without two screens of flags below it
		SilenceErrors: true, // main prints it
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file`; empty: $KUBECONFIG, then ~/.kube/config, then the pod's service account")
	flags.StringVar(&g.context, "context", "", "`name` of the kubeconfig context")
	flags.StringVarP(&g.namespace, "namespace", "n", "", "`namespace` of the workload; empty: the namespace of the context")
	flags.StringVarP(&g.output, "output", "o", "auto", "output `format`: text, json (JSON lines with timestamps) or auto (text on a terminal, else json)")
	cmd.AddCommand(newScalerSetCommand(g), newScalerReleaseCommand(g), newScalerStatusCommand(g), newScalerVerifyCommand(g), newScalerScheduleCommand(g), newScalerRunCommand(g))
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetOut(g.out)
	for _, sub := range cmd.Commands() {
		g.wrapScalerCommands(sub)
	}
	return cmd
}

// wrapScalerCommands makes each command record its start and discard the logs of packages, since a command prints its own progress. Only the
// controller logs.
func (g *globalFlags) wrapScalerCommands(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		g.wrapScalerCommands(sub)
	}
	do := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		g.commandStarted = true
		if cmd.Name() != "run" {
			cmd.SetContext(klog.NewContext(cmd.Context(), logr.Discard()))
		}
		return do(cmd, args)
	}
}

// requireScalerCommandArg returns a check for exactly one argument.
func requireScalerCommandArg(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return newScalerCommandUsageError("want one argument, %s; got %d", name, len(args))
		}
		return nil
	}
}

// rejectScalerCommandArgs rejects all arguments.
func rejectScalerCommandArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return newScalerCommandUsageError("unexpected argument %q", args[0])
	}
	return nil
}
