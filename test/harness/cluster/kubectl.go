//go:build unix

// kubectl as administrator.

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

// Kubectl runs kubectl as the cluster's administrator and returns its standard output. An error contains its standard error. For
// another user, pass --kubeconfig.
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

// KubectlCommand returns kubectl as the cluster's administrator, not started: for long commands and for commands with streams, such
// as port-forward.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.state.Programs.Bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), c.Env()...)
	return cmd
}

// Env returns the settings, NAME=VALUE, with which kubectl and other readers of KUBECONFIG find the cluster. kubectl's discovery
// cache is the cluster's own, because the next cluster may have the same address.
func (c *Cluster) Env() []string {
	return []string{
		"KUBECONFIG=" + c.Kubeconfig(),
		"KUBECACHEDIR=" + c.clusterFilePath("kubectl-cache"),
		"PATH=" + c.state.Programs.Bin + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
}
