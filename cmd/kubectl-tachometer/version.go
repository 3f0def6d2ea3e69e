// The command version: the versions of the plugin, the adapter and Kubernetes.

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// versionReport is the output of `version`. An unreadable part has its reason instead.
type versionReport struct {
	Client     string   `json:"client"`
	Kubernetes string   `json:"kubernetes,omitempty"`
	Adapter    []string `json:"adapter,omitempty"` // images
}

func newKubectlVersionCommand(p *pluginProgram) *cobra.Command {
	client := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the plugin, of Kubernetes and of the adapter",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.printClientAndServerVersions(cmd.Context(), client)
		},
	}
	cmd.Flags().BoolVar(&client, "client", false, "only the plugin's own version, without a cluster")
	bindKubectlOutputFlags(p, cmd, "json", "yaml")
	return cmd
}

func (p *pluginProgram) printClientAndServerVersions(ctx context.Context, client bool) error {
	if err := p.checkOutputFormat("json", "yaml"); err != nil {
		return err
	}
	report := versionReport{Client: version.String()}
	if !client {
		c, err := p.connectKubeconfigCluster()
		if err != nil {
			return err
		}
		report.Kubernetes, report.Adapter = c.readServerVersions(ctx)
	}
	if printed, err := p.printAsOutputFormat("Version", report); printed || err != nil {
		return err
	}
	fmt.Fprintln(p.out, "Client Version: "+report.Client)
	if !client {
		fmt.Fprintln(p.out, "Kubernetes Version: "+plaintext.Clean(report.Kubernetes))
		fmt.Fprintln(p.out, "Adapter Image: "+plaintext.Clean(strings.Join(report.Adapter, ", ")))
	}
	return nil
}

// readServerVersions returns kube-apiserver's version and the images of the adapter, or why they could not be read.
func (c *pluginConnection) readServerVersions(ctx context.Context) (kubernetes string, images []string) {
	kubernetes = "unknown"
	if v, err := c.client.Discovery().ServerVersion(); err == nil {
		kubernetes = v.GitVersion
	} else {
		kubernetes += ": " + err.Error()
	}
	list, err := c.client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-adapter"})
	switch {
	case err != nil:
		return kubernetes, []string{"unknown: " + err.Error()}
	case len(list.Items) == 0:
		return kubernetes, []string{"not installed"}
	}
	for i := range list.Items {
		images = append(images, adapterImageOf(&list.Items[i]))
	}
	return kubernetes, images
}

func adapterImageOf(d *appsv1.Deployment) string {
	for _, c := range d.Spec.Template.Spec.Containers {
		return c.Image
	}
	return "no container"
}
