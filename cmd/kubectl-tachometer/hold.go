// The command hold: the scaler's own commands on Holds, with the user's rights.

package main

import (
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// newKubectlHoldCommand returns hold: the commands of tachometer-scaler on holds, with the rights of the user.
func newKubectlHoldCommand(p *pluginProgram) *cobra.Command {
	program := &command.Program{Name: "kubectl tachometer hold", Out: p.out, Errs: p.errs, LoadConfig: p.loadHoldClientConfig}
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Show and change the holds of workloads: set, release, status, pause, resume, approve",
		Long: `Show and change holds: requests to keep a workload at a number of replicas. These are the commands of tachometer-scaler.

` + command.ExitCodesHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return command.UnknownCommandError(cmd, program.Name, args[0])
			}
			return cmd.Help()
		},
	}
	program.AddOutputFlag(cmd.PersistentFlags())
	cmd.AddCommand(program.NewHoldCommands()...)
	return cmd
}

// loadHoldClientConfig returns the configuration of the cluster, and the namespace.
func (p *pluginProgram) loadHoldClientConfig() (*rest.Config, string, error) {
	config, namespace, err := kube.ReadKubeconfig(p.loadUserKubeconfig())
	if err != nil {
		return nil, "", err
	}
	config.UserAgent = "kubectl-tachometer/" + version.String()
	return config, namespace, nil
}

// loadUserKubeconfig returns the kubeconfig with the flags of the command line.
func (p *pluginProgram) loadUserKubeconfig() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = p.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &p.overrides)
}
