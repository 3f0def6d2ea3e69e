// The command version: the versions of the plugin, the adapter and Kubernetes.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
		Args:  rejectArgs,
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
	report, unread := versionReport{Client: version.String()}, error(nil)
	var c *pluginConnection
	if !client {
		if c, unread = p.connectKubeconfigCluster(); unread == nil {
			report.Kubernetes, report.Adapter, unread = c.readServerVersions(ctx)
		}
	}
	if printed, err := p.printAsOutputFormat("Version", report); printed || err != nil {
		return cmp.Or(err, unread)
	}
	fmt.Fprintln(p.out, "Client Version: "+report.Client)
	if c != nil {
		fmt.Fprintln(p.out, "Kubernetes Version: "+plaintext.Clean(report.Kubernetes))
		fmt.Fprintln(p.out, "Adapter Image: "+plaintext.Clean(strings.Join(report.Adapter, ", ")))
	}
	return unread
}

// unknownVersion begins the text of a version that could not be read.
const unknownVersion = "unknown"

// readServerVersions returns kube-apiserver's version and the images of the adapter, or why they could not be read. The error is errFound
// without an answer, or if kube-apiserver does not know the user.
func (c *pluginConnection) readServerVersions(ctx context.Context) (kubernetes string, images []string, unread error) {
	v, err := c.client.Discovery().ServerVersion()
	switch {
	case err == nil:
		kubernetes = v.GitVersion
	case apierrors.IsUnauthorized(err) || !errors.As(err, new(apierrors.APIStatus)):
		kubernetes, unread = unknownVersion+": "+err.Error(), errFound
	default:
		kubernetes = unknownVersion + ": " + err.Error()
	}
	list, err := c.client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-adapter"})
	switch {
	case err != nil:
		return kubernetes, []string{unknownVersion + ": " + err.Error()}, unread
	case len(list.Items) == 0:
		return kubernetes, []string{"not installed"}, unread
	}
	for i := range list.Items {
		images = append(images, adapterImageOf(&list.Items[i]))
	}
	return kubernetes, images, unread
}

func adapterImageOf(d *appsv1.Deployment) string {
	for _, c := range d.Spec.Template.Spec.Containers {
		return c.Image
	}
	return "no container"
}
