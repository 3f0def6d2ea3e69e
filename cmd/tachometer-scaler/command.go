package main

import (
	"io"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

const longHelp = `The scaler does what a HorizontalPodAutoscaler cannot: it raises a target before the load comes, for a person, a
schedule or an event, lets the traffic in when every new pod has answered as it should, and gives back what was there.
It works with the HorizontalPodAutoscaler: the floor is the autoscaler's own minReplicas.

Exit codes: 0 done; 1 failed, and nothing is left of it; 2 wrong use; 3 failed or interrupted, and NOT rolled back.`

// globalFlags are the flags of every command.
type globalFlags struct {
	kubeconfig, context, namespace string
	output                         string
	out                            io.Writer
	commandStarted                 bool // a command was found and its flags are right
}

// newRootCommand returns the command line of the scaler.
func newRootCommand(g *globalFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "scaler", Long: longHelp, Version: version.String(),
		SilenceUsage:  true, // a fault is easier to see without two screens of flags below it
		SilenceErrors: true, // main prints it
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file`; empty: KUBECONFIG, then ~/.kube/config, then the pod's own service account")
	flags.StringVar(&g.context, "context", "", "`name` of the context of the kubeconfig")
	flags.StringVarP(&g.namespace, "namespace", "n", "", "`namespace` of the target; empty: that of the context")
	flags.StringVarP(&g.output, "output", "o", "auto", "auto, text or json: lines for people, or JSON lines with timestamps; auto is text on a terminal")
	cmd.AddCommand(newSetCommand(g), newReleaseCommand(g), newStatusCommand(g), newVerifyCommand(g), newScheduleCommand(g), newRunCommand(g))
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetOut(g.out)
	for _, sub := range cmd.Commands() {
		g.wrapCommands(sub)
	}
	return cmd
}

// wrapCommands notes that a command began, and keeps the log of the packages below out of a person's way: a command says itself what
// it does. The controller logs.
func (g *globalFlags) wrapCommands(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		g.wrapCommands(sub)
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

// requireOneArg is the one argument that a command takes.
func requireOneArg(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return newUsageError("want one argument, %s; got %d", name, len(args))
		}
		return nil
	}
}

// rejectArgs is for commands without arguments.
func rejectArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return newUsageError("unexpected argument %q", args[0])
	}
	return nil
}
