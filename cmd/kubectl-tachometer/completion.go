// Completion of names, from the kubeconfig and from the cluster.

package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// registerFlagCompletions completes the values of connection flags. Registering fails for an unknown flag alone.
func (p *pluginProgram) registerFlagCompletions(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc(clientcmd.FlagNamespace, p.completeNamespaceNames)
	for name, list := range map[string]func(c clientcmdapi.Config) []string{
		clientcmd.FlagContext:      func(c clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.Contexts)) },
		clientcmd.FlagClusterName:  func(c clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.Clusters)) },
		clientcmd.FlagAuthInfoName: func(c clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.AuthInfos)) },
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			config, err := p.loadUserKubeconfig().RawConfig()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return list(config), cobra.ShellCompDirectiveNoFileComp
		})
	}
}

// maxCompletedNames bounds the names of a completion: a person does not read more.
const maxCompletedNames = 500

// completeNamespaceNames lists the namespaces of the cluster.
func (p *pluginProgram) completeNamespaceNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := c.client.CoreV1().Namespaces().List(cmd.Context(), metav1.ListOptions{Limit: maxCompletedNames})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeHPANames completes hpa/NAME, and the NAME after hpa, from the cluster.
func (p *pluginProgram) completeHPANames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	before := "hpa/"
	if len(args) == 1 && !strings.Contains(args[0], "/") {
		if _, err := parseHPAArg(args[0] + "/x"); err == nil {
			args, before = nil, ""
		}
	}
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(c.namespace).List(cmd.Context(), metav1.ListOptions{Limit: maxCompletedNames})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, h := range list.Items {
		names = append(names, before+h.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completePodsAndWorkloads completes deployment/NAME, statefulset/NAME and the names of pods, as far as they can be read.
func (p *pluginProgram) completePodsAndWorkloads(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return c.listCompletedPodsAndWorkloads(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
}

func (c *pluginConnection) listCompletedPodsAndWorkloads(ctx context.Context) []string {
	var names []string
	if list, err := c.client.AppsV1().Deployments(c.namespace).List(ctx, metav1.ListOptions{Limit: maxCompletedNames}); err == nil {
		for _, d := range list.Items {
			names = append(names, "deployment/"+d.Name)
		}
	}
	if list, err := c.client.AppsV1().StatefulSets(c.namespace).List(ctx, metav1.ListOptions{Limit: maxCompletedNames}); err == nil {
		for _, s := range list.Items {
			names = append(names, "statefulset/"+s.Name)
		}
	}
	if list, err := c.client.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{Limit: maxCompletedNames}); err == nil {
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
	}
	return names
}
