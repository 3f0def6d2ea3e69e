// The root command, its flags and its help.

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

const longHelp = `The scaler raises a workload before the load comes: for a person, a schedule or an event. It opens the gate
for traffic after every new pod has passed its verification, and restores the original numbers at the end.
It works with the HorizontalPodAutoscaler, since it raises the autoscaler's own minReplicas.

` + command.ExitCodesHelp

// scalerFlags holds the flags of every command.
type scalerFlags struct {
	command.Program
	kubeconfig, context, namespace, as string
	commandStarted                     bool // cobra accepted command and flags
}

// newScalerFlags returns the flags, for a program with these outputs.
func newScalerFlags(out, errs io.Writer) *scalerFlags {
	g := &scalerFlags{}
	g.Program = command.Program{Name: "tachometer-scaler", Out: out, Errs: errs, LoadConfig: g.loadKubeconfig}
	return g
}

func newScalerRootCommand(g *scalerFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: g.Name, Long: longHelp, Args: rejectUnknownCommand, RunE: showVersionOrHelp,
		SilenceUsage:  true, // an error is easier to see without two screens of flags below it
		SilenceErrors: true, // main prints it
	}
	// Not cobra's own flag: its template would keep every method of every type in the program, 27 MB.
	cmd.Flags().BoolP("version", "v", false, "version for "+g.Name)
	flags := cmd.PersistentFlags()
	flags.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file`; empty: $KUBECONFIG, then ~/.kube/config, then the pod's service account")
	flags.StringVar(&g.context, "context", "", "`name` of the kubeconfig context")
	flags.StringVarP(&g.namespace, "namespace", "n", "", "`namespace` of the workload; empty: the namespace of the context")
	flags.StringVar(&g.as, "as", "", "`user` to act as, such as system:serviceaccount:tachometer:tachometer-scaler")
	g.AddOutputFlag(flags)
	cmd.AddCommand(g.NewHoldCommands()...)
	cmd.AddCommand(g.NewOtherCommands()...)
	cmd.AddCommand(newScalerScheduleCommand(g), newScalerCheckCommand(g), newScalerRunCommand(g))
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return command.WithExitCode(command.DescribeFlagError(cmd, err), command.ExitUsage)
	})
	cmd.SetOut(g.Out)
	cmd.SetErr(g.Errs)
	command.RejectUnknownShells(cmd)
	g.markFlagsAccepted(cmd)
	return cmd
}

// rejectUnknownCommand rejects an argument that names no command.
func rejectUnknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return command.UnknownCommandError(cmd, cmd.CommandPath(), args[0])
	}
	return nil
}

// showVersionOrHelp prints the version with --version, and the help without it.
func showVersionOrHelp(cmd *cobra.Command, _ []string) error {
	if asked, err := cmd.Flags().GetBool("version"); err != nil || !asked {
		return errors.Join(err, cmd.Help())
	}
	fmt.Fprintln(cmd.OutOrStdout(), version.String())
	return nil
}

// markFlagsAccepted makes each command record that cobra accepted it and its flags.
func (g *scalerFlags) markFlagsAccepted(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		g.markFlagsAccepted(sub)
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			g.commandStarted = true
			return run(cmd, args)
		}
	}
}

// loadKubeconfig returns the configuration of the cluster, and the namespace.
func (g *scalerFlags) loadKubeconfig() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = g.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: g.context}
	overrides.Context.Namespace = g.namespace
	overrides.AuthInfo.Impersonate = g.as
	config, namespace, err := kube.ReadKubeconfig(clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides))
	if err != nil {
		return nil, "", err
	}
	config.UserAgent = "tachometer-scaler/" + version.String()
	return config, namespace, nil
}
