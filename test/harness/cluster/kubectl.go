//go:build unix

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs kubectl as the cluster's administrator and returns its standard output. An error holds what it wrote to
// standard error. To act as somebody else, give --kubeconfig.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return c.execKubectl(ctx, nil, args)
}

// Apply runs `kubectl apply` on a manifest: YAML or JSON, any number of objects.
func (c *Cluster) Apply(ctx context.Context, manifest string) error {
	_, err := c.execKubectl(ctx, strings.NewReader(manifest), []string{"apply", "-f", "-"})
	return err
}

func (c *Cluster) execKubectl(ctx context.Context, stdin io.Reader, args []string) ([]byte, error) {
	cmd := c.KubectlCommand(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// KubectlCommand is kubectl as the cluster's administrator, not started: for what runs longer or wants streams, such as
// port-forward.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.state.Programs.Bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), c.Env()...)
	return cmd
}

// Env are the settings, NAME=VALUE, with which kubectl, and whatever reads KUBECONFIG, finds the cluster. kubectl's cache of
// what the API offers is the cluster's own: the next one may have its address.
func (c *Cluster) Env() []string {
	return []string{
		"KUBECONFIG=" + c.Kubeconfig(),
		"KUBECACHEDIR=" + c.clusterFilePath("kubectl-cache"),
		"PATH=" + c.state.Programs.Bin + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
}
